//! The suite: one integration binary, one module per verb or judge.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

mod api;
mod attach;
mod cluster;
mod endpoints;
mod fault_frames;
mod faults;
mod forward_channels;
mod forward_cluster;
mod forward_pods;
mod forwarding;
mod forwarding_faults;
mod handshake;
mod house;
mod kubectl;
mod kubectl_forward;
mod kubectl_logs;
mod log_cuts;
mod log_held;
mod log_scenarios;
mod logs;
mod logs_many;
mod loki;
mod messages;
mod program;
mod queries;
mod raw;
mod recorded;
mod scenario;
mod scenarios;
mod soak;
mod spdy;
mod talk;
mod vectors;
mod watch;
