//! The real binary against the embedded cluster: faults, bad input, this machine's own troubles, and
//! kubectl beside it.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "the helpers of tests are tests too, and a skipped judge is announced"
)]

mod bad_input;
mod cuts;
mod faults;
mod local;
mod pauses;
mod side_by_side;
mod support;
