//! Following a query over cuts, hourly ends and dropped entries: nothing twice, nothing lost without a word.
//!
//! The algorithm is E.3 of our reference on reliability. A new tail is waited for until its first frame,
//! because Loki answers 101 before it has registered the tail; what was written by then is asked of
//! `query_range`, what comes later the tail brings, and what both bring is recognized. What is late by more
//! than the window in either direction is beyond this; only [`TailOptions::verify`] finds some of it.
//!
//! Lives here: which tail or page comes next, and which entries are new. Never here: clocks, sockets, back-off.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use super::ending::{Ending, Limit, Retry};
use super::entry::Entry;
use super::message::TailMessage;
use super::pass::{Pass, Purpose, Turn};
use super::step::{Id, Notice, Now, Origin, Step, TailOptions, Why};
use super::window::{Key, Window};

/// A tail, open or about to be.
#[derive(Debug)]
struct Socket {
    id: Id,
    opened: Option<Duration>,
    ready: bool,
    /// How many of the next entries may be history, which Loki repeats where it joins what is new.
    history: u32,
    seen: HashSet<Key>,
    oldest: i64,
    /// Whether its history is the one that was asked for.
    first: bool,
}

/// The conversation with one Loki about one query.
///
/// Tell it what happens, and after each call do what [`poll`](Self::poll) says until it says nothing.
#[derive(Debug)]
pub struct Tail {
    options: TailOptions,
    window: Window,
    steps: VecDeque<Step>,
    ids: u64,
    socket: Socket,
    /// The tail that takes over before Loki ends the present one.
    next: Option<Socket>,
    /// Whether any entry, or long enough nothing, was seen: before that, the first request is made again.
    begun: bool,
    /// Everything that Loki took before this time, the window allowed for, was shown.
    edge: i64,
    /// How far the tails themselves have come: what they bring next may have been shown long ago.
    heard: i64,
    /// At which age a tail is replaced.
    renew_after: Duration,
    renew: bool,
    lost_at: Option<Duration>,
    caught_up: u64,
    pass: Option<Pass>,
    /// Another catch-up is due from here.
    behind: Option<i64>,
    buffer: Vec<Entry>,
    buffered: usize,
    /// Whether the buffer was full during this catch-up.
    spilled: bool,
    verified: i64,
    verify_at: Duration,
    ended: bool,
}

/// The age at which a tail is replaced while Loki has ended none: it does so after an hour by default.
const RENEW_AFTER: Duration = Duration::from_secs(55 * 60);
/// The shortest life of a tail that Loki's configuration explains.
const SHORTEST: Duration = Duration::from_secs(2);
/// A tail that is this old and has brought nothing has no history.
const NO_HISTORY: Duration = Duration::from_secs(10);
/// The most bytes that are held back while a catch-up goes on; more goes out of order.
const BUFFER: usize = 4 << 20;

impl Tail {
    /// Begins; the first step opens a tail.
    #[must_use]
    pub fn new(options: TailOptions, now: Now) -> Self {
        let window = nanoseconds(options.window);
        let mut tail = Self {
            window: Window::new(window, options.capacity, options.start),
            steps: VecDeque::new(),
            ids: 0,
            socket: Socket::new(Id(0), 0, true),
            next: None,
            begun: false,
            edge: options.start.saturating_add(window),
            heard: options.start.saturating_add(window),
            renew_after: RENEW_AFTER,
            renew: true,
            lost_at: None,
            caught_up: 0,
            pass: None,
            behind: None,
            buffer: Vec::new(),
            buffered: 0,
            spilled: false,
            verified: options.start,
            verify_at: now.elapsed,
            ended: false,
            options,
        };
        tail.socket = tail.open(Retry::AtOnce, now);
        tail
    }

    /// Returns what to do next, or nothing.
    pub fn poll(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// The tail was answered with 101.
    pub fn opened(&mut self, id: Id, now: Now) {
        let next = self.next.as_mut().filter(|next| next.id == id);
        let present = (self.socket.id == id).then_some(&mut self.socket);
        if let Some(socket) = next.or(present) {
            socket.opened = Some(now.elapsed);
        }
    }

    /// A frame arrived: a ping, or the beginning of a message. Loki pings every second.
    pub fn frame(&mut self, id: Id, now: Now) {
        if self.ended {
            return;
        }
        if let Some(next) = self.next.take_if(|next| next.id == id) {
            self.spill(now);
            self.steps.push_back(Step::Close(self.socket.id));
            self.lost_at.get_or_insert(now.elapsed);
            self.socket = next;
        }
        if self.socket.id != id {
            return;
        }
        if !self.begun && self.socket.age(now) >= NO_HISTORY {
            self.begun = true;
            self.verify_at = now.elapsed;
            self.edge = self
                .edge
                .max(now.server.saturating_sub(nanoseconds(NO_HISTORY)));
        }
        if !self.socket.ready {
            self.socket.ready = true;
            self.renew = true;
            self.window.new_tail();
            match self.begun {
                true => self.fall_behind(self.wanted(), now),
                false => self.lost_at = None,
            }
        }
    }

    /// A message arrived.
    pub fn message(&mut self, id: Id, message: TailMessage, now: Now) {
        self.frame(id, now);
        if self.ended || self.socket.id != id {
            return;
        }
        if let Some(dropped) = message.dropped {
            self.steps.push_back(Step::Tell(Notice::Dropped(dropped)));
            let known = self.window.known_from();
            let from = dropped.from.max(self.options.start);
            let to = known.min(dropped.to.saturating_add(1));
            if from < to {
                self.gap(from, to, Why::Forgotten);
            }
            if std::mem::take(&mut self.socket.first) && self.socket.history > 0 {
                // Some of the first ones are missing: what is older than all of these was not asked for.
                let oldest = self.socket.oldest.min(dropped.from).min(now.server);
                self.window.begin_at(oldest);
                if !self.begun {
                    self.begin_at(oldest, now);
                }
            }
            self.fall_behind(self.wanted().min(dropped.from), now);
        }
        let held = self.is_catching_up() && !self.spilled;
        for entry in message.entries {
            match held {
                true => {
                    self.buffered += entry.line.len() + size_of::<Entry>();
                    self.buffer.push(entry);
                }
                false => self.live(entry, now),
            }
        }
        if self.buffered > BUFFER {
            self.spilled = true;
            self.spill(now);
        }
        self.forget();
    }

    /// A tail ended, or could not be opened.
    pub fn closed(&mut self, id: Id, ending: Ending, now: Now) {
        if self.next.take_if(|next| next.id == id).is_some() {
            // Another try would meet the same limit; the present one goes on until it ends.
            self.renew = false;
        }
        if self.ended || self.socket.id != id {
            return;
        }
        let age = self.socket.age(now);
        let retry = match ending {
            // Who ends each tail at once is not asked for the next one at once.
            Ending::Planned if age < SHORTEST => Retry::BackOff,
            _ => ending.retry(),
        };
        if ending == Ending::Planned {
            self.renew_after = age.max(SHORTEST) / 10 * 9;
        }
        // What was held back is counted for the tail that brought it.
        self.spill(now);
        if retry == Retry::Never {
            self.ended = true;
            self.steps.push_back(Step::Ended(ending));
            return;
        }
        self.lost_at.get_or_insert(now.elapsed);
        self.socket = match self.next.take() {
            Some(next) => next,
            None => self.open(retry, now),
        };
    }

    /// A query was answered: with entries sorted by time, or not.
    pub fn reply(&mut self, id: Id, reply: Result<Vec<Entry>, Ending>, now: Now) {
        let Some(mut pass) = self.pass.take_if(|pass| pass.id == id && !self.ended) else {
            return;
        };
        let entries = match reply {
            Ok(entries) => entries,
            Err(ending) => return self.query_failed(pass, ending, now),
        };
        self.skip_forgotten(&mut pass);
        let mut counts: HashMap<Key, u32> = HashMap::new();
        let (length, last) = (
            entries.len(),
            entries.last().map(|entry| entry.timestamp_ns),
        );
        let mut skipped = false;
        for entry in entries {
            let time = entry.timestamp_ns;
            if time < pass.cursor.max(self.window.known_from()) {
                // The page itself has driven out what it is compared with.
                skipped |= time >= pass.cursor && time < self.window.overflowed();
                continue;
            }
            let key = Key::new(&entry);
            let count = counts.entry(key).or_default();
            *count += 1;
            if self.window.stored(key, *count) {
                self.caught_up += u64::from(pass.purpose == Purpose::CatchUp);
                let show = Step::Show(entry, pass.purpose.origin());
                self.steps.push_back(show);
            }
        }
        if skipped {
            self.skip_forgotten(&mut pass);
        }
        let turn = pass.turn(length, last, self.options.page);
        if turn != Turn::Finished {
            self.skip_forgotten(&mut pass);
        }
        match turn {
            Turn::Crowded(time) => {
                self.gap(time, time.saturating_add(1), Why::Crowded);
                self.query(pass, Retry::AtOnce);
            }
            Turn::Finished => self.finish(&pass, true, now),
            Turn::Next => self.query(pass, Retry::AtOnce),
        }
        self.forget();
    }

    /// Returns when to call [`tick`](Self::tick) at the latest, by [`Now::elapsed`].
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.renewal().into_iter().chain(self.verify_due()).min()
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now) {
        if self.renewal().is_some_and(|at| now.elapsed >= at) {
            self.next = Some(self.open(Retry::AtOnce, now));
        }
        if self.verify_due().is_none_or(|at| now.elapsed < at) {
            return;
        }
        self.verify_at = now.elapsed + self.options.verify.unwrap_or_default();
        let end = now.server.saturating_sub(nanoseconds(self.options.settle));
        let from = self.verified.max(self.window.known_from());
        if self.window.overflowed() > self.verified {
            let (from, to) = (self.verified, self.window.overflowed());
            self.steps
                .push_back(Step::Tell(Notice::Unverified { from, to }));
        }
        self.verified = from;
        if from < end {
            self.begin(Purpose::Verify, from, end, now);
        }
    }

    /// Whether the present tail brings everything, as far as is known.
    fn is_steady(&self) -> bool {
        self.begun && self.socket.ready && self.pass.is_none() && !self.ended
    }

    fn is_catching_up(&self) -> bool {
        self.pass
            .as_ref()
            .is_some_and(|pass| pass.purpose == Purpose::CatchUp)
    }

    /// The history that was asked for has come, or there is none.
    fn begin_at(&mut self, time: i64, now: Now) {
        self.begun = true;
        self.verified = self.verified.max(time);
        self.verify_at = now.elapsed;
    }

    /// When to open the tail that takes over.
    fn renewal(&self) -> Option<Duration> {
        let wanted = self.is_steady() && self.next.is_none() && self.renew;
        let opened = self.socket.opened.filter(|_| wanted)?;
        Some(opened + self.renew_after)
    }

    /// When to look for what is missing: earlier where the window will soon not reach back that far.
    fn verify_due(&self) -> Option<Duration> {
        let interval = self.options.verify.filter(|_| self.is_steady())?;
        Some(match self.window.is_nearly_full() {
            true => self.verify_at.saturating_sub(interval / 6 * 5),
            false => self.verify_at,
        })
    }

    /// From where on entries may be missing.
    fn wanted(&self) -> i64 {
        self.edge.saturating_sub(nanoseconds(self.options.window))
    }

    fn next_id(&mut self) -> Id {
        self.ids += 1;
        Id(self.ids)
    }

    fn open(&mut self, retry: Retry, now: Now) -> Socket {
        let id = self.next_id();
        // The history of a later tail is not needed: its older end would be cut off in a burst.
        let (start, limit) = match self.begun {
            true => (self.wanted().min(now.server), 1),
            false => (
                self.options.start.min(now.server),
                self.options.limit.max(1),
            ),
        };
        self.steps.push_back(Step::Open {
            id,
            limit,
            retry,
            start,
        });
        Socket::new(id, limit, !self.begun)
    }

    /// Entries may be missing from here on: asks for them now, or after what is asked for already.
    fn fall_behind(&mut self, from: i64, now: Now) {
        if self.is_catching_up() {
            self.behind = Some(self.behind.map_or(from, |behind| behind.min(from)));
            return;
        }
        self.spilled = false;
        // What is being looked through is looked through again later.
        let end = now.server.saturating_add(nanoseconds(self.options.window));
        self.begin(Purpose::CatchUp, from, end, now);
    }

    fn begin(&mut self, purpose: Purpose, from: i64, end: i64, now: Now) {
        let mut pass = Pass::new(purpose, from, end, self.options.page, now);
        self.skip_forgotten(&mut pass);
        pass.cursor = pass.cursor.max(self.window.known_from());
        self.query(pass, Retry::AtOnce);
    }

    /// What can no longer be recognized cannot be asked for: it would be shown twice.
    fn skip_forgotten(&mut self, pass: &mut Pass) {
        let known = self.window.overflowed();
        if known > pass.cursor {
            match pass.purpose {
                Purpose::CatchUp => self.gap(pass.cursor, known, Why::Forgotten),
                Purpose::Verify => {
                    let from = pass.cursor;
                    self.steps
                        .push_back(Step::Tell(Notice::Unverified { from, to: known }));
                }
            }
            pass.cursor = known;
        }
    }

    fn query(&mut self, mut pass: Pass, retry: Retry) {
        pass.id = self.next_id();
        let (start, end) = (pass.cursor, pass.end.max(pass.cursor.saturating_add(1)));
        let (id, limit) = (pass.id, pass.limit);
        self.steps.push_back(Step::Query {
            end,
            id,
            limit,
            retry,
            start,
        });
        self.pass = Some(pass);
    }

    fn query_failed(&mut self, mut pass: Pass, ending: Ending, now: Now) {
        if let Ending::Limit(Limit {
            allowed: Some(allowed),
            ..
        }) = ending
            && pass.lower(allowed)
        {
            self.options.page = self.options.page.min(pass.most);
            return self.query(pass, Retry::AtOnce);
        }
        let since = *pass.failing.get_or_insert(now.elapsed);
        let patient = now.elapsed.saturating_sub(since) < self.options.patience;
        match ending.retry() {
            Retry::Never => {}
            Retry::AtOnce if patient => return self.query(pass, Retry::BackOff),
            retry if patient => return self.query(pass, retry),
            _ => {}
        }
        if pass.purpose == Purpose::CatchUp {
            let to = pass.end.min(now.server).max(pass.cursor.saturating_add(1));
            self.gap(pass.cursor, to, Why::Query);
        }
        self.finish(&pass, false, now);
        self.forget();
    }

    fn finish(&mut self, pass: &Pass, whole: bool, now: Now) {
        match pass.purpose {
            Purpose::Verify => {
                if whole {
                    self.verified = pass.end;
                }
                return;
            }
            Purpose::CatchUp if whole => self.edge = self.edge.max(pass.began),
            Purpose::CatchUp => {}
        }
        if let Some(from) = self.behind.take() {
            let end = now.server.saturating_add(nanoseconds(self.options.window));
            return self.begin(Purpose::CatchUp, from, end, now);
        }
        self.spill(now);
        self.spilled = false;
        if let Some(lost_at) = self.lost_at.take_if(|_| self.socket.ready) {
            let away = now.elapsed.saturating_sub(lost_at);
            let caught_up = std::mem::take(&mut self.caught_up);
            self.steps
                .push_back(Step::Tell(Notice::Resumed { away, caught_up }));
        }
    }

    /// Shows what was held back.
    fn spill(&mut self, now: Now) {
        self.buffered = 0;
        for entry in std::mem::take(&mut self.buffer) {
            self.live(entry, now);
        }
    }

    /// Takes an entry of the present tail.
    fn live(&mut self, entry: Entry, now: Now) {
        let (key, time) = (Key::new(&entry), entry.timestamp_ns);
        let first = !self.begun;
        let new = match self.socket.history {
            0 => self.window.live(key),
            _ => {
                self.socket.history -= 1;
                self.socket.oldest = self.socket.oldest.min(time);
                self.socket.seen.insert(key) && self.window.stored(key, 1)
            }
        };
        if first {
            // History comes in order: older entries were not asked for.
            self.begin_at(time, now);
        }
        if self.socket.history == 0 && !self.socket.seen.is_empty() {
            self.socket.seen = HashSet::new();
            if self.socket.first {
                self.window.begin_at(self.socket.oldest);
            }
        }
        // Tails keep the order in which Loki took its entries; pages do not.
        self.heard = self.heard.max(time.min(now.server));
        self.edge = self.edge.max(self.heard);
        if new {
            self.steps.push_back(Step::Show(entry, Origin::Live));
        }
    }

    fn gap(&mut self, from: i64, to: i64, why: Why) {
        self.steps
            .push_back(Step::Tell(Notice::Gap { from, to, why }));
    }

    /// Forgets what no query will ask for.
    fn forget(&mut self) {
        let asked = self.pass.as_ref().map(|pass| pass.cursor);
        let verified = self.options.verify.map(|_| self.verified);
        let late = self
            .edge
            .min(self.heard)
            .saturating_sub(nanoseconds(self.options.window));
        let keep = [asked, self.behind, verified]
            .into_iter()
            .flatten()
            .fold(late, i64::min);
        self.window.forget_before(keep);
    }
}

impl Socket {
    fn new(id: Id, history: u32, first: bool) -> Self {
        Self {
            first,
            id,
            opened: None,
            ready: false,
            history,
            seen: HashSet::new(),
            oldest: i64::MAX,
        }
    }

    fn age(&self, now: Now) -> Duration {
        self.opened
            .map_or(Duration::ZERO, |opened| now.elapsed.saturating_sub(opened))
    }
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
