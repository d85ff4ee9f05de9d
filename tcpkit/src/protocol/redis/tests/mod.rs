//! What a user relies on, told on bytes as they come from clients and servers.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may")]

mod cases;
mod drive;
mod loss;
mod real;
mod refused;
mod secrets;
mod splits;
