//! What a peer can do wrong, by name.
//!
//! Lives here: misbehaviour as values. Never here: I/O errors, kinds, advice.

use thiserror::Error;

use super::spdy::SpdyError;

/// A violation of a protocol, by us or by the peer.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A text message of a base64 subprotocol could not be decoded.
    #[error("message for channel {channel} holds invalid base64 at byte {offset}")]
    BadBase64 {
        /// Channel of the message.
        channel: u8,
        /// Where in the channel's data of this message.
        offset: usize,
    },
    /// A Close frame holds one byte, a code that must not be sent, or a reason that is not UTF-8.
    #[error("malformed close frame")]
    BadCloseFrame,
    /// A control frame is longer than 125 bytes or in pieces.
    #[error("control frame of {length} bytes, or in fragments")]
    BadControlFrame {
        /// Declared length in bytes.
        length: u64,
    },
    /// Data went on after the peer had closed.
    #[error("data after the close frame")]
    DataAfterClose,
    /// A continuation frame without a beginning, or a new message inside an unfinished one.
    #[error("fragments out of order")]
    FragmentOrder,
    /// A frame declares more bytes than the limit.
    #[error("frame of {length} bytes declared, the limit is {limit}")]
    FrameTooLarge {
        /// Declared length in bytes.
        length: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A server's frame is masked.
    #[error("masked frame from the server")]
    MaskedFrame,
    /// A channel of a port-forward begins with another port than was asked for.
    #[error("channel {channel} begins with port {actual}, {expected} was asked for")]
    PortMismatch {
        /// The channel.
        channel: u8,
        /// What was asked for.
        expected: u16,
        /// What came.
        actual: u16,
    },
    /// A reserved bit is set although no extension was negotiated.
    #[error("reserved bit set in a frame")]
    ReservedBits,
    /// The opcode is one of the reserved ones.
    #[error("reserved opcode {opcode:#x}")]
    ReservedOpcode {
        /// The four bits.
        opcode: u8,
    },
    /// What a peer can do wrong inside a tunnel.
    #[error("in the tunnel: {0}")]
    Spdy(#[from] SpdyError),
    /// More than a thousand empty messages in a row.
    #[error("more than {limit} empty messages in a row")]
    TooManyEmptyMessages {
        /// The limit.
        limit: u32,
    },
    /// A text message where binary ones were agreed, or the other way round.
    #[error("{actual} message where {expected} was agreed")]
    UnexpectedMessageKind {
        /// What was agreed.
        expected: &'static str,
        /// What came.
        actual: &'static str,
    },
    /// More than 1 MiB for channels nobody knows.
    #[error("more than {limit} bytes for unknown channels, last {channel}")]
    UnknownChannel {
        /// The channel of the last message.
        channel: u8,
        /// The limit in bytes.
        limit: u64,
    },
    /// A name that is no subprotocol of exec or attach.
    #[error(
        "unknown protocol {name:?}, known are v5.channel.k8s.io, v4.channel.k8s.io, v4.base64.channel.k8s.io, channel.k8s.io, base64.channel.k8s.io"
    )]
    UnknownSubprotocol {
        /// What was given.
        name: String,
    },
    /// A request cannot be put together from what was given.
    #[error("{0}")]
    UnusableRequest(String),
}
