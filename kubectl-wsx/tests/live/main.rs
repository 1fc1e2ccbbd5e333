//! The real binary against the embedded cluster: faults, bad input, this machine's own troubles, and
//! kubectl beside it.

mod bad_input;
mod faults;
mod local;
mod pauses;
mod side_by_side;
mod support;
