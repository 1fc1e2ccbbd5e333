//! One connection on its way through whatever session there is.
//!
//! Lives here: asking again for one that was lost before a byte was carried, local socket ↔ link.
//! Never here: which session, accepting.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Sleep, sleep, timeout};

use super::exchange::Exchange;
use super::link::{INPUT_LIMIT, Link};
use super::listen::Local;
use super::run;
use super::teller::Visit;
use crate::error::{Error, ErrorKind, Result, words};
use crate::protocol::machine::forward::End;

/// How often a connection is opened anew that carried nothing.
const TRIES: usize = 4;
/// How many bytes are read from a local side at once.
const READ_SIZE: usize = 32 * 1024;
/// How many pieces are written at once.
const SLICES: usize = 32;
/// How many steps are done before others have their turn.
const STEPS: usize = 64;
/// After so long without an answer a connection looks for another session, if it may.
const PATIENCE: Duration = Duration::from_secs(1);
/// For a local side to take what came last, and to end.
const PARTING: Duration = Duration::from_secs(2);

/// Which port a connection leads to, and where it gets a session.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    pub(super) exchange: Exchange,
    /// The place of the port among those that were asked for.
    pub(super) remote: usize,
    /// The port, as it was asked for.
    pub(super) name: Arc<str>,
}

impl Lane {
    /// Opens a connection; anew when its session is lost before.
    ///
    /// # Errors
    /// `NotStarted` when there is no session, or the server does not take it.
    pub(super) async fn open(&self) -> Result<Link> {
        for _ in 0..TRIES {
            let link = self.exchange.link(self.remote).await?;
            let mut asking = Asking::default();
            match poll_fn(|cx| asking.poll(cx, &link)).await {
                Ok(()) => return Ok(link),
                Err(End::Lost { fresh: true }) => {}
                Err(end) => return Err(self.error(&end, 0)),
            }
        }
        Err(self.error(&End::Lost { fresh: true }, 0))
    }

    /// Carries a local connection until both sides are done; else resets it.
    pub(super) async fn carry(self, local: Local, visit: Visit) {
        let mut local = Resetting(Some(local));
        let mut transfer = Transfer::default();
        for _ in 0..TRIES {
            let link = match self.exchange.link(self.remote).await {
                Ok(link) => link,
                Err(error) => return visit.end(Some(error)),
            };
            transfer.begin(&link);
            match poll_fn(|cx| transfer.poll(cx, &local, &link, &visit)).await {
                Ok(()) => {
                    visit.end(None);
                    drop((link, visit));
                    if let Some(local) = local.0.take() {
                        part(local, transfer.local_ended).await;
                    }
                    return;
                }
                Err(Stop::Remote(End::Lost { fresh: true })) => {}
                Err(Stop::Remote(end)) => {
                    return visit.end(Some(self.error(&end, visit.received_so_far())));
                }
                Err(Stop::Local(error)) => {
                    let message = "the local side ended the connection";
                    let error = Error::new(ErrorKind::Closed, message).because(words(&error));
                    return visit.end(Some(error));
                }
            }
        }
        visit.end(Some(self.error(&End::Lost { fresh: true }, 0)));
    }

    /// Returns the error of an end that is none of the pod's own.
    fn error(&self, end: &End, received: u64) -> Error {
        let ended = || Error::new(ErrorKind::Lost, "the connection ended before it began");
        run::error(end, &self.name, received).unwrap_or_else(ended)
    }
}

/// Waiting for the server to take a connection.
#[derive(Default)]
struct Asking {
    opened: bool,
    patience: Option<Pin<Box<Sleep>>>,
}

impl Asking {
    /// Ready when the server has taken it.
    ///
    /// # Errors
    /// How it ended instead; as lost, too, where it waits behind somebody who takes nothing while
    /// another session may have room.
    fn poll(&mut self, cx: &mut Context<'_>, link: &Link) -> Poll<Result<(), End>> {
        if self.opened {
            return Poll::Ready(Ok(()));
        }
        if let Poll::Ready(opened) = link.poll_opened(cx) {
            self.opened = opened.is_ok();
            self.patience = None;
            return Poll::Ready(opened);
        }
        let waiting = || Box::pin(sleep(PATIENCE));
        let patience = self.patience.get_or_insert_with(waiting);
        while patience.as_mut().poll(cx).is_ready() {
            if !link.has_room() {
                return Poll::Ready(Err(End::Lost { fresh: true }));
            }
            patience.set(sleep(PATIENCE));
        }
        Poll::Pending
    }
}

/// A local connection that is reset when it is dropped: what was cut must not look whole.
#[derive(Debug)]
struct Resetting(Option<Local>);

impl Drop for Resetting {
    fn drop(&mut self) {
        if let Some(local) = self.0.take() {
            local.reset();
        }
    }
}

/// Ends a local connection whose pod has ended and all of whose bytes were written.
///
/// A close with bytes of the local side unread would be a reset, which destroys what that has not yet
/// read (RFC 2525, 2.17).
async fn part(mut local: Local, ended: bool) {
    let parting = async {
        let _ = local.shutdown().await;
        let mut unread = [0; 4096];
        while !ended && local.read(&mut unread).await.is_ok_and(|read| read > 0) {}
    };
    let _ = timeout(PARTING, parting).await;
}

/// Why a transfer stopped.
enum Stop {
    Local(io::Error),
    Remote(End),
}

/// Bytes between a local connection and a link.
#[derive(Default)]
struct Transfer {
    /// From the pod, to be written.
    batch: VecDeque<Bytes>,
    asking: Asking,
    /// What was given so far, while it may be that nothing of it was carried: then another session
    /// has to.
    given: Vec<Bytes>,
    /// Whether a byte was certainly carried.
    carried: bool,
    local_ended: bool,
}

impl Transfer {
    /// Begins on a link, with what one before did not carry.
    fn begin(&mut self, link: &Link) {
        self.asking = Asking::default();
        for data in &self.given {
            link.push(data.clone());
        }
        if self.local_ended {
            link.finish();
        }
    }

    /// Moves bytes both ways; ready when the pod has ended and all it sent is written.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        local: &Resetting,
        link: &Link,
        visit: &Visit,
    ) -> Poll<Result<(), Stop>> {
        let Some(local) = &local.0 else {
            return Poll::Ready(Ok(()));
        };
        match self.asking.poll(cx, link) {
            Poll::Ready(Err(end)) => return Poll::Ready(Err(Stop::Remote(end))),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        let input = self.poll_input(cx, local, link, visit);
        if let Poll::Ready(Err(error)) = input {
            return Poll::Ready(Err(Stop::Local(error)));
        }
        self.poll_output(cx, local, link, visit)
    }

    /// From the pod to the local side.
    fn poll_output(
        &mut self,
        cx: &mut Context<'_>,
        local: &Local,
        link: &Link,
        visit: &Visit,
    ) -> Poll<Result<(), Stop>> {
        for _ in 0..STEPS {
            if self.batch.is_empty() {
                match ready!(link.poll_data(cx, &mut self.batch)) {
                    Ok(true) => self.is_carried(),
                    Ok(false) => return Poll::Ready(Ok(())),
                    Err(end) => return Poll::Ready(Err(Stop::Remote(end))),
                }
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let pieces = self.batch.iter().zip(&mut slices);
            let count = pieces
                .map(|(data, slice)| *slice = IoSlice::new(data))
                .count();
            match local.try_write_vectored(&slices[..count]) {
                Ok(written) => {
                    self.advance(written);
                    visit.received(written);
                    link.taken(written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(local.poll_write_ready(cx)).map_err(Stop::Local)?;
                }
                Err(error) => return Poll::Ready(Err(Stop::Local(error))),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Keeps what is given as long as all of it may lie between here and the session.
    fn keep(&mut self, data: &Bytes) {
        if self.carried {
            return;
        }
        self.given.push(data.clone());
        if self.given.iter().map(Bytes::len).sum::<usize>() > INPUT_LIMIT + READ_SIZE {
            self.is_carried();
        }
    }

    fn is_carried(&mut self) {
        self.carried = true;
        self.given = Vec::new();
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(data) = self.batch.front_mut() {
            let part = written.min(data.len());
            data.advance(part);
            written -= part;
            if !data.is_empty() {
                return;
            }
            self.batch.pop_front();
        }
    }

    /// From the local side to the pod.
    fn poll_input(
        &mut self,
        cx: &mut Context<'_>,
        local: &Local,
        link: &Link,
        visit: &Visit,
    ) -> Poll<io::Result<()>> {
        let mut buffer = BytesMut::new();
        for _ in 0..STEPS {
            if self.local_ended || !ready!(link.poll_room(cx)) {
                return Poll::Pending;
            }
            buffer.reserve(READ_SIZE);
            match local.try_read_buf(&mut buffer) {
                Ok(0) => {
                    self.local_ended = true;
                    link.finish();
                }
                Ok(read) => {
                    visit.sent(read);
                    let data = buffer.split().freeze();
                    self.keep(&data);
                    link.push(data);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(local.poll_read_ready(cx))?;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
