//! From many queues into one: fairly, or by time.
//!
//! Lives here: whose items go out next. Never here: which logs there are.
//!
//! Each log has a queue of its own, so that a noisy one holds up itself alone; a slow reader holds up
//! all. A line that was given out in part is not torn by another log while its end may come soon.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::Ended;
use super::roll::Key;
use crate::session::logs::{
    Batch, Facts, LINE_PATIENCE, LogEnd, LogEvent, LogItem, LogSource, Merge,
};
use crate::session::queue;

/// How many bytes are held to be sorted.
const SORT_LIMIT: usize = 4 << 20;
/// How many items that were sorted go out together.
const ITEMS: usize = 256;

pub(super) struct Outlet {
    output: queue::Sender<Batch>,
    facts: Arc<Facts>,
    merge: Option<Merge>,
    logs: Vec<Log>,
    next: usize,
    /// The log whose line was given out in part.
    open: Option<(u64, Instant)>,
    /// What goes out before anything else.
    ready: Vec<LogItem>,
    /// Whether the reader has no room.
    blocked: bool,
}

/// A log that is being read.
pub(super) struct Log {
    pub(super) id: u64,
    pub(super) key: Key,
    pub(super) source: Arc<LogSource>,
    pub(super) receiver: queue::Receiver<Batch>,
    pub(super) abort: AbortHandle,
    /// Whether nothing more is in its queue, nor will be.
    drained: bool,
    pub(super) end: Option<Ended>,
    /// Since when its pod is gone and it is silent.
    silent: Option<Instant>,
}

impl Log {
    pub(super) const fn new(
        id: u64,
        key: Key,
        source: Arc<LogSource>,
        receiver: queue::Receiver<Batch>,
        abort: AbortHandle,
    ) -> Self {
        Self {
            id,
            key,
            source,
            receiver,
            abort,
            drained: false,
            end: None,
            silent: None,
        }
    }
}

impl Outlet {
    pub(super) fn new(
        output: queue::Sender<Batch>,
        window: Option<Duration>,
        facts: Arc<Facts>,
    ) -> Self {
        Self {
            output,
            facts,
            merge: window.map(|window| Merge::new(window, SORT_LIMIT)),
            logs: Vec::new(),
            next: 0,
            open: None,
            ready: Vec::new(),
            blocked: false,
        }
    }

    /// Returns how many logs are being read.
    pub(super) const fn logs(&self) -> usize {
        self.logs.len()
    }

    /// Tells whether the reader had no room when items were to be moved last.
    pub(super) const fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Takes a log that joins.
    pub(super) fn join(&mut self, log: Log) {
        if let Some(merge) = &mut self.merge {
            merge.join(log.id);
        }
        self.logs.push(log);
    }

    /// Tells what happened to a log that is being read, after what was shown of it.
    pub(super) fn say(&mut self, id: u64, source: &Arc<LogSource>, event: LogEvent) {
        let item = LogItem::Event(Arc::clone(source), event);
        match &mut self.merge {
            Some(merge) => merge.push(id, item, Instant::now()),
            None => self.ready.push(item),
        }
    }

    /// Tells what happened to a log that is not being read.
    pub(super) fn tell(&mut self, source: Arc<LogSource>, event: LogEvent) {
        self.ready.push(LogItem::Event(source, event));
    }

    /// Takes that the task of a log has ended.
    pub(super) fn ended(&mut self, id: u64, end: Ended) {
        if let Some(log) = self.logs.iter_mut().find(|log| log.id == id) {
            log.end = Some(end);
        }
    }

    /// Takes which logs have no pod any more.
    pub(super) fn without_pod(&mut self, gone: impl Fn(&Key) -> bool) {
        for log in self.logs.iter_mut().filter(|log| gone(&log.key)) {
            log.silent.get_or_insert_with(Instant::now);
        }
    }

    /// Ends the logs that have no pod and were silent for so long; returns them.
    pub(super) fn end_silent(&mut self, grace: Duration) -> Vec<(u64, Arc<LogSource>)> {
        let now = Instant::now();
        let mut ended = Vec::new();
        for log in &mut self.logs {
            let silent = log.silent.is_some_and(|since| since + grace <= now);
            if silent && log.end.is_none() && log.receiver.is_empty() {
                log.abort.abort();
                log.end = Some((Ok(LogEnd::Ended { exit_code: None }), None));
                ended.push((log.id, Arc::clone(&log.source)));
            }
        }
        ended
    }

    /// Returns when a log is to be ended that has no pod.
    pub(super) fn silence(&self, grace: Duration) -> Option<Instant> {
        let running = self
            .logs
            .iter()
            .filter(|log| log.end.is_none() && log.receiver.is_empty());
        running
            .filter_map(|log| log.silent)
            .min()
            .map(|since| since + grace)
    }

    /// Returns the next log that has ended and of which all was given out, or is to be.
    pub(super) fn take_ended(&mut self) -> Option<Log> {
        let at = self
            .logs
            .iter()
            .position(|log| log.drained && log.end.is_some())?;
        Some(self.logs.remove(at))
    }

    /// Takes that nothing more will be said of a log.
    pub(super) fn leave(&mut self, id: u64) {
        if let Some(merge) = &mut self.merge {
            merge.leave(id);
        }
    }

    /// Returns when something may go out although nothing comes.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.blocked {
            return None;
        }
        match &self.merge {
            Some(merge) => merge.deadline(),
            None => self.open.map(|(_, since)| since + LINE_PATIENCE),
        }
    }

    /// Moves items on, some at a time; ready with false when nobody takes them any more.
    pub(super) fn poll_move(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.blocked = true;
        if !ready!(self.output.poll_room(cx)) {
            return Poll::Ready(false);
        }
        self.blocked = false;
        if self.put() {
            return Poll::Ready(true);
        }
        match self.merge.is_some() {
            true => self.poll_sorted(cx),
            false => self.poll_fair(cx),
        }
    }

    /// Puts out what is ready.
    fn put(&mut self) -> bool {
        let some = !self.ready.is_empty();
        if some {
            // A reader that is gone is noticed where room is waited for.
            let _ = self.output.push(Batch(std::mem::take(&mut self.ready)));
        }
        some
    }

    fn poll_fair(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let now = Instant::now();
        if let Some((id, since)) = self.open {
            let at = self
                .logs
                .iter()
                .position(|log| log.id == id && !log.drained);
            match at.map(|at| self.poll_log(at, now, cx)) {
                Some(Poll::Pending) if now < since + LINE_PATIENCE => return Poll::Pending,
                Some(Poll::Ready(())) => return Poll::Ready(true),
                _ => self.open = None,
            }
        }
        for turn in 0..self.logs.len() {
            let at = (self.next + turn) % self.logs.len();
            if self.poll_log(at, now, cx).is_ready() {
                self.next = at + 1;
                return Poll::Ready(true);
            }
        }
        Poll::Pending
    }

    /// Moves the next batch of a log on, or notices its end.
    fn poll_log(&mut self, at: usize, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let Some(log) = self.logs.get_mut(at).filter(|log| !log.drained) else {
            return Poll::Pending;
        };
        let batch = ready!(log.receiver.poll_next(cx));
        log.drained = batch.is_none();
        log.silent = log.silent.map(|_| now);
        let Some(batch) = batch else {
            return Poll::Ready(());
        };
        match &mut self.merge {
            Some(merge) => {
                for item in batch.0 {
                    merge.push(log.id, item, now);
                }
            }
            None => {
                let lines = batch.0.iter().rev();
                let last = lines.into_iter().find_map(|item| match item {
                    LogItem::Line(line) => Some(line.data.ends_with(b"\n")),
                    LogItem::Event(..) => None,
                });
                match last {
                    Some(true) => self.open = None,
                    Some(false) => self.open = Some((log.id, now)),
                    None => {}
                }
                let _ = self.output.push(batch);
            }
        }
        Poll::Ready(())
    }

    fn poll_sorted(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let now = Instant::now();
        let mut moved = false;
        for at in 0..self.logs.len() {
            let full = self.merge.as_ref().is_some_and(Merge::is_full);
            moved |= !full && self.poll_log(at, now, cx).is_ready();
        }
        if let Some(merge) = &mut self.merge {
            let sorted = std::iter::from_fn(|| merge.pop(now)).take(ITEMS);
            self.ready.extend(sorted);
            self.facts.late(merge.late());
        }
        match self.put() || moved {
            true => Poll::Ready(true),
            false => Poll::Pending,
        }
    }

    /// Gives out all that has come so far; false when nobody takes it any more.
    pub(super) async fn finish(mut self) -> bool {
        let now = Instant::now();
        for log in &self.logs {
            let mut batches = Vec::new();
            log.receiver.try_batch(&mut batches);
            let items = batches.into_iter().flat_map(|batch| batch.0);
            match &mut self.merge {
                Some(merge) => items.for_each(|item| merge.push(log.id, item, now)),
                None => self.ready.extend(items),
            }
        }
        if let Some(merge) = &mut self.merge {
            self.ready.extend(std::iter::from_fn(|| merge.pop_any(now)));
            self.facts.late(merge.late());
        }
        let items = std::mem::take(&mut self.ready);
        let mut items = items.into_iter().peekable();
        while items.peek().is_some() {
            if !poll_fn(|cx| self.output.poll_room(cx)).await {
                return false;
            }
            self.ready.extend(items.by_ref().take(ITEMS));
            self.put();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;
    use tokio::time::advance;

    use super::*;
    use crate::session::logs::LogLine;

    /// An outlet with logs of these numbers, their queues, and what comes out.
    struct Rig {
        outlet: Outlet,
        logs: Vec<queue::Sender<Batch>>,
        out: queue::Receiver<Batch>,
        _tasks: JoinSet<()>,
    }

    fn rig(count: u64, limit: usize) -> Rig {
        let (output, out) = queue::channel(limit);
        let mut outlet = Outlet::new(output, None, Arc::default());
        let (mut logs, mut tasks) = (Vec::new(), JoinSet::new());
        for id in 0..count {
            let (log_tx, log_rx) = queue::channel(1 << 20);
            let key = Key {
                uid: id.to_string(),
                container: String::new(),
            };
            let abort = tasks.spawn(std::future::pending());
            outlet.join(Log::new(id, key, Arc::default(), log_rx, abort));
            logs.push(log_tx);
        }
        Rig {
            outlet,
            logs,
            out,
            _tasks: tasks,
        }
    }

    impl Rig {
        fn say(&self, log: usize, text: &str) {
            let line = LogLine::new(text.to_owned().into(), None, true, Arc::default());
            self.logs[log]
                .push(Batch(vec![LogItem::Line(line)]))
                .unwrap();
        }

        /// Moves as much as may be moved now; returns what came out.
        async fn moved(&mut self) -> String {
            let outlet = &mut self.outlet;
            poll_fn(|cx| {
                while outlet.poll_move(cx).is_ready() {}
                Poll::Ready(())
            })
            .await;
            let mut batches = Vec::new();
            let _ = self.out.try_batch(&mut batches);
            let items = batches.into_iter().flat_map(|batch| batch.0);
            items
                .map(|item| match item {
                    LogItem::Line(line) => String::from_utf8(line.data.to_vec()).unwrap(),
                    LogItem::Event(_, event) => format!("{event:?} "),
                })
                .collect()
        }
    }

    #[tokio::test]
    async fn logs_take_turns_and_a_full_reader_holds_up_all() {
        let mut rig = rig(2, 400);
        (0..10).for_each(|_| rig.say(0, "noise\n"));
        rig.say(1, "quiet\n");
        // Three batches fill the queue.
        assert_eq!(rig.moved().await, "noise\nquiet\nnoise\n");
        assert!(rig.outlet.is_blocked());
        assert_eq!(rig.moved().await, "noise\n".repeat(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_in_pieces_is_not_torn_while_its_end_may_come_soon() {
        let mut rig = rig(2, 1 << 20);
        rig.say(0, "begin ");
        rig.say(1, "other\n");
        assert_eq!(rig.moved().await, "begin ");
        rig.say(0, "end\n");
        rig.say(0, "open ");
        assert_eq!(rig.moved().await, "end\nother\nopen ");
        rig.say(1, "later\n");
        assert_eq!(rig.moved().await, "");
        assert!(rig.outlet.deadline().is_some());
        advance(LINE_PATIENCE).await;
        assert_eq!(
            (rig.moved().await, rig.outlet.deadline()),
            ("later\n".to_owned(), None)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_without_pod_ends_when_it_was_silent_for_the_grace() {
        let grace = Duration::from_secs(10);
        let mut rig = rig(2, 1 << 20);
        rig.outlet.without_pod(|key| key.uid == "0");
        advance(grace / 2).await;
        rig.say(0, "still here\n");
        assert_eq!(rig.moved().await, "still here\n");
        advance(grace / 2).await;
        assert_eq!(rig.outlet.end_silent(grace), []);
        let due = rig.outlet.silence(grace).unwrap();
        advance(due - Instant::now()).await;
        let ended = rig.outlet.end_silent(grace);
        assert_eq!(ended.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [0]);
        assert_eq!(rig.outlet.silence(grace), None);
    }
}
