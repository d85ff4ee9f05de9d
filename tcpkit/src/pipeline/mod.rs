//! The only place that knows every room: builds the pipeline that the options ask for, and runs it.

pub mod outlet;
mod report;
mod run;
#[cfg(feature = "lua")]
mod scripts;
#[cfg(not(feature = "lua"))]
#[path = "no_scripts.rs"]
mod scripts;
pub mod select;
pub mod talk;
pub mod worker;

pub use run::{Signals, run};
pub use scripts::Scripts;
