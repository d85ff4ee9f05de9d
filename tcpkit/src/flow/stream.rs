//! One direction of a TCP conversation, in order.
