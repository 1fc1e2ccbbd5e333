//! Frames of RFC 6455, seen from the client: read piece by piece, written whole.
//!
//! Lives here: bytes to pieces and back. Never here: sockets, randomness (a mask is an argument),
//! the meaning of a message. A frame is given out as its bytes arrive, so that a frame of 16 MiB
//! costs no more memory than one of 16 KiB, and nothing is ever allocated from a declared length.

use bytes::{Buf, Bytes, BytesMut};

use super::error::ProtocolError;

/// The most that one frame may declare. Servers send at most 32 KiB on `v5` and what the runtime
/// wrote at once on `v4` (100 KB were seen).
pub const FRAME_LIMIT: u64 = 16 * 1024 * 1024;

/// Whether a message is text or binary.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum MessageKind {
    /// Opcode 2.
    Binary,
    /// Opcode 1. It is not checked for UTF-8: base64 decoding refuses more.
    Text,
}

impl MessageKind {
    /// Returns the word for messages about it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Text => "text",
        }
    }
}

/// A piece of a message, as it arrived.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Piece {
    /// Kind of the message.
    pub kind: MessageKind,
    /// Whether the message begins here.
    pub first: bool,
    /// Whether the message ends here.
    pub last: bool,
    /// The bytes; may be empty.
    pub data: Bytes,
}

impl Piece {
    /// Makes a piece that is a whole message.
    #[must_use]
    pub const fn whole(kind: MessageKind, data: Bytes) -> Self {
        Self {
            kind,
            first: true,
            last: true,
            data,
        }
    }
}

/// The end of a connection in the peer's words.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct CloseFrame {
    /// Code, where one was given.
    pub code: Option<u16>,
    /// Reason. Foreign text: escape it before a person sees it.
    pub reason: String,
}

/// What a peer sent.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Incoming {
    /// The peer says goodbye; nothing may follow.
    Close(CloseFrame),
    /// A piece of a message.
    Data(Piece),
    /// To be answered with the same payload.
    Ping(Bytes),
    /// The answer to a ping of ours.
    Pong(Bytes),
}

/// What a client sends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Opcode {
    /// A whole binary message.
    Binary,
    /// Goodbye.
    Close,
    /// A question whether the peer is there.
    Ping,
    /// The answer to a ping.
    Pong,
    /// A whole text message.
    Text,
}

impl Opcode {
    const fn bits(self) -> u8 {
        match self {
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }
}

impl From<MessageKind> for Opcode {
    fn from(kind: MessageKind) -> Self {
        match kind {
            MessageKind::Binary => Self::Binary,
            MessageKind::Text => Self::Text,
        }
    }
}

/// Reads frames of a server.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Frame whose payload is being read.
    frame: Option<Frame>,
    /// Message whose last frame has not come.
    message: Option<MessageKind>,
    closed: bool,
}

#[derive(Debug)]
struct Frame {
    kind: MessageKind,
    first: bool,
    fin: bool,
    remaining: u64,
}

struct Header {
    fin: bool,
    opcode: u8,
    length: u64,
    size: usize,
}

impl Decoder {
    /// Takes the next thing out of `input`, or nothing when it needs more bytes.
    ///
    /// # Errors
    /// What the peer did wrong; nothing more can be read afterwards.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Incoming>, ProtocolError> {
        if self.frame.is_none() {
            let Some(header) = Header::parse(input)? else {
                return Ok(None);
            };
            if self.closed {
                return Err(ProtocolError::DataAfterClose);
            }
            if header.opcode >= 0x8 {
                return self.control(&header, input);
            }
            self.frame = Some(self.data_frame(&header)?);
            input.advance(header.size);
        }
        Ok(self.piece(input).map(Incoming::Data))
    }

    fn data_frame(&mut self, header: &Header) -> Result<Frame, ProtocolError> {
        let (kind, first) = match (header.opcode, self.message) {
            (0x0, Some(kind)) => (kind, false),
            (0x1, None) => (MessageKind::Text, true),
            (0x2, None) => (MessageKind::Binary, true),
            (0x0..=0x2, _) => return Err(ProtocolError::FragmentOrder),
            (opcode, _) => return Err(ProtocolError::ReservedOpcode { opcode }),
        };
        self.message = (!header.fin).then_some(kind);
        Ok(Frame {
            kind,
            first,
            fin: header.fin,
            remaining: header.length,
        })
    }

    fn piece(&mut self, input: &mut BytesMut) -> Option<Piece> {
        let frame = self.frame.as_mut()?;
        if frame.remaining > 0 && input.is_empty() {
            return None;
        }
        let ready = usize::try_from(frame.remaining)
            .unwrap_or(usize::MAX)
            .min(input.len());
        let data = input.split_to(ready).freeze();
        frame.remaining -= ready as u64;
        let done = frame.remaining == 0;
        let piece = Piece {
            kind: frame.kind,
            first: frame.first,
            last: done && frame.fin,
            data,
        };
        frame.first = false;
        if done {
            self.frame = None;
        }
        Some(piece)
    }

    fn control(
        &mut self,
        header: &Header,
        input: &mut BytesMut,
    ) -> Result<Option<Incoming>, ProtocolError> {
        // At most 125 bytes, checked with the header: worth waiting for as a whole.
        let Some(length) = usize::try_from(header.length).ok() else {
            return Ok(None);
        };
        if input.len() < header.size + length {
            return Ok(None);
        }
        input.advance(header.size);
        let payload = input.split_to(length).freeze();
        match header.opcode {
            0x8 => {
                self.closed = true;
                CloseFrame::parse(&payload).map(|close| Some(Incoming::Close(close)))
            }
            0x9 => Ok(Some(Incoming::Ping(payload))),
            0xa => Ok(Some(Incoming::Pong(payload))),
            opcode => Err(ProtocolError::ReservedOpcode { opcode }),
        }
    }
}

impl Header {
    /// Reads a header without taking it, or nothing when it is not there yet.
    fn parse(input: &[u8]) -> Result<Option<Self>, ProtocolError> {
        let Some([first, second]) = input.first_chunk() else {
            return Ok(None);
        };
        if first & 0x70 != 0 {
            return Err(ProtocolError::ReservedBits);
        }
        if second & 0x80 != 0 {
            return Err(ProtocolError::MaskedFrame);
        }
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0f);
        let rest = &input[2..];
        let (length, size) = match second & 0x7f {
            126 => match rest.first_chunk::<2>() {
                Some(bytes) => (u64::from(u16::from_be_bytes(*bytes)), 4),
                None => return Ok(None),
            },
            127 => match rest.first_chunk::<8>() {
                Some(bytes) => (u64::from_be_bytes(*bytes), 10),
                None => return Ok(None),
            },
            short => (u64::from(short), 2),
        };
        if opcode >= 0x8 && (!fin || length > 125) {
            return Err(ProtocolError::BadControlFrame { length });
        }
        if length > FRAME_LIMIT {
            return Err(ProtocolError::FrameTooLarge {
                length,
                limit: FRAME_LIMIT,
            });
        }
        Ok(Some(Self {
            fin,
            opcode,
            length,
            size,
        }))
    }
}

impl CloseFrame {
    fn parse(payload: &[u8]) -> Result<Self, ProtocolError> {
        let Some((code, reason)) = payload.split_first_chunk::<2>() else {
            return if payload.is_empty() {
                Ok(Self::default())
            } else {
                Err(ProtocolError::BadCloseFrame)
            };
        };
        let code = u16::from_be_bytes(*code);
        // RFC 6455, 7.4: the others must not be sent.
        if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
            return Err(ProtocolError::BadCloseFrame);
        }
        let reason = str::from_utf8(reason).map_err(|_| ProtocolError::BadCloseFrame)?;
        Ok(Self {
            code: Some(code),
            reason: reason.to_owned(),
        })
    }
}

/// Appends one whole frame, masked; its payload is `head` followed by `payload`.
///
/// Always one frame a message: the server takes every frame for a message of its own
/// (golang.org/x/net websocket/hybi.go), so fragments would be lost in silence.
pub fn encode(out: &mut Vec<u8>, opcode: Opcode, head: &[u8], payload: &[u8], mask: [u8; 4]) {
    let length = head.len() + payload.len();
    out.reserve(14 + length);
    out.push(0x80 | opcode.bits());
    match (u16::try_from(length), length) {
        (_, ..126) => out.push(0x80 | u8::try_from(length).unwrap_or_default()),
        (Ok(short), _) => {
            out.push(0x80 | 126);
            out.extend_from_slice(&short.to_be_bytes());
        }
        (Err(_), _) => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(head);
    out.extend_from_slice(payload);
    apply_mask(&mut out[start..], mask);
}

/// Masks or unmasks in place, eight bytes at a time.
fn apply_mask(data: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut words = data.chunks_exact_mut(8);
    for word in &mut words {
        if let Ok(bytes) = <[u8; 8]>::try_from(&*word) {
            word.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ wide).to_ne_bytes());
        }
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
    use tokio_tungstenite::tungstenite::protocol::frame::{Frame as Judge, FrameHeader};

    use super::*;

    fn decode_all(bytes: &[u8], step: usize) -> Result<Vec<Incoming>, ProtocolError> {
        let (mut decoder, mut input, mut all) = (Decoder::default(), BytesMut::new(), Vec::new());
        for part in bytes.chunks(step.max(1)) {
            input.extend_from_slice(part);
            while let Some(incoming) = decoder.decode(&mut input)? {
                all.push(incoming);
            }
        }
        Ok(all)
    }

    /// Joins pieces of the same message.
    fn messages(all: Vec<Incoming>) -> Vec<(MessageKind, Vec<u8>)> {
        let mut joined: Vec<(MessageKind, Vec<u8>)> = Vec::new();
        for incoming in all {
            let Incoming::Data(piece) = incoming else {
                continue;
            };
            if piece.first {
                joined.push((piece.kind, Vec::new()));
            }
            joined.last_mut().unwrap().1.extend_from_slice(&piece.data);
        }
        joined
    }

    #[test]
    fn a_frame_is_given_out_as_it_arrives() {
        let (mut decoder, mut input) = (Decoder::default(), BytesMut::from(&b"\x82\x05abc"[..]));
        let piece = |first, last, data| {
            let data = Bytes::from_static(data);
            Ok(Some(Incoming::Data(Piece {
                kind: MessageKind::Binary,
                first,
                last,
                data,
            })))
        };
        assert_eq!(decoder.decode(&mut input), piece(true, false, b"abc"));
        assert_eq!(decoder.decode(&mut input), Ok(None));
        input.extend_from_slice(b"de");
        assert_eq!(decoder.decode(&mut input), piece(false, true, b"de"));
    }

    #[test]
    fn pings_may_stand_between_fragments() {
        let all = decode_all(b"\x02\x01a\x89\x01p\x80\x01b", 1).unwrap();
        assert_eq!(
            messages(all.clone()),
            [(MessageKind::Binary, b"ab".to_vec())]
        );
        assert!(all.contains(&Incoming::Ping(Bytes::from_static(b"p"))));
    }

    #[test]
    fn every_violation_has_its_name() {
        use ProtocolError::*;
        let cases: [(&[u8], ProtocolError); 11] = [
            (b"\xc2\x01a", ReservedBits),
            (b"\x83\x01a", ReservedOpcode { opcode: 3 }),
            (b"\x8b\x00", ReservedOpcode { opcode: 11 }),
            (b"\x82\x81abcde", MaskedFrame),
            (b"\x89\x7e\x00\x7e", BadControlFrame { length: 126 }),
            (b"\x09\x01a", BadControlFrame { length: 1 }),
            (b"\x80\x01a", FragmentOrder),
            (b"\x02\x01a\x82\x01b", FragmentOrder),
            (b"\x88\x01a", BadCloseFrame),
            (b"\x88\x02\x03\xe7", BadCloseFrame),
            (b"\x88\x00\x82\x01a", DataAfterClose),
        ];
        for (bytes, error) in cases {
            assert_eq!(decode_all(bytes, 64), Err(error), "{bytes:02x?}");
        }
    }

    #[test]
    fn a_declared_length_is_refused_from_the_header() {
        let error = ProtocolError::FrameTooLarge {
            length: 1 << 62,
            limit: FRAME_LIMIT,
        };
        assert_eq!(decode_all(b"\x82\x7f\x40\0\0\0\0\0\0\0", 64), Err(error));
    }

    proptest! {
        #[test]
        fn what_tungstenite_writes_is_read(
            sizes in proptest::collection::vec(0usize..70_000, 1..6),
            step in 1usize..9000,
            text in any::<bool>(),
        ) {
            let (mut bytes, mut expected) = (Vec::new(), Vec::new());
            for size in sizes {
                let data: Vec<u8> = (0..size).map(|i| b'a' + (i % 23) as u8).collect();
                let opcode = if text { Data::Text } else { Data::Binary };
                Judge::message(data.clone(), OpCode::Data(opcode), true).format(&mut bytes).unwrap();
                let kind = if text { MessageKind::Text } else { MessageKind::Binary };
                expected.push((kind, data));
            }
            prop_assert_eq!(messages(decode_all(&bytes, step).unwrap()), expected);
        }

        #[test]
        fn what_we_write_is_read_by_tungstenite(
            size in 0usize..70_000,
            head in 0u8..=255,
            mask in any::<[u8; 4]>(),
        ) {
            let payload: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
            let mut bytes = Vec::new();
            encode(&mut bytes, Opcode::Binary, &[head], &payload, mask);
            let mut cursor = std::io::Cursor::new(&bytes);
            let (header, length) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
            prop_assert_eq!((header.is_final, header.mask), (true, Some(mask)));
            prop_assert_eq!(header.opcode, OpCode::Data(Data::Binary));
            prop_assert_eq!(length as usize, size + 1);
            let mut body = bytes[cursor.position() as usize..].to_vec();
            for (i, byte) in body.iter_mut().enumerate() {
                *byte ^= mask[i % 4];
            }
            prop_assert_eq!(body, [&[head][..], &payload].concat());
        }

        #[test]
        fn decoding_survives_anything(bytes in proptest::collection::vec(any::<u8>(), 0..400), step in 1usize..50) {
            let _ = decode_all(&bytes, step);
        }
    }

    #[test]
    fn control_frames_are_short_and_masked() {
        let mut bytes = Vec::new();
        encode(&mut bytes, Opcode::Ping, &[], b"hi", [1, 2, 3, 4]);
        assert_eq!(bytes, [0x89, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2]);
    }
}
