//! Several logs as one, in the order of their times.
//!
//! Lives here: what is given out next, and when. Never here: where lines come from, waiting.
//!
//! The order of each log is kept as it is. Among the first lines of all logs the earliest goes out as
//! soon as every log that goes on has shown something as late, or once it was held for the window. A
//! line that comes later than that is out of order, and counted.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::{Batch, LogItem};

/// How long the end of a line is waited for that was given out in part, before another log goes on.
pub const LINE_PATIENCE: Duration = Duration::from_millis(500);

/// Lines of several logs that wait for earlier ones.
#[derive(Debug)]
pub struct Merge {
    window: Duration,
    limit: usize,
    used: usize,
    logs: BTreeMap<u64, Log>,
    /// The latest time that was given out.
    newest: i64,
    late: u64,
    /// The log whose line was given out in part, and since when its end is waited for.
    open: Option<(u64, Instant)>,
}

#[derive(Debug)]
struct Log {
    held: VecDeque<Held>,
    /// The latest time that it has shown.
    latest: i64,
    /// The time of its last item.
    last: i64,
    /// Whether more may come.
    lives: bool,
}

#[derive(Debug)]
struct Held {
    item: LogItem,
    time: i64,
    since: Instant,
}

impl Merge {
    /// Holds lines for the window at most, and no more than about so many bytes.
    #[must_use]
    pub const fn new(window: Duration, limit: usize) -> Self {
        Self {
            window,
            limit,
            used: 0,
            logs: BTreeMap::new(),
            newest: i64::MIN,
            late: 0,
            open: None,
        }
    }

    /// Takes that a log joins: lines of the others may have to wait for its.
    pub fn join(&mut self, log: u64) {
        let new = Log {
            held: VecDeque::new(),
            latest: i64::MIN,
            last: i64::MIN,
            lives: true,
        };
        self.logs.insert(log, new);
    }

    /// Takes that no more will come of a log.
    pub fn leave(&mut self, log: u64) {
        if let Some(log) = self.logs.get_mut(&log) {
            log.lives = false;
        }
        self.forget(log);
    }

    /// Takes the next item of a log that has joined. An event has the time of the item before it.
    pub fn push(&mut self, log: u64, item: LogItem, now: Instant) {
        let Some(log) = self.logs.get_mut(&log) else {
            return;
        };
        if let LogItem::Line(line) = &item {
            log.last = line.timestamp.unwrap_or(log.last);
            log.latest = log.latest.max(log.last);
        }
        self.used += Batch::weight_of(&item);
        log.held.push_back(Held {
            item,
            time: log.last,
            since: now,
        });
    }

    /// Tells whether no more should be pushed before something was given out.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.used >= self.limit
    }

    /// Returns how many lines were given out after a later one.
    #[must_use]
    pub const fn late(&self) -> u64 {
        self.late
    }

    /// Returns the next item, where one may go out now.
    pub fn pop(&mut self, now: Instant) -> Option<LogItem> {
        if let Some((log, since)) = self.open {
            let waits = self.logs.get(&log).is_some_and(|log| {
                !log.held.is_empty() || (log.lives && now < since + LINE_PATIENCE)
            });
            if waits && !self.is_full() {
                return self.take(log, now);
            }
            self.open = None;
        }
        let (id, held) = self.first()?;
        let time = held.time;
        let due = self.is_full() || self.due().is_some_and(|due| due <= now);
        let shown =
            |(_, log): (&u64, &Log)| !log.lives || !log.held.is_empty() || log.latest >= time;
        if due || self.logs.iter().all(shown) {
            return self.take(id, now);
        }
        None
    }

    /// Returns the next item although earlier ones may come: when no more are waited for.
    pub fn pop_any(&mut self, now: Instant) -> Option<LogItem> {
        let open = self.open.take().map(|(id, _)| id);
        let open = open.filter(|id| self.logs.get(id).is_some_and(|log| !log.held.is_empty()));
        let id = open.or_else(|| Some(self.first()?.0))?;
        self.take(id, now)
    }

    /// Returns when something may go out although nothing comes.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if let Some((_, since)) = self.open {
            return Some(since + LINE_PATIENCE);
        }
        self.due()
    }

    /// Returns when a first item will have been held for the window. All that are earlier go with it.
    fn due(&self) -> Option<Instant> {
        let firsts = self.logs.values().filter_map(|log| log.held.front());
        let since = firsts.map(|held| held.since).min();
        since.map(|since| since + self.window)
    }

    /// Returns the earliest of the first items.
    fn first(&self) -> Option<(u64, &Held)> {
        let firsts = self.logs.iter();
        firsts
            .filter_map(|(id, log)| Some((*id, log.held.front()?)))
            .min_by_key(|(_, held)| held.time)
    }

    fn take(&mut self, id: u64, now: Instant) -> Option<LogItem> {
        let held = self.logs.get_mut(&id)?.held.pop_front()?;
        self.used -= Batch::weight_of(&held.item);
        if let LogItem::Line(line) = &held.item {
            if line.begins && held.time < self.newest {
                self.late += 1;
            }
            self.newest = self.newest.max(held.time);
            self.open = (!line.data.ends_with(b"\n")).then_some((id, now));
        }
        self.forget(id);
        Some(held.item)
    }

    fn forget(&mut self, id: u64) {
        let over = |log: &Log| !log.lives && log.held.is_empty();
        if self.logs.get(&id).is_some_and(over) {
            self.logs.remove(&id);
        }
    }
}
