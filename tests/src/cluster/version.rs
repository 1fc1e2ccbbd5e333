//! Which Kubernetes a listener plays, and how it behaves before any route is asked.
//!
//! Lives here: the capabilities that differ. Never here: how they are carried out.

/// A version of Kubernetes, with its node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Version {
    V1_28,
    V1_30,
    V1_35,
    /// The kubelet translates.
    V1_36,
    /// As 1.35, on a node whose runtime adapter breaks what the API server translates.
    CriDockerd,
}

/// What a listener does with those who ask for an upgrade, or with everybody.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Manner {
    /// Never ends its response header.
    BigHead,
    /// What Kubernetes does.
    Faithful,
    /// Answers upgrades with a login page and this status.
    Html(u16),
    /// Answers upgrades with a redirect to another origin.
    Redirect,
    /// Accepts TCP and says nothing, to everybody.
    Silent,
    /// What Kubernetes does with the gate `PodLogsQuerySplitStreams`.
    SplitLogs,
    /// Answers upgrades with one byte a second.
    SlowHead,
}

impl Version {
    /// Whether v5 is known, to the API server or to the node.
    pub(crate) fn translates(self) -> bool {
        self != Self::V1_28
    }

    /// Whether the API server is the one that ends v5, and not the node.
    pub(crate) fn translates_at_the_api_server(self) -> bool {
        self.translates() && self != Self::V1_36
    }

    /// Whether a tunnel for port-forward is known (1.31; in 1.30 behind a gate).
    pub(crate) fn tunnels(self) -> bool {
        matches!(self, Self::V1_35 | Self::V1_36 | Self::CriDockerd)
    }

    /// Whether a GET on exec and attach needs `create` as well.
    pub(crate) fn wants_create(self) -> bool {
        matches!(self, Self::V1_35 | Self::V1_36 | Self::CriDockerd)
    }

    /// Whether there is a gate for logs of one stream alone (1.32).
    pub(crate) fn knows_log_streams(self) -> bool {
        matches!(self, Self::V1_35 | Self::V1_36 | Self::CriDockerd)
    }

    /// The minor version that `/version` tells.
    pub(crate) fn minor(self) -> &'static str {
        match self {
            Self::V1_28 => "28",
            Self::V1_30 => "30",
            Self::V1_35 | Self::CriDockerd => "35",
            Self::V1_36 => "36",
        }
    }
}
