//! What comes in from the client: request heads, then frames, out of one buffer.
//!
//! Lives here: buffering and cutting. Never here: what a request or a frame asks for.

use std::io;

use tokio::io::AsyncReadExt as _;

use super::connection::Connection;
use crate::wire::{self, Head};

/// The reading side of a connection.
pub(crate) struct Inlet {
    pub(crate) connection: Connection,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

/// One frame, unmasked; the payload lies in the inlet's buffer.
pub(crate) struct Frame<'a> {
    pub(crate) head: Head,
    pub(crate) payload: &'a [u8],
}

/// A frame longer than any server accepts.
pub(crate) struct TooLong;

impl Inlet {
    pub(crate) fn new(connection: Connection) -> Self {
        Self {
            connection,
            buffer: vec![0; INITIAL],
            start: 0,
            end: 0,
        }
    }

    /// Reads the head of the next request, or `None` when the client has gone.
    pub(crate) async fn request_head(&mut self) -> io::Result<Option<String>> {
        loop {
            let bytes = &self.buffer[self.start..self.end];
            if let Some(length) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&bytes[..length]).into_owned();
                self.start += length + 4;
                return Ok(Some(head));
            }
            if bytes.len() > LONGEST_REQUEST_HEAD {
                return Err(io::Error::other("the request head is too long"));
            }
            if self.fill().await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Discards `length` bytes of a request's body.
    pub(crate) async fn skip(&mut self, mut length: usize) -> io::Result<()> {
        loop {
            let step = length.min(self.end - self.start);
            self.start += step;
            length -= step;
            if length == 0 {
                return Ok(());
            }
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Takes `length` bytes of a request's body.
    pub(crate) async fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let step = (length - body.len()).min(self.end - self.start);
            body.extend_from_slice(&self.buffer[self.start..self.start + step]);
            self.start += step;
            if body.len() == length {
                return Ok(body);
            }
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Takes one frame out of the buffer, or `None` while it is incomplete.
    pub(crate) fn frame(&mut self) -> Result<Option<Frame<'_>>, TooLong> {
        let Some(head) = Head::parse(&self.buffer[self.start..self.end]) else {
            return Ok(None);
        };
        if head.length > LONGEST_FRAME {
            return Err(TooLong);
        }
        let length = usize::try_from(head.length).map_err(|_| TooLong)?;
        let begin = self.start + head.size;
        if self.end < begin + length {
            // Room for the whole frame, so that `fill` can complete it.
            if self.buffer.len() < head.size + length {
                self.buffer.resize(head.size + length, 0);
            }
            return Ok(None);
        }
        self.start = begin + length;
        let payload = &mut self.buffer[begin..begin + length];
        if let Some(key) = head.mask {
            wire::mask(payload, key);
        }
        Ok(Some(Frame { head, payload }))
    }

    /// Reads more from the socket; 0 at its end.
    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let count = self.connection.read(&mut self.buffer[self.end..]).await?;
        // A socket that fills what we offer is a bulk upload: take bigger bites.
        if self.end + count == self.buffer.len() && self.buffer.len() < BULK {
            self.buffer.resize(BULK, 0);
        }
        self.end += count;
        Ok(count)
    }
}

const INITIAL: usize = 16 * 1024;
const BULK: usize = 512 * 1024;
const LONGEST_REQUEST_HEAD: usize = 1 << 20;
// apimachinery wsstream/conn.go: a frame over 32 MiB ends the connection.
const LONGEST_FRAME: u64 = 32 << 20;
