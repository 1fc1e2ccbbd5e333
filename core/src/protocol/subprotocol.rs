//! The WebSocket subprotocols of Kubernetes, and what each can say.
//!
//! Lives here: names, offers, capabilities. Never here: frames, headers, sockets.

use std::fmt;
use std::str::FromStr;

use super::error::ProtocolError;

/// How bytes travel inside a WebSocket message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Encoding {
    /// Text messages: one digit for the channel, then padded standard base64.
    Base64,
    /// Binary messages: one byte for the channel, then the data as they are.
    Binary,
}

/// What the error channel carries at the end of a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum StatusForm {
    /// A `Status` object, always: success and failure can be told apart.
    Object,
    /// Prose, and only after a failure: an end without text says nothing.
    Text,
}

/// A subprotocol of exec and attach.
///
/// `v2` and `v3` exist over SPDY only; over WebSocket they are answered with 403.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Subprotocol {
    /// `base64.channel.k8s.io`
    Base64Channel,
    /// `channel.k8s.io`
    Channel,
    /// `v4.channel.k8s.io`: ends with a `Status`; a lost node shows as an end without one.
    V4,
    /// `v4.base64.channel.k8s.io`
    V4Base64,
    /// `v5.channel.k8s.io`: can end stdin; a lost node may show as `Success`.
    V5,
}

impl Subprotocol {
    /// All of them, newest first.
    pub const ALL: [Self; 5] = [
        Self::V5,
        Self::V4,
        Self::V4Base64,
        Self::Channel,
        Self::Base64Channel,
    ];

    /// Returns the name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Base64Channel => "base64.channel.k8s.io",
            Self::Channel => "channel.k8s.io",
            Self::V4 => "v4.channel.k8s.io",
            Self::V4Base64 => "v4.base64.channel.k8s.io",
            Self::V5 => "v5.channel.k8s.io",
        }
    }

    /// Returns the subprotocol with exactly this name on the wire.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|subprotocol| subprotocol.name() == name)
    }

    /// Returns how bytes travel inside a message.
    #[must_use]
    pub const fn encoding(self) -> Encoding {
        match self {
            Self::Base64Channel | Self::V4Base64 => Encoding::Base64,
            Self::Channel | Self::V4 | Self::V5 => Encoding::Binary,
        }
    }

    /// Tells whether stdin can end while output goes on.
    #[must_use]
    pub const fn half_close(self) -> bool {
        matches!(self, Self::V5)
    }

    /// Returns what the error channel carries.
    #[must_use]
    pub const fn status_form(self) -> StatusForm {
        match self {
            Self::Base64Channel | Self::Channel => StatusForm::Text,
            Self::V4 | Self::V4Base64 | Self::V5 => StatusForm::Object,
        }
    }

    /// Tells whether a `Success` may be the work of a translator that lost its node.
    ///
    /// apiserver pkg/util/proxy/streamtranslator.go: the SPDY client behind `v5` takes an empty
    /// error stream for success (kubernetes/kubectl#1726).
    #[must_use]
    pub const fn success_needs_proof(self) -> bool {
        matches!(self, Self::V5)
    }
}

impl fmt::Display for Subprotocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Subprotocol {
    type Err = ProtocolError;

    /// Reads a name, or one of the short names `v4` and `v5`.
    fn from_str(name: &str) -> Result<Self, ProtocolError> {
        match name {
            "v4" => Ok(Self::V4),
            "v5" => Ok(Self::V5),
            _ => Self::parse(name).ok_or_else(|| ProtocolError::UnknownSubprotocol {
                name: name.to_owned(),
            }),
        }
    }
}
