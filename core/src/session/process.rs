//! exec and attach as a running thing: output in order, input, sizes, and how it ended.
//!
//! Lives here: handles, counters, what an ending means. Never here: raw mode, pods, channel numbers.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::driver::{self, Ending, Life, Observer, Seen};
use super::outcome;
use super::queue::{self, Weigh};
use super::transport::{Dial, Upgraded};
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::machine::process::{self as machine, Command, Event};
pub use crate::protocol::machine::process::{Stream, Streams};
use crate::protocol::request::{Limits, Size};
use crate::protocol::status::{Confidence, ExitStatus};
use crate::protocol::subprotocol::Subprotocol;
use crate::protocol::websocket::CloseFrame;

/// Output of the remote command, as it arrived.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Chunk {
    /// Which output.
    pub stream: Stream,
    /// The bytes; never empty.
    pub data: Bytes,
}

/// What a session has moved so far, and what it knows of its connection.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// What was agreed with the server.
    pub protocol: Subprotocol,
    /// Bytes of input that were taken.
    pub stdin: u64,
    /// Bytes of output that were received.
    pub stdout: u64,
    /// Bytes of error output that were received.
    pub stderr: u64,
    /// Bytes of both that were received when nobody was left to take them.
    pub discarded: u64,
    /// Bytes that came for streams nobody asked for.
    pub unasked: u64,
    /// How long ago the last output came.
    pub last_data: Option<Duration>,
    /// Code of the server's Close frame.
    pub close_code: Option<u16>,
    /// Its reason. Foreign text: escape it before a person sees it.
    pub close_reason: Option<String>,
}

/// What a session is made of.
#[non_exhaustive]
pub struct Setup {
    /// What was agreed with the server.
    pub subprotocol: Subprotocol,
    /// Which streams were asked for.
    pub streams: Streams,
    /// First size of the terminal.
    pub size: Option<Size>,
    /// Time limits.
    pub limits: Limits,
    /// When the caller's patience ends.
    pub deadline: Option<Instant>,
    /// For a second opinion on a silent server.
    pub dial: Arc<dyn Dial>,
    /// Looks into a success: one that the protocol may report by mistake, or that says only that the
    /// stream ended. Not polled before.
    pub confirm: Option<BoxFuture<'static, Result<ExitStatus>>>,
}

impl Setup {
    /// Names what every session has; the rest has defaults.
    pub fn new(subprotocol: Subprotocol, streams: Streams, dial: Arc<dyn Dial>) -> Self {
        Self {
            subprotocol,
            streams,
            size: None,
            limits: Limits::default(),
            deadline: None,
            dial,
            confirm: None,
        }
    }
}

/// A running remote process. Dropping it closes the session; the remote process may live on.
#[derive(Debug)]
pub struct Process {
    output: Output,
    stdin: Option<Stdin>,
    exit: Exit,
    terminal: bool,
}

/// The output side of a [`Process`].
#[derive(Debug)]
pub struct Output {
    events: queue::Receiver<Event>,
    tally: Arc<Tally>,
}

/// The input side of a [`Process`]. Dropping it ends the input.
#[derive(Debug)]
pub struct Stdin {
    commands: queue::Sender<Command>,
}

/// The ending of a [`Process`], and what bypasses its data. When the last clone is dropped the
/// session is closed.
#[derive(Clone, Debug)]
pub struct Exit {
    shared: Arc<Shared>,
    outcome: watch::Receiver<Option<Result<ExitStatus>>>,
}

#[derive(Debug)]
struct Shared {
    life: Arc<Life>,
    urgent: queue::Sender<Command>,
    tally: Arc<Tally>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.life.end();
    }
}

/// How many bytes of output wait for the caller; one read of the socket may come on top.
const OUTPUT_LIMIT: usize = 1024 * 1024;
/// How many bytes of input wait for the socket.
const INPUT_LIMIT: usize = 64 * 1024;
/// The largest piece of input in one message: kubectl's size, and what every server takes.
const INPUT_PIECE: usize = 32 * 1024;

impl Process {
    /// Starts a session on an upgraded connection.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn start(upgraded: Upgraded, setup: Setup) -> Self {
        let (event_tx, event_rx) = queue::channel(OUTPUT_LIMIT);
        let (command_tx, command_rx) = queue::channel(INPUT_LIMIT);
        let (urgent_tx, urgent_rx) = queue::channel(1);
        let (outcome_tx, outcome_rx) = watch::channel(None);
        let life = Arc::new(Life::default());
        let tally = Arc::new(Tally::new(setup.subprotocol));
        let machine = machine::Process::new(setup.subprotocol, setup.streams, setup.size);
        let driver = driver::Setup {
            io: upgraded.io,
            machine,
            caller: driver::Queues {
                events: event_tx,
                commands: Some(command_rx),
                urgent: urgent_rx,
            },
            limits: setup.limits,
            deadline: setup.deadline,
            life: Arc::clone(&life),
            dial: setup.dial,
            observe: tally.observer(),
            read_size: driver::READ_SIZE,
        };
        let limits = setup.limits;
        let confirm = setup.confirm.map(|confirm| within(setup.deadline, confirm));
        let counted = Arc::clone(&tally);
        let output = Output {
            events: event_rx,
            tally: Arc::clone(&tally),
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "the handle's drop ends this task"
        )]
        tokio::spawn(async move {
            let (machine, queues, ending) = driver::drive(driver).await;
            drop(queues);
            let unasked = machine.dropped();
            counted.unasked.store(unasked, Ordering::Relaxed);
            if unasked > 0 {
                tracing::warn!(
                    bytes = unasked,
                    "dropped what came for streams nobody asked for"
                );
            }
            let outcome = conclude(&machine, &ending, setup.subprotocol, &limits, confirm).await;
            outcome_tx.send_replace(Some(outcome));
        });
        let shared = Arc::new(Shared {
            life,
            urgent: urgent_tx,
            tally,
        });
        Self {
            output,
            terminal: setup.streams.tty,
            stdin: setup.streams.stdin.then_some(Stdin {
                commands: command_tx,
            }),
            exit: Exit {
                shared,
                outcome: outcome_rx,
            },
        }
    }

    /// Waits for the next piece of output, of both streams in the order of arrival.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn next(&mut self) -> Option<Chunk> {
        self.output.next().await
    }

    /// Takes the input side; `None` when input was not asked for or was taken before.
    pub fn stdin(&mut self) -> Option<Stdin> {
        self.stdin.take()
    }

    /// Tells whether the remote process has a terminal.
    #[must_use]
    pub fn has_terminal(&self) -> bool {
        self.terminal
    }

    /// Says the terminal's new size; of several that wait only the last is sent.
    pub fn resize(&self, size: Size) {
        self.exit.resize(size);
    }

    /// Returns what was moved so far.
    #[must_use]
    pub fn report(&self) -> Report {
        self.exit.report()
    }

    /// Parts output, input and ending, for tasks of their own.
    #[must_use]
    pub fn split(self) -> (Output, Option<Stdin>, Exit) {
        (self.output, self.stdin, self.exit)
    }

    /// Waits for the exit status. Output nobody took meanwhile is discarded, and counted in the
    /// [`Report`].
    ///
    /// # Errors
    /// `Lost` or `Protocol` when no status came: the outcome is not known. `NotStarted` when the
    /// runtime refused the command, `Timeout`, `Closed`.
    ///
    /// # Cancel safety
    /// The output that was discarded is gone; the status is not.
    pub async fn wait(self) -> Result<ExitStatus> {
        let Self {
            output,
            stdin,
            exit,
            ..
        } = self;
        drop((output, stdin));
        exit.wait().await
    }

    /// Sends all input, takes all output, and waits for the exit status. At most `limit` bytes of
    /// stdout and stderr together are kept: more close the session, with a status of kind `Closed`.
    ///
    /// # Cancel safety
    /// Dropping the future closes the session; the output so far is gone.
    pub async fn communicate(self, input: Bytes, limit: Option<usize>) -> Completed {
        let (mut stdout, mut stderr) = (BytesMut::new(), BytesMut::new());
        let keep = |stream, data: &[u8]| match stream {
            Stream::Stdout => stdout.extend_from_slice(data),
            Stream::Stderr => stderr.extend_from_slice(data),
        };
        let (status, report) = self.communicate_into(input, limit, keep).await;
        Completed {
            status,
            stdout: stdout.freeze(),
            stderr: stderr.freeze(),
            report,
        }
    }

    /// Does what [`communicate`](Self::communicate) does, and hands the output to `keep` as it comes.
    ///
    /// # Cancel safety
    /// Dropping the future closes the session.
    pub async fn communicate_into(
        self,
        input: Bytes,
        limit: Option<usize>,
        mut keep: impl FnMut(Stream, &[u8]),
    ) -> (Result<ExitStatus>, Report) {
        let (mut output, stdin, exit) = self.split();
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A command may end without reading all of its input; its status tells.
                let _ = stdin.write(input).await;
            }
        };
        let drain = async {
            let mut room = limit.unwrap_or(usize::MAX);
            while let Some(chunk) = output.next().await {
                let kept = chunk.data.len().min(room);
                room -= kept;
                keep(chunk.stream, &chunk.data[..kept]);
                if kept < chunk.data.len() {
                    exit.close();
                    return limit;
                }
            }
            None
        };
        let ((), exceeded) = futures_util::future::join(feed, drain).await;
        let status = match exceeded {
            Some(limit) => Err(Error::new(
                ErrorKind::Closed,
                format!("the command wrote more than the {limit} bytes that were wanted"),
            )
            .because("the session was closed; the remote process may live on")),
            None => exit.wait().await,
        };
        (status, exit.report())
    }

    /// Ends the session and waits until the connection is gone.
    ///
    /// There is no way to stop the remote process from here: it sees the end of its input.
    pub async fn close(self) {
        self.exit.close();
        // Whatever the outcome: the caller did not want it.
        let _ = self.wait().await;
    }
}

/// A process that has ended, with all it said.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Completed {
    /// How it ended.
    ///
    /// # Errors
    /// As [`Process::wait`], and `Closed` when there was more output than wanted.
    pub status: Result<ExitStatus>,
    /// Its output: all of it, unless `status` is an error.
    pub stdout: Bytes,
    /// Its error output: all of it, unless `status` is an error.
    pub stderr: Bytes,
    /// What was moved.
    pub report: Report,
}

impl Output {
    /// Waits for the next piece of output.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn next(&mut self) -> Option<Chunk> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Waits for at least one piece and takes all that are there; `false` at the end.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn next_batch(&mut self, batch: &mut Vec<Chunk>) -> bool {
        poll_fn(|cx| self.poll_batch(cx, batch)).await
    }

    /// Takes all that is there without waiting; `Some(false)` at the end, `None` when nothing is.
    pub fn try_batch(&mut self, batch: &mut Vec<Chunk>) -> Option<bool> {
        let mut events = Vec::new();
        let more = self.events.try_batch(&mut events);
        batch.extend(events.into_iter().map(Chunk::from));
        more
    }

    /// The poll form of [`next_batch`](Self::next_batch).
    pub fn poll_batch(&mut self, cx: &mut Context<'_>, batch: &mut Vec<Chunk>) -> Poll<bool> {
        let mut events = Vec::new();
        let more = self.events.poll_batch(cx, &mut events);
        batch.extend(events.into_iter().map(Chunk::from));
        more
    }

    /// Counts what a reader of this output dropped.
    pub(super) fn count_discarded(&self, bytes: usize) {
        self.tally
            .discarded
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The poll form of [`next`](Self::next).
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Chunk>> {
        self.events
            .poll_next(cx)
            .map(|event| event.map(Chunk::from))
    }
}

#[cfg(test)]
impl Output {
    pub(super) fn for_tests() -> (queue::Sender<Event>, Self) {
        let (sender, events) = queue::channel(OUTPUT_LIMIT);
        let tally = Arc::new(Tally::new(Subprotocol::V5));
        (sender, Self { events, tally })
    }

    pub(super) fn report(&self) -> Report {
        self.tally.report()
    }
}

impl From<Event> for Chunk {
    fn from(event: Event) -> Self {
        let Event::Output { stream, data } = event;
        Self { stream, data }
    }
}

impl Stdin {
    /// Hands over bytes of input, and waits while too many wait to be sent.
    ///
    /// # Errors
    /// `Closed` when the remote side takes no more: the command has ended, or the connection.
    /// [`Exit::wait`] tells which.
    ///
    /// # Cancel safety
    /// How much was handed over is not known; the session goes on.
    pub async fn write(&mut self, mut data: Bytes) -> Result<()> {
        while !data.is_empty() {
            let room = poll_fn(|cx| self.commands.poll_room(cx)).await;
            let piece = data.split_to(data.len().min(INPUT_PIECE));
            if !room || self.commands.push(Command::Stdin(piece)).is_err() {
                return Err(takes_no_more());
            }
        }
        Ok(())
    }

    /// Hands over all of `data` at once, whatever the room; tells whether there is room for more. The
    /// caller bounds what waits: [`poll_drained`](Self::poll_drained), [`waiting`](Self::waiting).
    ///
    /// # Errors
    /// `Closed` when the remote side takes no more.
    pub fn try_write(&self, mut data: Bytes) -> Result<bool> {
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(INPUT_PIECE));
            if self.commands.push(Command::Stdin(piece)).is_err() {
                return Err(takes_no_more());
            }
        }
        Ok(self.commands.used() < INPUT_LIMIT)
    }

    /// Returns about how many bytes wait to be sent.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.commands.used()
    }

    /// Waits until there is room for more. Only the last one who waits is woken.
    ///
    /// # Errors
    /// `Closed` when the remote side takes no more.
    pub fn poll_drained(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.commands
            .poll_room(cx)
            .map(|room| if room { Ok(()) } else { Err(takes_no_more()) })
    }

    /// Ends the input: the command sees end of file. `v4` and older cannot say it, and a terminal
    /// gets Ctrl-D instead. Dropping does the same.
    pub fn end(self) {
        drop(self);
    }

    /// Waits until the remote side takes no more input.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn closed(&self) {
        poll_fn(|cx| self.commands.poll_closed(cx)).await;
    }
}

fn takes_no_more() -> Error {
    Error::new(ErrorKind::Closed, "the remote side takes no more input")
}

impl Drop for Stdin {
    fn drop(&mut self) {
        // Refused when the session is over: then there is nothing to end.
        let _ = self.commands.push(Command::StdinEnd);
    }
}

impl Exit {
    /// Waits for the exit status; may be asked again. Somebody has to take the output meanwhile,
    /// or drop the [`Output`].
    ///
    /// # Errors
    /// As [`Process::wait`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn wait(&self) -> Result<ExitStatus> {
        let mut outcome = self.outcome.clone();
        let known = outcome.wait_for(Option::is_some).await;
        known
            .ok()
            .and_then(|known| known.clone())
            .unwrap_or_else(|| {
                Err(Error::new(
                    ErrorKind::Closed,
                    "the session's task was ended with its runtime",
                ))
            })
    }

    /// Returns the exit status, where it is known already.
    ///
    /// # Errors
    /// As [`Process::wait`].
    #[must_use]
    pub fn try_wait(&self) -> Option<Result<ExitStatus>> {
        self.outcome.borrow().clone()
    }

    /// Says the terminal's new size; of several that wait only the last is sent.
    pub fn resize(&self, size: Size) {
        // Refused when the session is over: then no size matters.
        let _ = self.shared.urgent.replace(Command::Resize(size));
    }

    /// Ends the session. The outcome follows at once, as an error unless it was known.
    pub fn close(&self) {
        self.shared.life.end();
    }

    /// Returns what was moved so far.
    #[must_use]
    pub fn report(&self) -> Report {
        self.shared.tally.report()
    }
}

impl Weigh for Event {
    fn weight(&self) -> usize {
        let Self::Output { data, .. } = self;
        data.len()
    }
}

impl Weigh for Command {
    fn weight(&self) -> usize {
        match self {
            Self::Stdin(data) => data.len(),
            Self::Resize(_) | Self::StdinEnd => 0,
        }
    }
}

/// Counters that the driver writes and every handle reads.
#[derive(Debug)]
struct Tally {
    protocol: Subprotocol,
    stdin: AtomicU64,
    stdout: AtomicU64,
    stderr: AtomicU64,
    discarded: AtomicU64,
    unasked: AtomicU64,
    last_data: Mutex<Option<Instant>>,
    close: Mutex<Option<CloseFrame>>,
}

impl Tally {
    fn new(protocol: Subprotocol) -> Self {
        Self {
            protocol,
            stdin: AtomicU64::new(0),
            stdout: AtomicU64::new(0),
            stderr: AtomicU64::new(0),
            discarded: AtomicU64::new(0),
            unasked: AtomicU64::new(0),
            last_data: Mutex::new(None),
            close: Mutex::new(None),
        }
    }

    fn observer(self: &Arc<Self>) -> Observer<machine::Process> {
        let tally = Arc::clone(self);
        let add = |counter: &AtomicU64, data: &Bytes| {
            counter.fetch_add(data.len() as u64, Ordering::Relaxed);
        };
        Box::new(move |seen| match seen {
            Seen::Event(Event::Output { stream, data }) => {
                add(
                    if *stream == Stream::Stdout {
                        &tally.stdout
                    } else {
                        &tally.stderr
                    },
                    data,
                );
                *lock(&tally.last_data) = Some(Instant::now());
            }
            Seen::Discarded(Event::Output { data, .. }) => add(&tally.discarded, data),
            Seen::Command(Command::Stdin(data)) => add(&tally.stdin, data),
            Seen::Command(_) => {}
            Seen::Close(close) => *lock(&tally.close) = Some(close.clone()),
        })
    }

    fn report(&self) -> Report {
        let close = lock(&self.close).clone();
        Report {
            protocol: self.protocol,
            stdin: self.stdin.load(Ordering::Relaxed),
            stdout: self.stdout.load(Ordering::Relaxed),
            stderr: self.stderr.load(Ordering::Relaxed),
            discarded: self.discarded.load(Ordering::Relaxed),
            unasked: self.unasked.load(Ordering::Relaxed),
            last_data: lock(&self.last_data).map(|instant| instant.elapsed()),
            close_code: close.as_ref().and_then(|close| close.code),
            close_reason: close
                .map(|close| close.reason)
                .filter(|reason| !reason.is_empty()),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // No code panics while it holds one of these.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn conclude(
    machine: &machine::Process,
    ending: &Ending,
    subprotocol: Subprotocol,
    limits: &Limits,
    confirm: Option<impl Future<Output = Result<ExitStatus>>>,
) -> Result<ExitStatus> {
    let status = outcome::read(
        machine.verdict(),
        machine.has_late_output(),
        ending,
        subprotocol,
        limits,
    )?;
    match confirm {
        Some(confirm) if status.success() => confirm.await,
        None if status.success() && subprotocol.success_needs_proof() => Ok(ExitStatus {
            confidence: Confidence::Unchecked,
            ..status
        }),
        _ => Ok(status),
    }
}

/// Ends a look into a success when the caller's patience ends.
async fn within(
    deadline: Option<Instant>,
    confirm: BoxFuture<'static, Result<ExitStatus>>,
) -> Result<ExitStatus> {
    let Some(deadline) = deadline else {
        return confirm.await;
    };
    timeout_at(deadline, confirm).await.unwrap_or_else(|_| {
        Err(Error::new(
            ErrorKind::Timeout,
            "the time limit passed before a success was confirmed (--timeout); outcome unknown",
        )
        .because("what was reported is not proof enough, so the pod is looked at afterwards"))
    })
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;
