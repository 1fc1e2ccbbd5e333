//! What a port-forward needs from whoever knows the cluster.
//!
//! Lives here: the trait that turns the dependency round. Never here: pods, services, requests.

use std::num::NonZeroU16;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::error::{Error, Result};
use crate::protocol::portforward::ForwardSubprotocol;
use crate::session::transport::{Dial, Io};

/// Finds pods and opens sessions to them.
pub trait Route: Send + Sync + 'static {
    /// Opens one session to a pod that may be used now: the one that is named, or any.
    ///
    /// `remote` is the place, in the list of ports that were asked for, of the port that the first
    /// connection wants: with `v4` the server dials it at once. Without a pod to use it waits for
    /// one: `pod_running_timeout` before the first session, `wait` once there was one.
    fn open(&self, remote: usize, pod: Option<&str>) -> BoxFuture<'_, Result<Opened, Unopened>>;

    /// Returns the names of all pods that may be used now, where connections are spread over them.
    fn pods(&self) -> Vec<String>;
}

/// A session after a valid 101.
pub struct Opened {
    /// The stream of WebSocket frames.
    pub io: Box<dyn Io>,
    /// What the server chose.
    pub protocol: ForwardSubprotocol,
    /// The name of the pod.
    pub pod: String,
    /// The number in this pod of each port that was asked for, in that order.
    pub ports: Vec<NonZeroU16>,
    /// Ready, with the reason, once this pod may not be used any more: it ends, was replaced, or
    /// is not ready. What it has open goes on.
    pub gone: BoxFuture<'static, String>,
    /// For a second opinion on a silent server.
    pub dial: Arc<dyn Dial>,
}

/// Why there is no session.
#[derive(Debug)]
pub struct Unopened {
    /// What is wrong.
    pub error: Error,
    /// Whether it would be the same another time: forbidden, not found, no pod within the wait.
    pub lasting: bool,
}
