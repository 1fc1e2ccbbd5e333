//! The embedded cluster and its judge: what `kubectl wsx` is tested against.
//!
//! Lives here: everything that pretends to be Kubernetes, and the finder of stock `kubectl`. Never
//! here: anything from `wsx_core`. The cluster writes its own bytes, so that it cannot share a mistake.

#![forbid(unsafe_code)]

pub mod cluster;
pub mod kubectl;
pub mod probe;
pub mod status;
pub mod tls;
pub mod wire;
