//! Where events go: text, JSON, saved frames, statistics.
//!
//! Reads [`Event`]s, makes output. Nothing comes back: a sink returns success or failure, and
//! what it does never changes what the middle of the program sees.

pub mod beside;
pub mod inbox;
pub mod interval;
pub mod json;
pub mod order;
pub mod overwrite;
pub mod pcap;
pub mod queue;
#[cfg(test)]
mod sample;
pub mod select;
pub mod stats;
pub mod text;

use std::io;

use crate::event::Event;

/// What a sink wants to be told; what nobody wants is not made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// [`Event::Packet`].
    pub packets: bool,
    /// The first bytes of requests and responses, for printing.
    pub text: bool,
}

/// Takes events.
pub trait Sink {
    /// What it wants to be told.
    fn needs(&self) -> Needs;

    /// Takes one event.
    ///
    /// # Errors
    /// When its output cannot be written. A closed pipe is
    /// [`io::ErrorKind::BrokenPipe`] and ends the run quietly.
    fn event(&mut self, event: &Event<'_>) -> io::Result<()>;

    /// Writes what is still held back. Called once, at the end.
    ///
    /// # Errors
    /// As [`Sink::event`].
    fn finish(&mut self) -> io::Result<()>;
}
