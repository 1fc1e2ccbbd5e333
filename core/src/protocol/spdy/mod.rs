//! SPDY/3.1 as far as a port-forward tunnel needs it: frames in both directions, nothing remembered
//! but where a frame was cut and whether the stream of header blocks has begun.
//!
//! Lives here: bytes to frames and back. Never here: what a stream is for, time, WebSocket.
//!
//! The peer is moby/spdystream behind an API server. It has no flow control and sends no header
//! that means anything, so no zlib lives here: our header blocks are stored deflate blocks, and
//! received ones are skipped by their length.

mod frame;
mod header;
#[cfg(test)]
pub(crate) mod judge;
#[cfg(test)]
mod tests;

use thiserror::Error;

pub use frame::{BLOCK_LIMIT, DATA_LIMIT, Decoder, Incoming, STREAM_LIMIT};
pub use frame::{put_data, put_go_away, put_ping, put_reset};
pub use header::{Half, Opener};

/// Why a stream is reset, and why a connection goes away.
pub mod code {
    /// GOAWAY: nothing is wrong.
    pub const OK: u32 = 0;
    /// RST_STREAM: one side wants no more of it.
    pub const CANCEL: u32 = 5;
}

/// What a peer can do wrong in SPDY.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum SpdyError {
    /// A stream that was answered already is answered again.
    #[error("stream {stream} was answered twice")]
    AnsweredTwice {
        /// The stream.
        stream: u32,
    },
    /// A control frame has a length that its kind does not allow.
    #[error("control frame of kind {kind} declares {length} bytes")]
    BadLength {
        /// Kind of the frame.
        kind: u16,
        /// Declared length in bytes.
        length: u32,
    },
    /// A stream goes on after its end.
    #[error("data on stream {stream} after its end")]
    DataAfterEnd {
        /// The stream.
        stream: u32,
    },
    /// A frame of headers or settings is longer than the limit.
    #[error("control frame of kind {kind} declares {length} bytes, the limit is {limit}")]
    TooLong {
        /// Kind of the frame.
        kind: u16,
        /// Declared length in bytes.
        length: u32,
        /// The limit in bytes.
        limit: u32,
    },
    /// A kind of control frame that nobody knows, or that only a client may send.
    #[error("unexpected control frame of kind {kind}")]
    UnexpectedKind {
        /// Kind of the frame.
        kind: u16,
    },
    /// A frame for a stream that was never opened.
    #[error("frame for stream {stream}, which was never opened")]
    UnknownStream {
        /// The stream.
        stream: u32,
    },
    /// A control frame of another version.
    #[error("control frame of SPDY version {version}, 3 was agreed")]
    Version {
        /// The version.
        version: u16,
    },
    /// A ping, a stream or the reason of a reset is 0.
    #[error("control frame of kind {kind} holds a 0 where none may be")]
    Zero {
        /// Kind of the frame.
        kind: u16,
    },
}
