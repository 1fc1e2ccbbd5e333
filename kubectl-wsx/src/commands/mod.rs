//! One file for each command: its flags, whose docs are the help, and what it does with them.

pub(crate) mod attach;
pub(crate) mod exec;
pub(crate) mod forward;
pub(crate) mod logs;
mod session;
pub(crate) mod version;
