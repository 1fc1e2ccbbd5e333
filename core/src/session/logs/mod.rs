//! A log as a running thing: lines and events in order, and how it ended.
//!
//! - `item`: what comes out
//! - `feed`: one connection's bytes
//! - `merge`: several logs as one, by time
//!
//! Lives here: the handle, its queue. Never here: pods, requests, resuming.

mod feed;
mod item;
mod merge;

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::queue::{self, Weigh};
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::logs::LogProtocol;

pub use feed::{Feed, Finish, READ_SIZE_ALONE, READ_SIZE_SHARED};
pub use item::{LogEnd, LogEvent, LogItem, LogLine, LogReport, LogSource};
pub use merge::{LINE_PATIENCE, Merge};

/// How many bytes of lines wait for the caller; one read of the socket may come on top.
const OUTPUT_LIMIT: usize = 256 * 1024;
/// What is counted for an item beside its own bytes.
const OVERHEAD: usize = 64;

/// Items that go through the queue together.
#[derive(Debug)]
pub struct Batch(pub Vec<LogItem>);

impl Batch {
    /// Returns what one item weighs.
    fn weight_of(item: &LogItem) -> usize {
        match item {
            LogItem::Event(..) => OVERHEAD,
            LogItem::Line(line) => line.data.len() + OVERHEAD,
        }
    }
}

impl Weigh for Batch {
    fn weight(&self) -> usize {
        self.0.iter().map(Self::weight_of).sum()
    }
}

/// What whoever reads tells beside the items.
#[derive(Debug, Default)]
pub struct Facts {
    protocol: Mutex<Option<LogProtocol>>,
    late: AtomicU64,
}

impl Facts {
    /// Tells how the log travels now.
    pub fn travels(&self, protocol: LogProtocol) {
        *self.protocol() = Some(protocol);
    }

    /// Tells how many lines were given out after a later one so far.
    pub fn late(&self, lines: u64) {
        self.late.store(lines, Ordering::Relaxed);
    }

    fn protocol(&self) -> MutexGuard<'_, Option<LogProtocol>> {
        self.protocol.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The log of a container, or several, being read. Dropping it ends the connections.
#[derive(Debug)]
pub struct Logs {
    batches: queue::Receiver<Batch>,
    report: LogReport,
    facts: Arc<Facts>,
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
        work: impl FnOnce(queue::Sender<Batch>, Arc<Facts>) -> BoxFuture<'static, Result<LogEnd>>,
    ) -> Self {
        let (sender, batches) = queue::channel(OUTPUT_LIMIT);
        let (outcome_tx, outcome) = watch::channel(None);
        let facts = Arc::new(Facts::default());
        let working = work(sender, Arc::clone(&facts));
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
            report: LogReport::default(),
            facts,
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
        self.take(batches, batch);
        more
    }

    /// Takes all that is there without waiting; `Some(false)` at the end, `None` when nothing is.
    pub fn try_batch(&mut self, batch: &mut Vec<LogItem>) -> Option<bool> {
        let mut batches = Vec::new();
        let more = self.batches.try_batch(&mut batches);
        self.take(batches, batch);
        more
    }

    /// Returns what was taken so far, in numbers.
    #[must_use]
    pub fn report(&self) -> LogReport {
        LogReport {
            late: self.facts.late.load(Ordering::Relaxed),
            protocol: *self.facts.protocol(),
            ..self.report
        }
    }

    fn take(&mut self, batches: Vec<Batch>, items: &mut Vec<LogItem>) {
        let from = items.len();
        items.extend(batches.into_iter().flat_map(|batch| batch.0));
        let report = &mut self.report;
        for item in items.iter().skip(from) {
            match item {
                LogItem::Line(line) => {
                    report.lines += u64::from(line.begins);
                    report.bytes += line.data.len() as u64;
                }
                LogItem::Event(_, LogEvent::Gap { .. }) => report.gaps += 1,
                LogItem::Event(_, LogEvent::Reconnected { .. }) => report.reconnects += 1,
                LogItem::Event(..) => {}
            }
        }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;

    fn line(text: String) -> LogItem {
        let source = Arc::new(LogSource::default());
        LogItem::Line(LogLine::new(text.into(), None, true, source))
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_reads_holds_up_the_work_and_cancelling_loses_nothing() {
        let pushed = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = Arc::clone(&pushed);
        let mut logs = Logs::start(|output, _| {
            Box::pin(async move {
                for number in 0..100_000 {
                    poll_fn(|cx| output.poll_room(cx)).await;
                    let _ = output.push(Batch(vec![line(format!("{number}\n"))]));
                    counted.store(number, Ordering::SeqCst);
                }
                Ok(LogEnd::Complete)
            })
        });
        sleep(Duration::from_secs(600)).await;
        assert!(pushed.load(Ordering::SeqCst) < 10_000);
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
        assert_eq!(batch.last(), Some(&line("99999\n".to_owned())));
        let report = logs.report();
        assert_eq!((report.lines, report.bytes), (100_000, 588_890));
        assert_eq!(logs.wait().await.unwrap(), LogEnd::Complete);
    }
}
