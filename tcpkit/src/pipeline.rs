//! The only place that knows every room.
