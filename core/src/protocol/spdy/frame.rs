//! Frames: read piece by piece, written whole.
//!
//! Data is given out as it arrives, without a copy; nothing is ever allocated from a declared length.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::SpdyError;

/// The most that a frame of headers or settings may declare; what is in it is skipped.
pub const BLOCK_LIMIT: u32 = 64 * 1024;
/// The most that we put into one frame of data.
pub const DATA_LIMIT: usize = 32 * 1024;
/// The last stream of a connection: 31 bits.
pub const STREAM_LIMIT: u32 = 0x7fff_ffff;

/// Kinds of control frames.
pub(super) mod kind {
    pub(crate) const SYN_STREAM: u16 = 1;
    pub(super) const SYN_REPLY: u16 = 2;
    pub(super) const RST_STREAM: u16 = 3;
    pub(super) const SETTINGS: u16 = 4;
    pub(super) const PING: u16 = 6;
    pub(super) const GOAWAY: u16 = 7;
    pub(super) const HEADERS: u16 = 8;
    pub(super) const WINDOW_UPDATE: u16 = 9;
}

const VERSION: u16 = 3;
const FLAG_FIN: u8 = 0x01;
const CONTROL: u32 = 0x8000_0000;
const HEAD: usize = 8;

/// What a peer sent.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Incoming {
    /// A piece of a stream, as it arrived.
    Data {
        /// The stream.
        stream: u32,
        /// The bytes; empty only where the stream ends.
        data: Bytes,
        /// Whether the stream ends here.
        fin: bool,
    },
    /// The peer takes no more streams, and with spdystream reads no more either.
    GoAway {
        /// The last stream that was taken.
        last: u32,
        /// 0: nothing is wrong.
        status: u32,
    },
    /// An answer to a ping of ours (odd), or to be answered (even).
    Ping(u32),
    /// A stream of ours was taken.
    Reply {
        /// The stream.
        stream: u32,
        /// Whether the peer sends nothing on it.
        fin: bool,
    },
    /// A stream is over, both ways.
    Reset {
        /// The stream.
        stream: u32,
        /// Never 0.
        status: u32,
    },
}

/// Reads frames of a server, cut anywhere.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
    /// The beginning of a head or of a short payload that has not come whole.
    carry: [u8; HEAD],
    carried: usize,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// At the beginning of a frame.
    #[default]
    Head,
    /// In a frame of data.
    Data {
        stream: u32,
        fin: bool,
        remaining: u32,
    },
    /// Before the stream of SYN_REPLY or HEADERS.
    Stream { reply: bool, fin: bool, rest: u32 },
    /// Before four bytes.
    Ping,
    /// Before eight bytes.
    Pair { kind: u16 },
    /// In what nobody wants to know.
    Skip { remaining: u32 },
}

impl Decoder {
    /// Takes the next thing out of `input`, or nothing when it needs more bytes: then `input` is empty.
    ///
    /// # Errors
    /// What the peer did wrong; nothing more can be read afterwards.
    pub fn decode(&mut self, input: &mut Bytes) -> Result<Option<Incoming>, SpdyError> {
        loop {
            let taken = match self.state {
                State::Head => {
                    let Some(head) = self.gather::<HEAD>(input) else {
                        return Ok(None);
                    };
                    self.begin(head)?
                }
                State::Data {
                    stream,
                    fin,
                    remaining,
                } => {
                    if input.is_empty() {
                        return Ok(None);
                    }
                    let data = input.split_to(input.len().min(remaining as usize));
                    let remaining = remaining - data.len() as u32;
                    self.state = match remaining {
                        0 => State::Head,
                        _ => State::Data {
                            stream,
                            fin,
                            remaining,
                        },
                    };
                    let fin = fin && remaining == 0;
                    Some(Incoming::Data { stream, data, fin })
                }
                State::Stream { reply, fin, rest } => {
                    let Some(id) = self.gather::<4>(input) else {
                        return Ok(None);
                    };
                    self.state = State::Skip { remaining: rest };
                    let kind = match reply {
                        true => kind::SYN_REPLY,
                        false => kind::HEADERS,
                    };
                    let stream = nonzero(kind, u32::from_be_bytes(id) & STREAM_LIMIT)?;
                    match (reply, fin) {
                        (true, _) => Some(Incoming::Reply { stream, fin }),
                        (false, true) => Some(end(stream)),
                        (false, false) => None,
                    }
                }
                State::Ping => {
                    let Some(id) = self.gather::<4>(input) else {
                        return Ok(None);
                    };
                    self.state = State::Head;
                    let id = nonzero(kind::PING, u32::from_be_bytes(id))?;
                    Some(Incoming::Ping(id))
                }
                State::Pair { kind } => {
                    let Some([a, b, c, d, e, f, g, h]) = self.gather::<8>(input) else {
                        return Ok(None);
                    };
                    self.state = State::Head;
                    let first = u32::from_be_bytes([a, b, c, d]) & STREAM_LIMIT;
                    let status = u32::from_be_bytes([e, f, g, h]);
                    Some(match kind {
                        kind::GOAWAY => Incoming::GoAway {
                            last: first,
                            status,
                        },
                        _ => Incoming::Reset {
                            stream: nonzero(kind, first)?,
                            status: nonzero(kind, status)?,
                        },
                    })
                }
                State::Skip { remaining } => {
                    let skipped = input.len().min(remaining as usize);
                    input.advance(skipped);
                    let remaining = remaining - skipped as u32;
                    if remaining > 0 {
                        self.state = State::Skip { remaining };
                        return Ok(None);
                    }
                    self.state = State::Head;
                    None
                }
            };
            if taken.is_some() {
                return Ok(taken);
            }
        }
    }

    /// Takes exactly `N` bytes, which may have come in parts; at most a head's length.
    fn gather<const N: usize>(&mut self, input: &mut Bytes) -> Option<[u8; N]> {
        let wanted = (N - self.carried).min(input.len());
        input.copy_to_slice(&mut self.carry[self.carried..self.carried + wanted]);
        self.carried += wanted;
        if self.carried < N {
            return None;
        }
        self.carried = 0;
        self.carry.first_chunk().copied()
    }

    /// Judges a head; only data without bytes is done with it.
    fn begin(&mut self, head: [u8; HEAD]) -> Result<Option<Incoming>, SpdyError> {
        let [a, b, c, d, flags, e, f, g] = head;
        let word = u32::from_be_bytes([a, b, c, d]);
        let length = u32::from_be_bytes([0, e, f, g]);
        let fin = flags & FLAG_FIN != 0;
        if word & CONTROL == 0 {
            self.state = match length {
                0 => State::Head,
                remaining => State::Data {
                    stream: word,
                    fin,
                    remaining,
                },
            };
            return Ok((length == 0 && fin).then(|| end(word)));
        }
        let (version, kind) = ((word >> 16) as u16 & 0x7fff, word as u16);
        if version != VERSION {
            return Err(SpdyError::Version { version });
        }
        let bad = SpdyError::BadLength { kind, length };
        self.state = match (kind, length) {
            (kind::SYN_REPLY | kind::HEADERS | kind::SETTINGS, ..4) => return Err(bad),
            (kind::SYN_REPLY | kind::HEADERS | kind::SETTINGS, _) if length > BLOCK_LIMIT => {
                let limit = BLOCK_LIMIT;
                return Err(SpdyError::TooLong {
                    kind,
                    length,
                    limit,
                });
            }
            (kind::SYN_REPLY | kind::HEADERS, _) => State::Stream {
                reply: kind == kind::SYN_REPLY,
                fin,
                rest: length - 4,
            },
            (kind::PING, 4) => State::Ping,
            (kind::RST_STREAM | kind::GOAWAY, 8) => State::Pair { kind },
            (kind::WINDOW_UPDATE, 8) | (kind::SETTINGS, _) => State::Skip { remaining: length },
            (kind::PING | kind::RST_STREAM | kind::GOAWAY | kind::WINDOW_UPDATE, _) => {
                return Err(bad);
            }
            (kind, _) => return Err(SpdyError::UnexpectedKind { kind }),
        };
        Ok(None)
    }
}

fn end(stream: u32) -> Incoming {
    let data = Bytes::new();
    Incoming::Data {
        stream,
        data,
        fin: true,
    }
}

fn nonzero(kind: u16, value: u32) -> Result<u32, SpdyError> {
    match value {
        0 => Err(SpdyError::Zero { kind }),
        value => Ok(value),
    }
}

/// Appends a control frame without flags.
pub(super) fn put_control(out: &mut BytesMut, kind: u16, payload: &[u8]) {
    out.reserve(HEAD + payload.len());
    out.put_u32(CONTROL | u32::from(VERSION) << 16 | u32::from(kind));
    out.put_u32(payload.len() as u32); // flags 0; our payloads are short
    out.put_slice(payload);
}

/// Appends `data` in frames of at most [`DATA_LIMIT`] bytes; one empty frame for an end alone.
pub fn put_data(out: &mut BytesMut, stream: u32, data: &[u8], fin: bool) {
    let mut parts = data.chunks(DATA_LIMIT).peekable();
    while let Some(part) = parts.next() {
        put_part(out, stream, part, fin && parts.peek().is_none());
    }
    if data.is_empty() && fin {
        put_part(out, stream, &[], true);
    }
}

fn put_part(out: &mut BytesMut, stream: u32, part: &[u8], fin: bool) {
    out.reserve(HEAD + part.len());
    out.put_u32(stream & STREAM_LIMIT);
    out.put_u8(if fin { FLAG_FIN } else { 0 });
    out.put_uint(part.len() as u64, 3);
    out.put_slice(part);
}

/// Appends the end of a stream, both ways.
pub fn put_reset(out: &mut BytesMut, stream: u32, status: u32) {
    let payload = u64::from(stream) << 32 | u64::from(status);
    put_control(out, kind::RST_STREAM, &payload.to_be_bytes());
}

/// Appends a ping, or the answer to one.
pub fn put_ping(out: &mut BytesMut, id: u32) {
    put_control(out, kind::PING, &id.to_be_bytes());
}

/// Appends a goodbye; no stream of the peer's was ever taken.
pub fn put_go_away(out: &mut BytesMut, status: u32) {
    put_control(out, kind::GOAWAY, &u64::from(status).to_be_bytes());
}
