//! The only place that knows every room: builds the pipeline that the options ask for, and runs it.

pub mod outlet;
pub mod select;
pub mod talk;
pub mod worker;
