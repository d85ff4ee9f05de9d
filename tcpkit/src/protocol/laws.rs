//! Laws that every protocol keeps.
