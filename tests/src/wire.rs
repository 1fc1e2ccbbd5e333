//! WebSocket frames, written and read by hand.
//!
//! Lives here: pure functions over bytes. Never here: sockets, or an import from `wsx_core`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// First-byte bit: this frame ends its message.
pub const FIN: u8 = 0x80;
/// First-byte bit reserved for extensions; nobody may set it here.
pub const RSV1: u8 = 0x40;
/// Opcode of a later piece of a fragmented message.
pub const CONTINUATION: u8 = 0x0;
/// Opcode of a text message.
pub const TEXT: u8 = 0x1;
/// Opcode of a binary message.
pub const BINARY: u8 = 0x2;
/// Opcode of the closing frame.
pub const CLOSE: u8 = 0x8;
/// Opcode of a ping.
pub const PING: u8 = 0x9;
/// Opcode of a pong.
pub const PONG: u8 = 0xA;

/// The header of one frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Head {
    /// Whether the frame ends its message.
    pub fin: bool,
    /// Whether any of the three reserved bits is set.
    pub reserved: bool,
    /// The opcode, 0 to 15.
    pub opcode: u8,
    /// The masking key, when the frame is masked.
    pub mask: Option<[u8; 4]>,
    /// The declared length of the payload.
    pub length: u64,
    /// How many bytes the header itself takes.
    pub size: usize,
}

impl Head {
    /// Reads a header from the start of `bytes`, or `None` while bytes are missing.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        let (length, end) = match second & 0x7F {
            126 => (u64::from(u16::from_be_bytes(array(bytes, 2)?)), 4),
            127 => (u64::from_be_bytes(array(bytes, 2)?), 10),
            short => (u64::from(short), 2),
        };
        let masked = second & 0x80 != 0;
        let mask = if masked {
            Some(array(bytes, end)?)
        } else {
            None
        };
        Some(Self {
            fin: first & FIN != 0,
            reserved: first & 0x70 != 0,
            opcode: first & 0x0F,
            mask,
            length,
            size: if masked { end + 4 } else { end },
        })
    }
}

/// Appends a frame header: the first byte as given, the length in its shortest form, the mask key.
pub fn put_head(out: &mut Vec<u8>, first: u8, length: u64, mask: Option<[u8; 4]>) {
    let bit = if mask.is_some() { 0x80 } else { 0 };
    out.push(first);
    if let Ok(short @ 0..=125) = u8::try_from(length) {
        out.push(bit | short);
    } else if let Ok(medium) = u16::try_from(length) {
        out.push(bit | 126);
        out.extend_from_slice(&medium.to_be_bytes());
    } else {
        out.push(bit | 127);
        out.extend_from_slice(&length.to_be_bytes());
    }
    out.extend_from_slice(&mask.unwrap_or_default()[..if mask.is_some() { 4 } else { 0 }]);
}

/// A whole frame as a client sends it: masked, header and payload.
#[must_use]
pub fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xFA, 0x21, 0x3D];
    let mut out = Vec::with_capacity(payload.len() + 14);
    put_head(&mut out, first, payload.len() as u64, Some(key));
    let start = out.len();
    out.extend_from_slice(payload);
    mask(&mut out[start..], key);
    out
}

/// A whole frame as a server sends it: not masked, header and payload.
#[must_use]
pub fn server_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 10);
    put_head(&mut out, first, payload.len() as u64, None);
    out.extend_from_slice(payload);
    out
}

/// Masks or unmasks a payload in place, eight bytes at a time.
pub fn mask(payload: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut words = payload.chunks_exact_mut(8);
    for word in &mut words {
        let bytes: [u8; 8] = (&*word)
            .try_into()
            .expect("chunks_exact_mut(8) gives eight bytes");
        word.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ wide).to_ne_bytes());
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// The `Sec-WebSocket-Accept` that answers `key`.
#[must_use]
pub fn accept(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(sha1_smol::Sha1::from(text).digest().bytes())
}

fn array<const N: usize>(bytes: &[u8], start: usize) -> Option<[u8; N]> {
    bytes.get(start..start + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_is_the_example_of_the_standard() {
        assert_eq!(
            accept("dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn heads_of_every_length_are_read_back() {
        for length in [0, 125, 126, 65535, 65536, 1 << 62] {
            for mask in [None, Some([1, 2, 3, 4])] {
                let mut bytes = Vec::new();
                put_head(&mut bytes, FIN | BINARY, length, mask);
                let size = bytes.len();
                let expected = Head {
                    fin: true,
                    reserved: false,
                    opcode: BINARY,
                    mask,
                    length,
                    size,
                };
                assert_eq!(Head::parse(&bytes), Some(expected));
                assert_eq!(Head::parse(&bytes[..size - 1]), None);
            }
        }
    }

    #[test]
    fn a_masked_frame_is_the_example_of_the_standard() {
        let hello = [
            0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58,
        ];
        assert_eq!(client_frame(FIN | TEXT, b"Hello"), hello);
        assert_eq!(server_frame(FIN | TEXT, b"Hello"), b"\x81\x05Hello");
    }

    #[test]
    fn masking_twice_gives_the_payload_back() {
        let plain: Vec<u8> = (0..=255).cycle().take(1003).collect();
        let mut bytes = plain.clone();
        mask(&mut bytes, [9, 8, 7, 6]);
        assert!(
            bytes
                .iter()
                .zip(&plain)
                .enumerate()
                .all(|(i, (a, b))| a ^ b == [9, 8, 7, 6][i % 4])
        );
        mask(&mut bytes, [9, 8, 7, 6]);
        assert_eq!(bytes, plain);
    }
}
