//! What all listeners of one cluster share.
//!
//! Lives here: the parts, and nothing they do.

use std::sync::{Arc, OnceLock};

use super::forward::Forwards;
use super::identity::Secrets;
use super::logs::Logs;
use super::mains::Mains;
use super::pods::Pods;
use super::process::Node;
use super::record::Records;

/// The parts of a cluster.
pub(crate) struct World {
    pub(crate) forwards: Forwards,
    pub(crate) logs: Logs,
    pub(crate) mains: Arc<Mains>,
    pub(crate) node: Arc<Node>,
    pub(crate) pods: Arc<Pods>,
    pub(crate) records: Records,
    pub(crate) secrets: Secrets,
    /// Another origin, where redirects point.
    pub(crate) elsewhere: OnceLock<String>,
}

impl World {
    pub(crate) fn elsewhere(&self) -> &str {
        self.elsewhere.get().map_or("", String::as_str)
    }
}
