//! Frames of SPDY/3.1 as a server reads and writes them, with its header blocks deflated.
//!
//! Lives here: bytes and values, as strict and as lenient as Kubernetes' own library. Never here: what a
//! frame does.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use super::dictionary::dictionary;

/// What a client says.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Frame {
    SynStream {
        id: u32,
        fin: bool,
        headers: Vec<(String, String)>,
    },
    Data {
        id: u32,
        fin: bool,
        bytes: Vec<u8>,
    },
    RstStream {
        id: u32,
    },
    Ping {
        id: u32,
    },
    GoAway,
    /// Parsed and of no effect on a server: SYN_REPLY, SETTINGS, HEADERS, WINDOW_UPDATE.
    Skipped,
}

/// A frame that ends the connection.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Broken(pub(super) &'static str);

/// Cuts a stream of bytes into frames.
pub(super) struct Reader {
    buffer: Vec<u8>,
    start: usize,
    inflate: Decompress,
}

/// Writes frames.
pub(super) struct Writer {
    deflate: Compress,
}

impl Reader {
    pub(super) fn new() -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            inflate: Decompress::new(true),
        }
    }

    /// Takes more bytes in.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame, or `None` while it is incomplete; whole frames only, as Go reads them.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, Broken> {
        let bytes = &self.buffer[self.start..];
        let Some(&[a, b, c, d, flags, e, f, g]) = bytes.first_chunk() else {
            return self.keep();
        };
        let length = usize::from(e) << 16 | usize::from(f) << 8 | usize::from(g);
        if bytes.len() < 8 + length {
            return self.keep();
        }
        let body = bytes[8..8 + length].to_vec();
        self.start += 8 + length;
        let word = u32::from_be_bytes([a, b, c, d]);
        if word & CONTROL == 0 {
            let fin = flags & FIN != 0;
            return Ok(Some(Frame::Data {
                id: word,
                fin,
                bytes: body,
            }));
        }
        // spdystream spdy/read.go: the version is not looked at.
        self.control(word & 0xFFFF, flags, &body).map(Some)
    }

    fn keep(&mut self) -> Result<Option<Frame>, Broken> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        Ok(None)
    }

    fn control(&mut self, kind: u32, flags: u8, body: &[u8]) -> Result<Frame, Broken> {
        let word = |at: usize| {
            let word = body.get(at..).and_then(|rest| rest.first_chunk());
            word.map(|word| u32::from_be_bytes(*word))
                .ok_or(Broken("a frame is too short"))
        };
        let nonzero = |at: usize, text| match word(at)? {
            0 => Err(Broken(text)),
            word => Ok(word),
        };
        Ok(match kind {
            SYN_STREAM => {
                let id = nonzero(0, "stream 0")?;
                let block = body.get(10..).ok_or(Broken("a frame is too short"))?;
                let headers = self.headers(block)?;
                let fin = flags & FIN != 0;
                Frame::SynStream { id, fin, headers }
            }
            SYN_REPLY | HEADERS => {
                nonzero(0, "stream 0")?;
                self.headers(&body[4..])?;
                Frame::Skipped
            }
            RST_STREAM => {
                nonzero(4, "a reset without a reason")?;
                let id = nonzero(0, "stream 0")?;
                Frame::RstStream { id }
            }
            SETTINGS => {
                word(0)?;
                Frame::Skipped
            }
            PING if flags != 0 => return Err(Broken("a ping with flags")),
            PING => {
                let id = nonzero(0, "ping 0")?;
                Frame::Ping { id }
            }
            GOAWAY => {
                word(4)?;
                Frame::GoAway
            }
            WINDOW_UPDATE => {
                word(4)?;
                Frame::Skipped
            }
            _ => return Err(Broken("a kind nobody knows")),
        })
    }

    fn headers(&mut self, block: &[u8]) -> Result<Vec<(String, String)>, Broken> {
        // Go's inflater gives up for good on a block that is not flushed.
        if !block.ends_with(&[0x00, 0x00, 0xFF, 0xFF]) {
            return Err(Broken("a header block is not flushed"));
        }
        let plain = self.inflate(block)?;
        let mut rest = &plain[..];
        let mut headers = Vec::new();
        let count = take_word(&mut rest)?;
        if count > MOST_HEADERS {
            return Err(Broken("too many headers"));
        }
        for _ in 0..count {
            let name = take_text(&mut rest)?;
            let value = take_text(&mut rest)?;
            if name != name.to_lowercase() {
                return Err(Broken("a name is not lower case"));
            }
            if headers.iter().any(|(other, _)| *other == name) {
                return Err(Broken("a header comes twice"));
            }
            headers.push((name, value));
        }
        if !rest.is_empty() {
            return Err(Broken("a header block is too long"));
        }
        Ok(headers)
    }

    fn inflate(&mut self, mut block: &[u8]) -> Result<Vec<u8>, Broken> {
        const WRONG: Broken = Broken("a header block does not inflate");
        let mut plain = Vec::with_capacity(4096);
        loop {
            let before = self.inflate.total_in();
            let step = self
                .inflate
                .decompress_vec(block, &mut plain, FlushDecompress::Sync);
            let read = usize::try_from(self.inflate.total_in() - before).map_err(|_| WRONG)?;
            block = &block[read..];
            match step {
                Err(error) if error.needs_dictionary().is_some() => {
                    self.inflate
                        .set_dictionary(&dictionary())
                        .map_err(|_| WRONG)?;
                }
                Err(_) => return Err(WRONG),
                Ok(_) if plain.len() > LONGEST_HEADERS => return Err(WRONG),
                Ok(_) if plain.len() == plain.capacity() => plain.reserve(plain.len()),
                Ok(_) if block.is_empty() => return Ok(plain),
                Ok(_) if read == 0 => return Err(WRONG),
                Ok(_) => {}
            }
        }
    }
}

impl Writer {
    pub(super) fn new() -> Self {
        let mut deflate = Compress::new(Compression::best(), true);
        // A dictionary before the first byte is always taken.
        let _ = deflate.set_dictionary(&dictionary());
        Self { deflate }
    }

    /// SYN_REPLY without headers.
    pub(super) fn reply(&mut self, id: u32) -> Vec<u8> {
        let mut block = Vec::with_capacity(64);
        // Four bytes fit always.
        let _ = self
            .deflate
            .compress_vec(&[0; 4], &mut block, FlushCompress::Sync);
        control(SYN_REPLY, &[&id.to_be_bytes(), &block])
    }
}

/// RST_STREAM.
pub(super) fn reset(id: u32, status: u32) -> Vec<u8> {
    control(RST_STREAM, &[&id.to_be_bytes(), &status.to_be_bytes()])
}

/// PING.
pub(super) fn ping(id: u32) -> Vec<u8> {
    control(PING, &[&id.to_be_bytes()])
}

/// GOAWAY with status 0.
pub(super) fn goaway(last: u32) -> Vec<u8> {
    control(GOAWAY, &[&last.to_be_bytes(), &[0; 4]])
}

/// The head of a data frame.
pub(super) fn data_head(id: u32, fin: bool, length: usize) -> [u8; 8] {
    // The caller cuts at 32 KiB.
    let length = (length as u32).to_be_bytes();
    let [a, b, c, d] = id.to_be_bytes();
    let flags = if fin { FIN } else { 0 };
    [a, b, c, d, flags, length[1], length[2], length[3]]
}

/// A control frame of that kind.
pub(super) fn control(kind: u32, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut frame = (CONTROL | 3 << 16 | kind).to_be_bytes().to_vec();
    frame.extend_from_slice(&(length as u32).to_be_bytes());
    for part in parts {
        frame.extend_from_slice(part);
    }
    frame
}

fn take_word(rest: &mut &[u8]) -> Result<u32, Broken> {
    let (word, tail) = rest
        .split_first_chunk()
        .ok_or(Broken("a header block is cut"))?;
    *rest = tail;
    Ok(u32::from_be_bytes(*word))
}

fn take_text(rest: &mut &[u8]) -> Result<String, Broken> {
    let length = take_word(rest)?;
    if length > LONGEST_FIELD {
        return Err(Broken("a header is too long"));
    }
    let (text, tail) = rest
        .split_at_checked(length as usize)
        .ok_or(Broken("a header block is cut"))?;
    *rest = tail;
    Ok(String::from_utf8_lossy(text).into_owned())
}

/// First bit of a control frame.
const CONTROL: u32 = 0x8000_0000;
/// Flag: nothing follows on this stream.
const FIN: u8 = 0x01;
pub(super) const SYN_STREAM: u32 = 1;
pub(super) const SYN_REPLY: u32 = 2;
pub(super) const RST_STREAM: u32 = 3;
pub(super) const SETTINGS: u32 = 4;
pub(super) const PING: u32 = 6;
const GOAWAY: u32 = 7;
pub(super) const HEADERS: u32 = 8;
pub(super) const WINDOW_UPDATE: u32 = 9;
// spdystream 0.5.1, spdy/types.go.
const MOST_HEADERS: u32 = 1000;
const LONGEST_FIELD: u32 = 1 << 20;
const LONGEST_HEADERS: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        let digits: String = text.split_whitespace().collect();
        (0..digits.len() / 2)
            .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap())
            .collect()
    }

    fn opened(kind: &str, id: u32) -> Frame {
        let headers = [("streamtype", kind), ("port", "8080"), ("requestid", "0")];
        let owned = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (fin, headers) = (false, owned.to_vec());
        Frame::SynStream { id, fin, headers }
    }

    // Accepted by Kubernetes 1.36.3 in these bytes.
    const STORED: &str = "80030001 00000053 00000001 00000000 0000 7801 00 3d00 c2ff 00000003 \
        0000000a 73747265616d74797065 00000005 6572726f72 00000004 706f7274 00000004 38303830 \
        00000009 726571756573746964 00000001 30 00 0000 ffff";
    const DEFLATED: &str = "80030001 0000003d 00000001 00000000 0000 78f9e3c6a7c202253a703a2b294a4d\
        cc851625aca9a0808614cb45e01c6061606100a4398b20d198094ade8c0600000000ffff \
        80030001 00000018 00000003 00000000 0000 c2aa19540e2512d60b000000ffff";

    #[test]
    fn both_forms_of_header_blocks_are_read() {
        let mut reader = Reader::new();
        reader.feed(&bytes(STORED));
        assert_eq!(reader.next(), Ok(Some(opened("error", 1))));
        let mut reader = Reader::new();
        for byte in bytes(DEFLATED) {
            assert!(reader.next().is_ok());
            reader.feed(&[byte]);
            if byte == 0xFF && reader.buffer.len() == 69 {
                assert_eq!(reader.next(), Ok(Some(opened("error", 1))));
            }
        }
        assert_eq!(reader.next(), Ok(Some(opened("data", 3))));
        assert_eq!(reader.next(), Ok(None));
    }

    #[test]
    fn what_ends_a_connection_in_go_ends_it_here() {
        let unflushed = "80030001 0000004e 00000001 00000000 0000 7801 00 3d00 c2ff 00000003 \
            0000000a 73747265616d74797065 00000005 6572726f72 00000004 706f7274 00000004 38303830 \
            00000009 726571756573746964 00000001 30";
        let upper = &STORED.replace("706f7274", "506f7274");
        for frame in [
            unflushed,
            upper,
            "80030006 00000004 00000000",
            "80030005 00000000",
            "8003000b 00000000",
            "80030003 00000008 00000001 00000000",
        ] {
            let mut reader = Reader::new();
            reader.feed(&bytes(frame));
            assert!(reader.next().is_err(), "{frame}");
        }
    }

    #[test]
    fn replies_use_the_dictionary() {
        let mut writer = Writer::new();
        let first = writer.reply(1);
        // 78 F9 and the dictionary's checksum; the version is not looked at, the flush is there.
        assert_eq!(first[12..18], bytes("78f9e3c6a7c2"));
        assert!(first.ends_with(&bytes("0000ffff")));
        let mut reader = Reader::new();
        for reply in [first, writer.reply(3)] {
            reader.feed(&reply);
            assert_eq!(reader.next(), Ok(Some(Frame::Skipped)));
        }
    }
}
