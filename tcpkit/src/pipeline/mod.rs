//! The only place that knows every room: builds the pipeline that the options ask for, and runs it.

mod conversation;
mod copies;
mod daemon;
mod doubt;
mod ending;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod ladder;
mod live;
mod loss;
mod notice;
mod offline;
pub mod outlet;
mod outputs;
pub mod owners;
mod privileges;
mod readers;
mod report;
mod run;
#[cfg(feature = "lua")]
mod scripts;
#[cfg(not(feature = "lua"))]
#[path = "no_scripts.rs"]
mod scripts;
pub mod select;
mod setup;
pub mod talk;
mod translation;
mod undecided;
mod view;
pub mod worker;

pub use daemon::{Caller, Forked};
pub use notice::tell;
pub use run::{Signals, run, top};
pub use scripts::Scripts;
