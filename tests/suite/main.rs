//! The suite: one integration binary, one module per verb or judge.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests too")]
#![expect(clippy::print_stderr, reason = "a skipped test says so")]

mod cluster;
mod faults;
mod kubectl;
mod raw;
