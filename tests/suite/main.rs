//! The suite: one integration binary, one module per verb or judge.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

mod cluster;
mod faults;
mod kubectl;
mod program;
mod raw;
