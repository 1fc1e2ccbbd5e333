//! What a port-forward tells, and what it counts.
//!
//! Lives here: plain values. Never here: words for a terminal.

use std::time::Duration;

use crate::error::Error;
use crate::protocol::portforward::ForwardSubprotocol;
use crate::session::queue::Weigh;

/// A port that is listened on.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ForwardedPort {
    /// What was asked for: `pod/web-0`, `service/web`.
    pub target: String,
    /// The port of the pod, or of the service.
    pub remote: u16,
    /// The local port; 0 for a Unix socket.
    pub local: u16,
    /// The local IP address, or the path of the Unix socket.
    pub address: String,
}

/// What happens to a port-forward.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ForwardEvent {
    /// A connection is over.
    Closed {
        /// Its number, from 1.
        connection: u64,
        /// The port of the pod, or of the service.
        remote: u16,
        /// The local port; 0 without one.
        local: u16,
        /// Bytes that went to the pod.
        sent: u64,
        /// Bytes that came from it and were taken.
        received: u64,
        /// How long it lived.
        lasted: Duration,
        /// Why it was reset; nothing where both sides were done.
        error: Option<Error>,
    },
    /// So many events were not told, because nobody took those before.
    Missed {
        /// How many.
        count: u64,
    },
    /// A local connection came.
    Opened {
        /// Its number, from 1.
        connection: u64,
        /// The port of the pod, or of the service.
        remote: u16,
        /// The local port; 0 without one.
        local: u16,
    },
    /// No connection is accepted until descriptors are free again.
    Paused {
        /// What the system says.
        why: String,
    },
    /// A session is there.
    Ready {
        /// The pod it leads to.
        pod: String,
        /// How long there was none; nothing for the first.
        away: Option<Duration>,
    },
    /// The last session is lost, or its pod is; another one is opened.
    Reconnecting {
        /// The pod it led to.
        pod: String,
        /// Why.
        why: String,
    },
    /// Connections are accepted again.
    Resumed,
}

impl Weigh for ForwardEvent {
    fn weight(&self) -> usize {
        match self {
            Self::Paused { why } => why.len(),
            Self::Ready { pod, .. } => pod.len(),
            Self::Reconnecting { pod, why } => pod.len() + why.len(),
            Self::Closed { .. } | Self::Missed { .. } | Self::Opened { .. } | Self::Resumed => 0,
        }
    }
}

/// What a port-forward has done so far.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ForwardReport {
    /// Connections that came.
    pub connections: u64,
    /// Those that are open now.
    pub active: u64,
    /// Those that were reset.
    pub failed: u64,
    /// Bytes that went to pods.
    pub sent: u64,
    /// Bytes that came from pods and were taken.
    pub received: u64,
    /// How often a lost session was replaced.
    pub reconnects: u64,
    /// How connections travel; known with the first session.
    pub protocol: Option<ForwardSubprotocol>,
}
