//! The only pump: moves messages between a socket and a machine until one side is done.
//!
//! Lives here: queues, heartbeat, time limits, close, cancel. Never here: channels, pods, retries.
//!
//! Rules, each with the fault that taught it:
//! - Reading never waits for writing, nor writing for reading: one `poll`, two independent halves.
//! - We read only while the caller has room; while we do not, no clock runs against the peer.
//! - We ping a peer that is quiet, never one whose data arrives or waits for us, nor at once: a
//!   server that has finished answers a ping with a reset, which destroys what it had still to
//!   deliver (RFC 2525, 2.17; measured: 128 kB of 1 MB arrived). A slow reader would be cut for
//!   being slow, and a short command on a long line for being short.
//! - While bytes of ours may be unread by the remote side, its silence means nothing (the server
//!   stops reading the socket). A request on a second connection tells a black hole from a stall.
//! - A failed write ends writing only: what the peer said before it went is still to be read.

mod caller;
mod masks;
mod time;

use std::future::{Future, poll_fn};
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};
use tokio::time::{Instant, Sleep};

pub(crate) use self::caller::{Caller, Queues};
use self::masks::Masks;
use self::time::{Clocks, Phase};
use super::transport::{Dial, Io};
use crate::error::Result;
use crate::protocol::error::ProtocolError;
use crate::protocol::machine::{Machine, Outgoing};
use crate::protocol::request::Limits;
use crate::protocol::websocket::{self, CloseFrame, Decoder, Incoming, Opcode};

/// How a connection ended, seen from here.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The caller closed the session, or dropped it.
    Abandoned,
    /// The connection broke.
    Broken(io::Error),
    /// The peer said goodbye.
    Closed(CloseFrame),
    /// The caller's time limit passed.
    Deadline,
    /// Accepted, and ended at once without one byte of data.
    EndedAtOnce,
    /// The stream ended without a Close frame.
    EndOfStream,
    /// The last word was said, and no Close followed.
    Lingered,
    /// Accepted, but not one byte came.
    NothingFlows,
    /// Not a single byte for too long.
    Silent,
    /// Our data lay unread for too long, while the server itself was there.
    Stalled,
    /// Our data lay unread, and the server was not reachable either.
    Unreachable,
    /// The peer broke the protocol.
    Violation(ProtocolError),
}

/// What passes through, for whoever counts.
pub(crate) enum Seen<'a, M: Machine> {
    Close(&'a CloseFrame),
    Command(&'a M::Command),
    Event(&'a M::Event),
    /// An event that nobody was left to take.
    Discarded(&'a M::Event),
}

/// Whoever counts.
pub(crate) type Observer<M> = Box<dyn FnMut(Seen<'_, M>) + Send>;

/// A wish to end the session, from any handle.
#[derive(Debug, Default)]
pub(crate) struct Life {
    over: AtomicBool,
    waker: AtomicWaker,
}

impl Life {
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Release);
        self.waker.wake();
    }

    fn poll_over(&self, cx: &Context<'_>) -> bool {
        self.waker.register(cx.waker());
        self.over.load(Ordering::Acquire)
    }
}

/// Everything a driver needs.
pub(crate) struct Setup<M: Machine, C> {
    pub(crate) io: Box<dyn Io>,
    pub(crate) machine: M,
    pub(crate) caller: C,
    pub(crate) limits: Limits,
    pub(crate) deadline: Option<Instant>,
    pub(crate) life: Arc<Life>,
    pub(crate) dial: Arc<dyn Dial>,
    pub(crate) observe: Observer<M>,
    /// How many bytes are read at once at most; up to four buffers of this size are held.
    pub(crate) read_size: usize,
}

/// Moves messages until the conversation is over; never longer than the limits say.
///
/// # Cancel safety
/// Dropping the future drops the connection; what was read is in the queue.
pub(crate) async fn drive<M, C>(setup: Setup<M, C>) -> (M, C, Ending)
where
    M: Machine + Send + Unpin,
    C: Caller<M> + Send + Unpin,
{
    let mut driver = Driver::new(setup);
    let ending = poll_fn(|cx| driver.poll(cx)).await;
    tracing::debug!(?ending, "session ended");
    (driver.machine, driver.caller, ending)
}

/// What is read at once where speed counts, when that much comes.
pub(crate) const READ_SIZE: usize = 256 * 1024;
/// What is read at once to begin with. TLS gives a record of 16 KiB at a time, so there it stays at
/// this: memory that fits into the cache takes a quarter less CPU.
const FIRST_READ: usize = 64 * 1024;
/// How many buffers are kept to be read into again.
const BUFFERS_KEPT: usize = 3;
/// Data is taken from the caller while less than this waits to be written.
const WRITE_SIZE: usize = 32 * 1024;
/// Control frames are added while less than this waits to be written.
const CONTROL_ROOM: usize = 2 * WRITE_SIZE;
/// A session that ends this soon without data was never let through.
const AT_ONCE: Duration = Duration::from_secs(1);
/// After the last word, for the peer's Close.
const CLOSE_WAIT: Duration = Duration::from_secs(5);
/// For our own Close, after the peer's.
const ECHO_WAIT: Duration = Duration::from_secs(2);
/// For our own Close, when the caller has left.
const FAREWELL_WAIT: Duration = Duration::from_millis(500);

struct Driver<M: Machine, C> {
    io: Box<dyn Io>,
    machine: M,
    caller: C,
    limits: Limits,
    deadline: Option<Instant>,
    life: Arc<Life>,
    dial: Arc<dyn Dial>,
    observe: Observer<M>,
    read_size: usize,
    /// How much is read at once now: more, where half of it came in one go.
    at_once: usize,

    phase: Phase,
    /// Whether anything came that the caller was told of.
    flowed: bool,
    decoder: Decoder,
    input: BytesMut,
    /// What was read into before; the caller may still hold the bytes.
    used: Vec<BytesMut>,
    output: Vec<u8>,
    /// How much of `output` is written.
    written: usize,
    needs_flush: bool,
    write_failed: bool,
    pong: Option<Bytes>,
    masks: Masks,
    clocks: Clocks,
    probe: Option<BoxFuture<'static, Result<()>>>,
    timer: Pin<Box<Sleep>>,
}

impl<M: Machine, C: Caller<M>> Driver<M, C> {
    fn new(setup: Setup<M, C>) -> Self {
        let now = Instant::now();
        Self {
            io: setup.io,
            machine: setup.machine,
            caller: setup.caller,
            limits: setup.limits,
            deadline: setup.deadline,
            life: setup.life,
            dial: setup.dial,
            observe: setup.observe,
            read_size: setup.read_size,
            at_once: setup.read_size.min(FIRST_READ),
            phase: Phase::Opening {
                until: now + setup.limits.connect,
            },
            flowed: false,
            decoder: Decoder::default(),
            input: BytesMut::with_capacity(setup.read_size.min(FIRST_READ)),
            used: Vec::new(),
            output: Vec::with_capacity(CONTROL_ROOM),
            written: 0,
            needs_flush: false,
            write_failed: false,
            pong: None,
            masks: Masks::default(),
            clocks: Clocks {
                opened: now,
                alive: now,
                vouched: now,
                probed: now,
                progress: now,
                next_ping: now + setup.limits.keepalive.min(setup.limits.connect / 2),
                blocked: false,
                held: false,
                sent: 0,
                confirmed: 0,
            },
            probe: None,
            timer: Box::pin(tokio::time::sleep_until(now)),
        }
    }

    /// One mutation, then drain, then wait.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        let now = Instant::now();
        if self.life.poll_over(cx) && !self.is_closing() {
            self.say_goodbye(1000, FAREWELL_WAIT, Ending::Abandoned, now);
        }
        self.machine.at(now - self.clocks.opened);
        loop {
            let read = self.poll_read(cx, now);
            self.caller.announce(&self.machine);
            if let Poll::Ready(ending) = read {
                return Poll::Ready(ending);
            }
            self.poll_write(cx, now);
            // What was taken meanwhile may be what reading waits for: nobody else would wake us.
            if self.is_closing() || !(self.clocks.held && self.machine.reads()) {
                break;
            }
        }
        if let Poll::Ready(ending) = self.poll_closed() {
            return Poll::Ready(ending);
        }
        self.poll_probe(cx, now);
        self.poll_timer(cx)
    }

    // Reading

    fn poll_read(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Ending> {
        loop {
            if self.is_closing() {
                return Poll::Pending;
            }
            self.clocks.held = !self.machine.reads();
            let discarding = match self.caller.poll_room(cx) {
                Poll::Ready(room) if !self.clocks.held => !room,
                _ => {
                    self.clocks.blocked = true;
                    return Poll::Pending;
                }
            };
            if mem::take(&mut self.clocks.blocked) {
                self.clocks.restart(now);
                self.clocks.next_ping = now + self.ping_interval();
                self.await_close(now);
            }
            let read = match ready!(self.poll_fill(cx)) {
                Ok(read) if read > 0 => read,
                _ if !self.flowed && now < self.clocks.opened + AT_ONCE => {
                    return Poll::Ready(Ending::EndedAtOnce);
                }
                Ok(_) => return Poll::Ready(Ending::EndOfStream),
                Err(error) => return Poll::Ready(Ending::Broken(error)),
            };
            tracing::trace!(bytes = read, "read");
            self.clocks.alive = now;
            self.clocks.next_ping = now + self.ping_interval();
            if matches!(self.phase, Phase::Opening { .. }) {
                self.phase = Phase::Open;
            }
            if let Err(error) = self.take_input(discarding, now) {
                return Poll::Ready(Ending::Violation(error));
            }
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.capacity() - self.input.len() < self.at_once / 4 {
            self.renew_input();
        }
        let fill = self.io.read_buf(&mut self.input);
        let read = ready!(std::pin::pin!(fill).poll(cx))?;
        if read > self.at_once / 2 && self.at_once < self.read_size {
            self.at_once = self.read_size.min(2 * self.at_once);
            self.used.clear();
        }
        Poll::Ready(Ok(read))
    }

    /// Reads on into memory whose bytes nobody holds any more: fresh memory costs a page fault every 4 KiB.
    fn renew_input(&mut self) {
        let size = self.at_once;
        let reusable = |used: &mut BytesMut| used.try_reclaim(size);
        let mut next = match self.used.iter_mut().position(reusable) {
            Some(index) => self.used.swap_remove(index),
            None => BytesMut::with_capacity(size),
        };
        next.extend_from_slice(&self.input);
        let mut last = mem::replace(&mut self.input, next);
        last.clear();
        if self.used.len() < BUFFERS_KEPT {
            self.used.push(last);
        }
    }

    fn take_input(&mut self, discarding: bool, now: Instant) -> Result<(), ProtocolError> {
        while let Some(incoming) = self.decoder.decode(&mut self.input)? {
            match incoming {
                Incoming::Data(piece) => {
                    self.clocks.progress = now;
                    self.machine.receive(piece)?;
                    self.deliver(discarding, now);
                    if self.is_closing() {
                        break;
                    }
                }
                // Only the latest ping needs an answer (RFC 6455, 5.5.3).
                Incoming::Ping(payload) => self.pong = Some(payload),
                Incoming::Pong(payload) => self.confirm(&payload, now),
                Incoming::Close(close) => {
                    (self.observe)(Seen::Close(&close));
                    let code = close.code.unwrap_or(1000);
                    self.say_goodbye(code, ECHO_WAIT, Ending::Closed(close), now);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Hands events to the caller, and acts on what they may mean.
    fn deliver(&mut self, discarding: bool, now: Instant) {
        let mut delivered = false;
        while let Some(event) = self.machine.poll_event() {
            self.flowed = true;
            (self.observe)(Seen::Event(&event));
            let refused = if discarding {
                Err(event)
            } else {
                self.caller.add(event)
            };
            match refused {
                Ok(()) => delivered = true,
                Err(event) => (self.observe)(Seen::Discarded(&event)),
            }
        }
        // The peer's Close is waited for from the last word on, and anew from output that follows it.
        if delivered {
            self.await_close(now);
        }
        if self.machine.is_settled() && !self.is_closing() {
            self.settle(now);
        }
    }

    fn settle(&mut self, now: Instant) {
        if self.machine.takes_leave() {
            self.transmit(now);
            self.say_goodbye(1000, FAREWELL_WAIT, Ending::Abandoned, now);
        } else if matches!(self.phase, Phase::Open) {
            self.phase = Phase::Settled {
                until: now + CLOSE_WAIT,
            };
            // Nothing but Close may follow the last word; whoever writes learns it.
            self.caller.refuse();
        }
    }

    fn await_close(&mut self, now: Instant) {
        if let Phase::Settled { until } = &mut self.phase {
            *until = now + CLOSE_WAIT;
        }
    }

    fn confirm(&mut self, payload: &[u8], now: Instant) {
        let Ok(payload) = payload.try_into() else {
            return;
        };
        let confirmed = u64::from_be_bytes(payload).min(self.clocks.sent);
        if confirmed > self.clocks.confirmed {
            self.clocks.confirmed = confirmed;
            self.clocks.progress = now;
        }
    }

    // Writing

    /// Fills and writes until there is nothing more to say or no room: only then is it certain that
    /// somebody wakes us.
    fn poll_write(&mut self, cx: &mut Context<'_>, now: Instant) {
        loop {
            self.fill_output(cx, now);
            if self.write_failed || !self.poll_drain(cx, now) {
                break;
            }
        }
        self.caller.announce(&self.machine);
    }

    /// Puts frames into the output: first what bypasses data, then data while there is room.
    fn fill_output(&mut self, cx: &mut Context<'_>, now: Instant) {
        if self.is_closing() {
            return;
        }
        let room = self.waiting() < CONTROL_ROOM;
        while let Poll::Ready(Some(command)) = self.caller.poll_urgent(cx, room) {
            self.machine.command(command);
        }
        if room {
            self.ping_when_due(now);
            if let Some(payload) = self.pong.take().filter(|_| !self.write_failed) {
                self.frame(Opcode::Pong, &payload);
            }
            self.transmit(now);
        }
        while self.waiting() < WRITE_SIZE && !self.write_failed {
            let Poll::Ready(Some(command)) = self.caller.poll_command(cx) else {
                break;
            };
            (self.observe)(Seen::Command(&command));
            self.machine.command(command);
            self.transmit(now);
        }
        self.deliver(false, now);
    }

    fn transmit(&mut self, now: Instant) {
        while let Some(Outgoing {
            kind,
            head,
            data,
            carried,
            ..
        }) = self.machine.poll_transmit()
        {
            if self.write_failed {
                continue;
            }
            let mask = self.masks.next();
            websocket::encode(&mut self.output, kind.into(), &[head], &data, mask);
            if carried > 0 {
                if self.clocks.sent == self.clocks.confirmed {
                    self.clocks.vouched = now;
                    self.clocks.progress = now;
                }
                self.clocks.sent += carried as u64;
            }
        }
    }

    /// Writes what is waiting; returns whether there was something and all of it went.
    fn poll_drain(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        while self.written < self.output.len() {
            let rest = &self.output[self.written..];
            match Pin::new(&mut self.io).poll_write(cx, rest) {
                Poll::Ready(Ok(count)) if count > 0 => {
                    self.written += count;
                    self.needs_flush = true;
                    self.clocks.progress = now;
                }
                Poll::Ready(_) => {
                    self.fail_writing();
                    return false;
                }
                Poll::Pending => return false,
            }
        }
        let wrote = !self.output.is_empty();
        self.output.clear();
        self.written = 0;
        if self.needs_flush {
            match Pin::new(&mut self.io).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.needs_flush = false,
                Poll::Ready(Err(_)) => self.fail_writing(),
                Poll::Pending => {}
            }
        }
        wrote
    }

    fn fail_writing(&mut self) {
        self.write_failed = true;
        self.output.clear();
        self.written = 0;
        self.needs_flush = false;
        self.caller.refuse();
    }

    fn waiting(&self) -> usize {
        self.output.len() - self.written
    }

    fn frame(&mut self, opcode: Opcode, payload: &[u8]) {
        let mask = self.masks.next();
        websocket::encode(&mut self.output, opcode, &[], payload, mask);
    }

    fn ping_when_due(&mut self, now: Instant) {
        let open = matches!(self.phase, Phase::Opening { .. } | Phase::Open);
        if open
            && self.pings()
            && !self.clocks.blocked
            && !self.write_failed
            && now >= self.clocks.next_ping
        {
            self.frame(Opcode::Ping, &self.clocks.sent.to_be_bytes());
            self.clocks.next_ping = now + self.ping_interval();
        }
    }

    // Ending

    fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing { .. })
    }

    fn say_goodbye(&mut self, code: u16, wait: Duration, ending: Ending, now: Instant) {
        if !self.write_failed {
            self.frame(Opcode::Close, &code.to_be_bytes());
        }
        self.caller.refuse();
        self.phase = Phase::Closing {
            until: now + wait,
            ending: Some(ending),
        };
    }

    fn poll_closed(&mut self) -> Poll<Ending> {
        let flushed = self.write_failed || (self.output.is_empty() && !self.needs_flush);
        match &mut self.phase {
            Phase::Closing { ending, .. } if flushed => {
                ending.take().map_or(Poll::Pending, Poll::Ready)
            }
            _ => Poll::Pending,
        }
    }
}
