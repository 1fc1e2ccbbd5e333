//! A log as a running thing: lines and events in order, and how it ended.
//!
//! Lives here: the handle, its queue, one connection's bytes. Never here: pods, requests, resuming.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::driver::{self, Ending, Life};
use super::queue::{self, Weigh};
use super::transport::{Dial, Io};
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::logs::request::LogSubprotocol;
use crate::protocol::machine::log::{Command, Log};
use crate::protocol::request::Limits;

/// How many bytes of lines wait for the caller; one read of the socket may come on top.
const OUTPUT_LIMIT: usize = 256 * 1024;
/// The same between a connection and whoever cuts its bytes into lines.
const CHUNK_LIMIT: usize = 64 * 1024;
/// What is counted for an item beside its own bytes.
const OVERHEAD: usize = 64;

/// A line of a log, or a piece of one.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LogLine {
    /// The bytes as the container wrote them, with their line feed where the line ends here; with
    /// [`timestamps`](crate::LogsOptions::timestamps) the timestamp and a space before them.
    pub data: Bytes,
    /// When the runtime read the line, in nanoseconds since 1970; absent where it is not known.
    pub timestamp: Option<i64>,
    /// Whether the line begins here. Lines over 1 MiB come in pieces.
    pub begins: bool,
}

impl LogLine {
    /// Makes a line.
    #[must_use]
    pub const fn new(data: Bytes, timestamp: Option<i64>, begins: bool) -> Self {
        Self {
            data,
            timestamp,
            begins,
        }
    }
}

/// What happened to a log at this place.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LogEvent {
    /// Lines may be missing here.
    Gap {
        /// False where the place was found, but by too little to be sure of it.
        certain: bool,
        /// Timestamp of the last line before, in nanoseconds since 1970.
        from: Option<i64>,
        /// Timestamp of the next line; absent when none has come yet.
        to: Option<i64>,
    },
    /// The connection was lost, and the log goes on over another one.
    Reconnected {
        /// For how long nothing could come.
        away: Duration,
        /// How the last connection ended.
        why: String,
    },
    /// The pod was replaced by another one: what follows is its log from the beginning.
    Replaced {
        /// Name of the pod now.
        pod: String,
    },
    /// The container was restarted: what follows is a new run from its beginning.
    Restarted {
        /// How often it was restarted since the pod was made.
        count: u32,
        /// How many whole runs in between nobody has seen; a gap was told then.
        unseen: u32,
    },
    /// Nothing can come for the time being.
    Waiting {
        /// What is waited for.
        reason: String,
    },
}

/// What travels in a log, in order.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LogItem {
    /// Something happened.
    Event(LogEvent),
    /// A line, or a piece of one.
    Line(LogLine),
}

/// How a log ended where nothing failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LogEnd {
    /// The container does not run any more, and everything it wrote was shown or told as a gap.
    Ended {
        /// Its exit code, where the pod tells it.
        exit_code: Option<i32>,
    },
    /// All that was asked for was there.
    Complete,
}

/// Items that go through the queue together.
#[derive(Debug)]
pub struct Batch(pub Vec<LogItem>);

impl Weigh for Batch {
    fn weight(&self) -> usize {
        let weight = |item: &LogItem| match item {
            LogItem::Event(_) => OVERHEAD,
            LogItem::Line(line) => line.data.len() + OVERHEAD,
        };
        self.0.iter().map(weight).sum()
    }
}

impl Weigh for Bytes {
    fn weight(&self) -> usize {
        self.len()
    }
}

impl Weigh for Command {
    fn weight(&self) -> usize {
        0
    }
}

/// The log of a container, being read. Dropping it ends the connection.
#[derive(Debug)]
pub struct Logs {
    batches: queue::Receiver<Batch>,
    outcome: watch::Receiver<Option<Result<LogEnd>>>,
    task: AbortHandle,
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Logs {
    /// Starts whoever reads: `work` puts batches into the queue and returns how it ended.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(
        work: impl FnOnce(queue::Sender<Batch>) -> BoxFuture<'static, Result<LogEnd>>,
    ) -> Self {
        let (sender, batches) = queue::channel(OUTPUT_LIMIT);
        let (outcome_tx, outcome) = watch::channel(None);
        let working = work(sender);
        #[expect(
            clippy::disallowed_methods,
            reason = "the handle's drop ends this task"
        )]
        let task = tokio::spawn(async move {
            let end = working.await;
            outcome_tx.send_replace(Some(end));
        })
        .abort_handle();
        Self {
            batches,
            outcome,
            task,
        }
    }

    /// Waits for at least one item and takes all that are there; `false` at the end, of which
    /// [`wait`](Self::wait) tells more. A reader that takes nothing is never cut: it holds up the kubelet.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn next_batch(&mut self, batch: &mut Vec<LogItem>) -> bool {
        poll_fn(|cx| self.poll_batch(cx, batch)).await
    }

    /// The poll form of [`next_batch`](Self::next_batch).
    pub fn poll_batch(&mut self, cx: &mut Context<'_>, batch: &mut Vec<LogItem>) -> Poll<bool> {
        let mut batches = Vec::new();
        let more = self.batches.poll_batch(cx, &mut batches);
        batch.extend(batches.into_iter().flat_map(|batch| batch.0));
        more
    }

    /// Takes all that is there without waiting; `Some(false)` at the end, `None` when nothing is.
    pub fn try_batch(&mut self, batch: &mut Vec<LogItem>) -> Option<bool> {
        let mut batches = Vec::new();
        let more = self.batches.try_batch(&mut batches);
        batch.extend(batches.into_iter().flat_map(|batch| batch.0));
        more
    }

    /// Waits for the end. Read the items first: with none taken the queue fills and no end comes.
    ///
    /// # Errors
    /// `Lost` when the log was cut and is not resumed, or its container's end is not known;
    /// `NotFound`, `Forbidden`, `Invalid`, `NotStarted` … as the server says.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn wait(&self) -> Result<LogEnd> {
        let mut outcome = self.outcome.clone();
        let gone = || Error::new(ErrorKind::Internal, "the task of a log is gone");
        let end = outcome.wait_for(Option::is_some).await;
        let end = end.ok().and_then(|end| end.clone());
        end.unwrap_or_else(|| Err(gone()))
    }
}

/// How a reply ended.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Finish {
    /// Whether the server said goodbye. It does so at the end of a log, and when it goes away.
    pub polite: bool,
    /// In words.
    pub why: String,
}

/// The bytes of one connection. Dropping it ends the connection.
#[derive(Debug)]
pub struct Feed {
    chunks: queue::Receiver<Bytes>,
    driver: JoinSet<Ending>,
    life: Arc<Life>,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.life.end();
    }
}

impl Feed {
    /// Reads an upgraded connection.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn new(
        io: Box<dyn Io>,
        subprotocol: LogSubprotocol,
        limits: Limits,
        dial: Arc<dyn Dial>,
    ) -> Self {
        let (events, chunks) = queue::channel(CHUNK_LIMIT);
        let (_, commands) = queue::channel(1);
        let (_, urgent) = queue::channel(1);
        let life = Arc::new(Life::default());
        let setup = driver::Setup {
            io,
            machine: Log::new(subprotocol),
            limits,
            deadline: None,
            events,
            commands,
            urgent,
            life: Arc::clone(&life),
            dial,
            observe: Box::new(|_| {}),
        };
        let mut driver = JoinSet::new();
        driver.spawn(async move { driver::drive(setup).await.1 });
        Self {
            chunks,
            driver,
            life,
        }
    }

    /// Waits for the next bytes, never empty.
    ///
    /// # Errors
    /// [`Finish`] at the end, once.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn next(&mut self) -> Result<Bytes, Finish> {
        if let Some(chunk) = poll_fn(|cx| self.chunks.poll_next(cx)).await {
            return Ok(chunk);
        }
        let ending = self.driver.join_next().await;
        Err(match ending {
            Some(Ok(ending)) => Finish::of(&ending),
            _ => Finish::new(false, "its task is gone"),
        })
    }
}

impl Finish {
    /// Makes an ending.
    pub fn new(polite: bool, why: impl Into<String>) -> Self {
        let why = why.into();
        Self { polite, why }
    }

    fn of(ending: &Ending) -> Self {
        let why = match ending {
            Ending::Closed(close) => match close.code {
                Some(code) => format!("the server closed the connection (close code {code})"),
                None => "the server closed the connection".to_owned(),
            },
            Ending::Broken(error) => crate::error::words(error),
            Ending::Silent | Ending::NothingFlows => {
                "nothing came from the server, not even an answer to pings (--keepalive-timeout)"
                    .to_owned()
            }
            Ending::Violation(error) => error.to_string(),
            _ => "the connection ended without a goodbye".to_owned(),
        };
        let polite = match ending {
            Ending::Closed(close) => matches!(close.code, None | Some(1000)),
            _ => false,
        };
        Self { polite, why }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::BoxFuture;
    use http::Request;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::protocol::logs::LogsOptions;
    use crate::protocol::subprotocol::Subprotocol;
    use crate::session::transport::Upgraded;

    struct Nobody;

    impl Dial for Nobody {
        fn upgrade(&self, _: Request<()>, _: Vec<Subprotocol>) -> BoxFuture<'_, Result<Upgraded>> {
            Box::pin(std::future::pending())
        }

        fn probe(&self) -> BoxFuture<'_, Result<()>> {
            Box::pin(std::future::pending())
        }
    }

    fn feed() -> (DuplexStream, Feed) {
        let (server, io) = duplex(4096);
        let limits = LogsOptions::default().limits;
        let (io, dial) = (Box::new(io), Arc::new(Nobody));
        (server, Feed::new(io, LogSubprotocol::Binary, limits, dial))
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_peer_is_found_within_sixteen_seconds() {
        let (mut server, mut feed) = feed();
        server.write_all(&[0x82, 0, 0x82, 1, b'a']).await.unwrap();
        assert_eq!(feed.next().await, Ok("a".into()));
        let begin = Instant::now();
        let finish = feed.next().await.unwrap_err();
        assert!(begin.elapsed() <= Duration::from_secs(16));
        assert!(!finish.polite && finish.why.contains("pings"), "{finish:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_log_whose_server_answers_pings_lives_for_days() {
        let (mut server, mut feed) = feed();
        let answer = async {
            server.write_all(&[0x82, 0]).await.unwrap();
            loop {
                let mut head = [0; 6];
                server.read_exact(&mut head).await.unwrap();
                let length = usize::from(head[1] & 0x7f);
                let mut payload = vec![0; length];
                server.read_exact(&mut payload).await.unwrap();
                for (index, byte) in payload.iter_mut().enumerate() {
                    *byte ^= head[2 + index % 4];
                }
                let pong = [&[0x8a, length as u8][..], &payload].concat();
                server.write_all(&pong).await.unwrap();
            }
        };
        tokio::select! {
            () = answer => {}
            end = feed.next() => panic!("{end:?}"),
            () = sleep(Duration::from_secs(48 * 3600)) => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_pauses_for_ten_minutes_loses_nothing() {
        let (mut server, mut feed) = feed();
        let total = 1 << 20;
        let write = async move {
            for _ in 0..total / 64 {
                let frame = [&[0x82, 64][..], &[b'x'; 64]].concat();
                server.write_all(&frame).await.unwrap();
            }
            server.write_all(&[0x88, 2, 0x03, 0xe8]).await.unwrap();
            server
        };
        let read = async {
            sleep(Duration::from_secs(600)).await;
            let mut got = 0;
            loop {
                match feed.next().await {
                    Ok(chunk) => got += chunk.len(),
                    Err(finish) => return (got, finish),
                }
            }
        };
        let (_server, (got, finish)) = tokio::join!(write, read);
        assert_eq!((got, finish.polite), (total, true), "{finish:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_reads_holds_up_the_work_and_cancelling_loses_nothing() {
        let pushed = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = Arc::clone(&pushed);
        let mut logs = Logs::start(|output| {
            Box::pin(async move {
                for number in 0..100_000 {
                    poll_fn(|cx| output.poll_room(cx)).await;
                    let line = LogLine::new(format!("{number}\n").into(), None, true);
                    let _ = output.push(Batch(vec![LogItem::Line(line)]));
                    counted.store(number, std::sync::atomic::Ordering::SeqCst);
                }
                Ok(LogEnd::Complete)
            })
        });
        sleep(Duration::from_secs(600)).await;
        assert!(pushed.load(std::sync::atomic::Ordering::SeqCst) < 10_000);
        let mut batch = Vec::new();
        let mut cancelled = 0;
        loop {
            tokio::select! {
                biased;
                more = logs.next_batch(&mut batch) => if !more { break },
                () = std::future::ready(()) => {
                    cancelled += 1;
                    tokio::task::yield_now().await;
                }
            }
        }
        assert!(cancelled > 0);
        assert_eq!(batch.len(), 100_000);
        let last = LogLine::new("99999\n".into(), None, true);
        assert_eq!(batch.last(), Some(&LogItem::Line(last)));
        assert_eq!(logs.wait().await.unwrap(), LogEnd::Complete);
    }
}
