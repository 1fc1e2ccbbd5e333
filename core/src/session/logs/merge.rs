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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::session::logs::{LogEvent, LogLine, LogSource};

    const WINDOW: Duration = Duration::from_millis(1000);
    const LARGE: usize = 1 << 20;

    fn item(log: u64, time: i64, text: &str) -> LogItem {
        let source = Arc::new(LogSource::new("n", log.to_string(), "c"));
        LogItem::Line(LogLine::new(
            text.to_owned().into(),
            Some(time),
            true,
            source,
        ))
    }

    fn text(item: LogItem) -> String {
        match item {
            LogItem::Line(line) => String::from_utf8(line.data.to_vec()).unwrap(),
            LogItem::Event(..) => "event".to_owned(),
        }
    }

    fn merge(logs: u64, limit: usize) -> Merge {
        let mut merge = Merge::new(WINDOW, limit);
        (0..logs).for_each(|log| merge.join(log));
        merge
    }

    /// All that may go out now.
    fn out(merge: &mut Merge, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| merge.pop(now)).map(text).collect()
    }

    #[test]
    fn a_line_goes_out_when_every_log_has_shown_something_as_late() {
        let (mut merge, now) = (merge(2, LARGE), Instant::now());
        merge.push(0, item(0, 5, "five\n"), now);
        merge.push(0, item(0, 7, "seven\n"), now);
        assert_eq!(out(&mut merge, now), [""; 0]);
        merge.push(1, item(1, 6, "six\n"), now);
        assert_eq!(out(&mut merge, now), ["five\n", "six\n"]);
        // Of a log that has ended nothing is waited for.
        merge.leave(1);
        assert_eq!(out(&mut merge, now), ["seven\n"]);
        assert_eq!((merge.late(), merge.deadline()), (0, None));
    }

    #[test]
    fn a_line_is_held_for_the_window_and_no_longer() {
        let (mut merge, now) = (merge(2, LARGE), Instant::now());
        merge.push(0, item(0, 100, "late\n"), now);
        let later = now + WINDOW * 9 / 10;
        merge.push(1, item(1, 50, "early\n"), later);
        assert_eq!(out(&mut merge, later), ["early\n"]);
        merge.push(1, item(1, 60, "early too\n"), later);
        assert_eq!(merge.deadline(), Some(now + WINDOW));
        assert_eq!(out(&mut merge, now + WINDOW), ["early too\n", "late\n"]);
        // What comes after that is out of order, and counted.
        merge.push(1, item(1, 70, "too late\n"), now + WINDOW);
        assert_eq!(out(&mut merge, now + WINDOW), ["too late\n"]);
        assert_eq!(merge.late(), 1);
    }

    #[test]
    fn over_its_limit_the_earliest_goes_out_at_once() {
        let (mut merge, now) = (merge(2, 600), Instant::now());
        for number in 0..4 {
            merge.push(0, item(0, number, &format!("{number:>99}\n")), now);
        }
        assert!(merge.is_full());
        assert_eq!(out(&mut merge, now).len(), 1);
        assert!(!merge.is_full());
    }

    #[test]
    fn a_line_is_not_torn_while_its_end_may_come_soon() {
        let (mut merge, now) = (merge(2, LARGE), Instant::now());
        merge.push(0, item(0, 1, "begin "), now);
        merge.push(1, item(1, 2, "other\n"), now);
        assert_eq!(out(&mut merge, now), ["begin "]);
        assert_eq!(merge.deadline(), Some(now + LINE_PATIENCE));
        merge.push(0, item(0, 1, "end\n"), now);
        merge.push(0, item(0, 9, "open "), now);
        merge.push(1, item(1, 9, "last\n"), now);
        assert_eq!(out(&mut merge, now), ["end\n", "other\n", "open "]);
        assert_eq!(out(&mut merge, now + LINE_PATIENCE), ["last\n"]);
    }

    #[test]
    fn an_event_goes_out_after_the_line_before_it() {
        let (mut merge, now) = (merge(2, LARGE), Instant::now());
        let source = Arc::new(LogSource::default());
        merge.push(
            0,
            LogItem::Event(Arc::clone(&source), LogEvent::Started),
            now,
        );
        assert_eq!(out(&mut merge, now), ["event"]);
        merge.push(0, item(0, 5, "five\n"), now);
        merge.push(
            0,
            LogItem::Event(source, LogEvent::Ended { exit_code: None }),
            now,
        );
        merge.leave(0);
        merge.push(1, item(1, 4, "four\n"), now);
        assert_eq!(out(&mut merge, now + WINDOW), ["four\n", "five\n", "event"]);
    }

    /// A line: its log, milliseconds since the line before it in its log, and on its way.
    type Plan = Vec<(u64, i64, u64)>;

    /// Lets lines come as planned; returns for each its log, its number there, its time, and how long it
    /// was held.
    fn play(plan: &Plan, limit: usize) -> (Vec<(u64, usize, i64, Duration)>, u64) {
        let begin = Instant::now();
        let mut arrivals = Vec::new();
        let (mut clocks, mut counts, mut last) = ([0; 4], [0; 4], [0; 4]);
        for &(log, step, delay) in plan {
            let at = log as usize;
            clocks[at] += step;
            // The order of a log is kept on its way.
            last[at] = last[at].max(clocks[at].max(0) as u64 + delay);
            arrivals.push((last[at], log, counts[at], clocks[at]));
            counts[at] += 1;
        }
        arrivals.sort_by_key(|arrival| arrival.0);
        let mut merge = merge(4, limit);
        let mut shown = Vec::new();
        let mut take = |merge: &mut Merge, now: Instant| {
            while let Some(item) = merge.pop(now) {
                let words = text(item);
                let numbers: Vec<i64> = words
                    .split_whitespace()
                    .map(|it| it.parse().unwrap())
                    .collect();
                let came = begin + Duration::from_millis(numbers[3] as u64);
                shown.push((
                    numbers[0] as u64,
                    numbers[1] as usize,
                    numbers[2],
                    now - came,
                ));
            }
        };
        for (at, log, number, time) in arrivals {
            let now = begin + Duration::from_millis(at);
            while let Some(due) = merge.deadline().filter(|due| *due < now) {
                take(&mut merge, due);
            }
            let line = format!("{log} {number} {time} {at}\n");
            merge.push(log, item(log, time, &line), now);
            take(&mut merge, now);
            assert!(!merge.is_full());
        }
        while let Some(due) = merge.deadline() {
            take(&mut merge, due);
        }
        (shown, merge.late())
    }

    proptest! {
        #[test]
        fn what_comes_within_the_window_is_sorted(
            plan in proptest::collection::vec((0u64..4, 0i64..400, 0u64..1000), 0..120),
        ) {
            let (shown, late) = play(&plan, LARGE);
            prop_assert_eq!(shown.len(), plan.len());
            prop_assert!(shown.is_sorted_by_key(|line| line.2), "{:?}", shown);
            prop_assert_eq!(late, 0);
            prop_assert!(shown.iter().all(|line| line.3 <= WINDOW));
        }

        #[test]
        fn whatever_comes_is_given_out_once_and_each_log_in_its_order(
            plan in proptest::collection::vec((0u64..4, -400i64..400, 0u64..5000), 0..120),
            limit in 100usize..2000,
        ) {
            let (shown, _) = play(&plan, limit);
            prop_assert_eq!(shown.len(), plan.len());
            for log in 0..4 {
                let numbers: Vec<_> = shown.iter().filter(|line| line.0 == log).map(|line| line.1).collect();
                prop_assert!(numbers.iter().copied().eq(0..numbers.len()), "{:?}", numbers);
            }
            prop_assert!(shown.iter().all(|line| line.3 <= WINDOW));
        }
    }
}
