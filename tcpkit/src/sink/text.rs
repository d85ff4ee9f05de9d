//! The text sink.
