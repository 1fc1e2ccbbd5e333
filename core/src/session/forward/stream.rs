//! A connection to a port of a pod without a local socket.
//!
//! Lives here: its two halves. Never here: local sockets (lane.rs), sessions.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::link::Link;
use super::run;
use super::teller::Visit;
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::machine::forward::End;

/// The largest piece of input in one message.
const PIECE: usize = 32 * 1024;

/// A connection to a port of a pod. Dropping it before both sides have ended resets it.
#[derive(Debug)]
pub struct ForwardStream {
    reader: ForwardReader,
    writer: ForwardWriter,
}

/// What comes from the pod.
#[derive(Debug)]
pub struct ForwardReader {
    shared: Arc<Shared>,
    batch: VecDeque<Bytes>,
}

/// What goes to the pod.
#[derive(Debug)]
pub struct ForwardWriter {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    link: Link,
    visit: Visit,
    name: Arc<str>,
}

impl Shared {
    /// Returns the error of an end that is none of the pod's own.
    fn error(&self, end: &End) -> Error {
        let error = run::error(end, &self.name, self.visit.received_so_far());
        self.visit.end(error.clone());
        error.unwrap_or_else(|| Error::new(ErrorKind::Closed, "the pod has ended the connection"))
    }
}

impl ForwardStream {
    pub(super) fn new(link: Link, visit: Visit, name: Arc<str>) -> Self {
        let shared = Arc::new(Shared { link, visit, name });
        Self {
            reader: ForwardReader {
                shared: Arc::clone(&shared),
                batch: VecDeque::new(),
            },
            writer: ForwardWriter { shared },
        }
    }

    /// Parts both directions, for tasks of their own.
    #[must_use]
    pub fn split(self) -> (ForwardReader, ForwardWriter) {
        (self.reader, self.writer)
    }
}

impl ForwardReader {
    /// Waits for the next bytes, never empty; nothing when the pod has ended the connection.
    ///
    /// # Errors
    /// `Lost` when it was cut, `NotStarted` when the pod refused it, `Closed` when it was aborted
    /// here; after all that came before.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Result<Option<Bytes>>> {
        if self.batch.is_empty() {
            let taken = ready!(self.shared.link.poll_data(cx, &mut self.batch));
            self.took(taken)?;
        }
        Poll::Ready(Ok(self.batch.pop_front()))
    }

    /// Waits for bytes and takes all that are there; ready with `false` when the pod has ended.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn poll_batch(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut Vec<Bytes>,
    ) -> Poll<Result<bool>> {
        let taken = match self.batch.is_empty() {
            true => ready!(self.shared.link.poll_data(cx, &mut self.batch)),
            false => Ok(true),
        };
        Poll::Ready(self.give(taken, batch))
    }

    /// Takes all that is there without waiting: `Some(false)` at the end, `None` when nothing is.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn try_batch(&mut self, batch: &mut Vec<Bytes>) -> Result<Option<bool>> {
        match self.shared.link.try_data(&mut self.batch) {
            Poll::Ready(taken) => self.give(taken, batch).map(Some),
            Poll::Pending => Ok(None),
        }
    }

    /// Waits until [`try_batch`](Self::try_batch) has something to say.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.link.poll_ready(cx)
    }

    fn give(&mut self, taken: Result<bool, End>, batch: &mut Vec<Bytes>) -> Result<bool> {
        let more = self.took(taken)?;
        batch.extend(self.batch.drain(..));
        Ok(more)
    }

    /// Acts on what was taken into an empty batch.
    fn took(&self, taken: Result<bool, End>) -> Result<bool> {
        match taken {
            Ok(true) => {
                let bytes = self.batch.iter().map(Bytes::len).sum();
                self.shared.visit.received(bytes);
                self.shared.link.taken(bytes);
                Ok(true)
            }
            Ok(false) => {
                self.shared.visit.end(None);
                Ok(false)
            }
            Err(end) => Err(self.shared.error(&end)),
        }
    }
}

impl ForwardWriter {
    /// Waits until bytes may be given; ready with `false` when nobody takes any.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.shared.link.poll_room(cx)
    }

    /// Gives bytes, whatever the room, or gives them back when nobody takes any.
    pub fn push(&mut self, mut data: Bytes) -> Result<(), Bytes> {
        if self.shared.link.ended().is_some() {
            return Err(data);
        }
        self.shared.visit.sent(data.len());
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(PIECE));
            self.shared.link.push(piece);
        }
        Ok(())
    }

    /// Gives all of it, as there is room: at most 64 KiB wait for the session.
    ///
    /// # Errors
    /// `Closed` when the pod has ended the connection; `Lost`, `NotStarted` as for reading.
    ///
    /// # Cancel safety
    /// What was given stays given; it is not told how much.
    pub async fn write(&mut self, mut data: Bytes) -> Result<()> {
        while !data.is_empty() {
            let room = poll_fn(|cx| self.poll_room(cx)).await;
            let piece = data.split_to(data.len().min(PIECE));
            if !room || self.push(piece).is_err() {
                return Err(self.error());
            }
        }
        Ok(())
    }

    /// Says that nothing more is given. When the pod learns it is up to the option `half_close`.
    pub fn end(&mut self) {
        self.shared.link.finish();
    }

    /// Resets the connection.
    pub fn abort(&self) {
        self.shared.link.abort();
    }

    /// Returns why nobody takes anything.
    #[must_use]
    pub fn error(&self) -> Error {
        let end = self.shared.link.ended().unwrap_or(End::Finished);
        self.shared.error(&end)
    }
}

fn broken(error: Error) -> io::Error {
    let kind = match error.kind() {
        ErrorKind::NotStarted => io::ErrorKind::ConnectionRefused,
        ErrorKind::Closed => io::ErrorKind::BrokenPipe,
        _ => io::ErrorKind::ConnectionReset,
    };
    io::Error::new(kind, error)
}

impl AsyncRead for ForwardStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let reader = &mut self.get_mut().reader;
        let Some(mut data) = ready!(reader.poll_next(cx)).map_err(broken)? else {
            return Poll::Ready(Ok(()));
        };
        let fitting = data.split_to(data.len().min(buffer.remaining()));
        buffer.put_slice(&fitting);
        if data.has_remaining() {
            reader.batch.push_front(data);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ForwardStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let writer = &mut self.get_mut().writer;
        let room = ready!(writer.poll_room(cx));
        let piece = &data[..data.len().min(PIECE)];
        if !room || writer.push(Bytes::copy_from_slice(piece)).is_err() {
            return Poll::Ready(Err(broken(writer.error())));
        }
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().writer.end();
        Poll::Ready(Ok(()))
    }
}
