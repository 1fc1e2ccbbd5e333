//! SYN_STREAM and the header blocks in it: one zlib stream for the life of a connection, of stored
//! blocks alone.

use std::num::NonZeroU16;

use bytes::{BufMut as _, BytesMut};

use super::frame::{kind, put_control};

/// The two streams of a forwarded connection.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Half {
    /// Bytes, both ways.
    Data,
    /// Why it failed, from the server only.
    Error,
}

impl Half {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Error => "error",
        }
    }
}

/// Writes SYN_STREAM frames, one connection's in their order.
#[derive(Debug, Default)]
pub struct Opener {
    /// Whether the zlib header was written.
    begun: bool,
}

/// zlib without a preset dictionary, fastest level.
const ZLIB: [u8; 2] = [0x78, 0x01];
/// An empty stored block: it flushes what is before it.
const FLUSH: [u8; 5] = [0x00, 0x00, 0x00, 0xff, 0xff];

impl Opener {
    /// Appends a frame that opens `stream` as one half of `request`.
    ///
    /// The blocks build on those before them: frames must be sent in the order they were written.
    pub fn open(
        &mut self,
        out: &mut BytesMut,
        stream: u32,
        half: Half,
        port: NonZeroU16,
        request: u32,
    ) {
        // cri-streaming portforward/httpstream.go; an upper-case name ends the connection.
        let headers = [
            ("streamtype", half.as_str()),
            ("port", &port.to_string()),
            ("requestid", &request.to_string()),
        ];
        let mut block = BytesMut::with_capacity(96);
        block.put_u32(headers.len() as u32);
        for text in headers.iter().flat_map(|(name, value)| [*name, *value]) {
            block.put_u32(text.len() as u32);
            block.put_slice(text.as_bytes());
        }
        let mut payload = BytesMut::with_capacity(128);
        payload.put_u32(stream);
        payload.put_u32(0); // associated stream
        payload.put_u16(0); // priority, slot
        if !self.begun {
            payload.put_slice(&ZLIB);
            self.begun = true;
        }
        let length = block.len() as u16;
        payload.put_u8(0x00);
        payload.put_u16_le(length);
        payload.put_u16_le(!length);
        payload.put_slice(&block);
        // Without it Go's inflater fails for good at the second block.
        payload.put_slice(&FLUSH);
        put_control(out, kind::SYN_STREAM, &payload);
    }
}
