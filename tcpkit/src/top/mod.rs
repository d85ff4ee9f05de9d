//! The terminal view: the picture of the page, in a terminal.
//!
//! Reads snapshots, of this program's own capture or of another host's statistics port, once a second, and keys. The
//! picture ([`draw()`]) is a function of the [`State`]. Beside the sources and `serve` this is the only room that reads a
//! clock.

mod draw;
mod feed;
mod figures;
mod history;
mod screen;
pub mod state;
pub mod units;

pub use draw::draw;
pub use feed::{Feed, Told};
pub use figures::figures;
pub use history::{History, Shown};
pub use screen::{View, check_terminal};
pub use state::State;
