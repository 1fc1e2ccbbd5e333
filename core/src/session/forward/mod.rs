//! A port-forward as a running thing.
//!
//! - [`route`]: what it needs from whoever knows the cluster
//! - `event`: what it tells

pub mod event;
pub mod route;

pub use event::{ForwardEvent, ForwardReport, ForwardedPort};
pub use route::{Opened, Route, Unopened};
