//! The Loki of the model, and the way between it and its reader.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::super::entry::Labels;
use super::super::*;
use super::Tally;

pub(super) const MS: i64 = 1_000_000;
/// When a run begins, by Loki's clock.
pub(super) const EPOCH: i64 = 1_000_000_000 * MS;
/// How long faults go on, and how long after them Loki still writes.
const FAULTS: i64 = 40_000 * MS;
const WRITES: i64 = 46_000 * MS;
pub(super) const END: i64 = 70_000 * MS;

/// What may happen in a run: each once in so many tries, never for 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mode {
    pub(super) name: &'static str,
    /// Entries each 100 ms.
    pub(super) rate: u64,
    /// Entries that are up to 2 s late.
    pub(super) late: u64,
    /// Entries that are up to 1 s ahead.
    pub(super) ahead: u64,
    /// Entries of a round 100 ms.
    pub(super) equal: u64,
    /// How many different lines there are; 0: each is different.
    pub(super) contents: u64,
    /// Cuts, tried each 100 ms.
    pub(super) cuts: u64,
    /// Restarts.
    pub(super) restarts: u64,
    /// Moments at which a socket drops what comes for a while, and tells.
    pub(super) drops: u64,
    /// Entries that a socket does not get, and nobody tells.
    pub(super) silent: u64,
    /// Queries that fail.
    pub(super) errors: u64,
    /// Bursts of a hundred entries in one nanosecond.
    pub(super) crowds: u64,
    /// The longest life of a tail in milliseconds.
    pub(super) life: i64,
    /// The most entries of a reply.
    pub(super) cap: u32,
    pub(super) capacity: usize,
    pub(super) verify: bool,
    /// Whether there is more history than is asked for.
    pub(super) history: bool,
}

/// splitmix64: the same numbers for the same seed, everywhere.
pub(super) struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }

    fn once_in(&mut self, chance: u64) -> bool {
        chance > 0 && self.below(chance) == 0
    }

    fn up_to(&mut self, milliseconds: u64) -> i64 {
        self.below(milliseconds * 1000) as i64 * 1000
    }
}

/// An entry, and when Loki took it.
pub(super) struct Stored {
    pub(super) entry: Entry,
    pub(super) taken: i64,
}

/// A tail as Loki sees it.
pub(super) struct Socket {
    id: Id,
    start: i64,
    limit: u32,
    registered: bool,
    /// The last frame that is on its way.
    last: i64,
    dropping: u64,
    dropped: Option<Dropped>,
}

pub(super) enum Event {
    Close(Id, Ending),
    Connect(Id, i64, u32),
    Execute {
        id: Id,
        start: i64,
        end: i64,
        limit: u32,
    },
    Message(Id, TailMessage),
    Ping(Id),
    Register(Id),
    Reply(Id, Result<Vec<Entry>, Ending>),
}

pub(super) struct World {
    pub(super) mode: Mode,
    pub(super) dice: Dice,
    pub(super) now: i64,
    pub(super) labels: [Arc<Labels>; 3],
    pub(super) stored: Vec<Stored>,
    /// From which of the stored entries on all are wanted.
    pub(super) wanted: usize,
    pub(super) sockets: Vec<Socket>,
    pub(super) down: i64,
    pub(super) events: BTreeMap<(i64, u64), Event>,
    pub(super) numbers: u64,
    pub(super) shown: Vec<Entry>,
    pub(super) gaps: Vec<(i64, i64)>,
    pub(super) tally: Tally,
}

impl World {
    pub(super) fn new(mode: Mode, seed: u64) -> Self {
        let labels = ["a", "b", "c"].map(|app| Arc::new(Labels::new([("app", app)])));
        Self {
            mode,
            dice: Dice(seed),
            now: EPOCH,
            labels,
            stored: Vec::new(),
            wanted: 0,
            sockets: Vec::new(),
            down: 0,
            events: BTreeMap::new(),
            numbers: 0,
            shown: Vec::new(),
            gaps: Vec::new(),
            tally: Tally::default(),
        }
    }

    fn after(&mut self, wait: i64, event: Event) {
        self.numbers += 1;
        self.events.insert((self.now + wait, self.numbers), event);
    }

    pub(super) fn clock(&self) -> Now {
        let elapsed = Duration::from_nanos((self.now - EPOCH) as u64);
        Now::new(elapsed, self.now)
    }

    pub(super) fn write(&mut self, at: i64) {
        let mode = self.mode;
        let line = match mode.contents {
            0 => self.stored.len().to_string(),
            contents => self.dice.below(contents).to_string(),
        };
        let mut time = at;
        if self.dice.once_in(mode.equal) {
            time -= time % (100 * MS);
        }
        if self.dice.once_in(mode.late) {
            time -= self.dice.up_to(2_000);
        } else if self.dice.once_in(mode.ahead) {
            time += self.dice.up_to(1_000);
        }
        self.store(time, line, at);
    }

    fn store(&mut self, time: i64, line: String, taken: i64) {
        let labels = Arc::clone(&self.labels[self.dice.below(3) as usize]);
        let entry = Entry::new(time, labels, line);
        self.stored.push(Stored {
            entry: entry.clone(),
            taken,
        });
        for index in 0..self.sockets.len() {
            let silent = self.mode.silent;
            if self.sockets[index].registered && !self.dice.once_in(silent) {
                self.send(index, entry.clone());
            }
        }
    }

    fn send(&mut self, index: usize, entry: Entry) {
        let lag = self.now + self.dice.up_to(300);
        let socket = &mut self.sockets[index];
        if socket.dropping > 0 {
            socket.dropping -= 1;
            let time = entry.timestamp_ns;
            let dropped = socket.dropped.get_or_insert(Dropped {
                count: 0,
                from: time,
                to: time,
            });
            // Loki lists the first thousand only.
            if dropped.count < 3 {
                dropped.count += 1;
                dropped.from = dropped.from.min(time);
                dropped.to = dropped.to.max(time);
            }
            return;
        }
        socket.last = socket.last.max(lag);
        let (id, wait) = (socket.id, socket.last - self.now);
        let message = TailMessage {
            dropped: socket.dropped.take(),
            entries: vec![entry],
        };
        self.after(wait, Event::Message(id, message));
    }

    /// All tails break; their reader learns of it at once or later.
    fn cut(&mut self) {
        for socket in std::mem::take(&mut self.sockets) {
            let wait = if self.dice.once_in(2) {
                0
            } else {
                self.dice.up_to(1_000)
            };
            self.after(wait, Event::Close(socket.id, Ending::Transient));
        }
    }

    /// What happens each 100 ms.
    pub(super) fn beat(&mut self) {
        let (mode, age) = (self.mode, self.now - EPOCH);
        if age < WRITES {
            for _ in 0..self.dice.below(mode.rate) {
                self.write(self.now);
            }
        }
        if age < FAULTS {
            if self.dice.once_in(mode.crowds) {
                (0..100).for_each(|line| self.store(self.now, format!("crowd {line}"), self.now));
            }
            if self.dice.once_in(mode.cuts) {
                self.cut();
            }
            if self.dice.once_in(mode.restarts) {
                self.down = self.now + self.dice.up_to(3_000);
                self.cut();
            }
            for index in 0..self.sockets.len() {
                if self.dice.once_in(mode.drops) {
                    self.sockets[index].dropping = self.dice.below(20);
                }
            }
        }
        for index in 0..self.sockets.len() {
            let socket = &self.sockets[index];
            if socket.registered {
                let (id, wait) = (socket.id, (socket.last - self.now).max(0));
                self.after(wait, Event::Ping(id));
            }
        }
    }

    pub(super) fn take(&mut self, step: Step) {
        match step {
            Step::Close(id) => self.sockets.retain(|socket| socket.id != id),
            Step::Ended(ending) => panic!("ended by {ending:?}"),
            Step::Open {
                id,
                start,
                limit,
                retry,
            } => {
                self.tally.tails += 1;
                let wait = self.wait(retry) + self.dice.up_to(100);
                self.after(wait, Event::Connect(id, start, limit));
            }
            Step::Query {
                id,
                start,
                end,
                limit,
                retry,
            } => {
                assert!(start < end && limit > 0, "{start} to {end}, {limit}");
                self.tally.pages += 1;
                let wait = self.wait(retry) + self.dice.up_to(50);
                self.after(
                    wait,
                    Event::Execute {
                        id,
                        start,
                        end,
                        limit,
                    },
                );
            }
            Step::Show(entry, origin) => {
                self.tally.caught_up += u64::from(origin == Origin::CaughtUp);
                self.tally.recovered += u64::from(origin == Origin::Recovered);
                self.shown.push(entry);
            }
            Step::Tell(Notice::Gap { from, to, .. } | Notice::Unverified { from, to }) => {
                assert!(from < to);
                self.gaps.push((from, to));
            }
            Step::Tell(Notice::Dropped(_) | Notice::Resumed { .. }) => {}
        }
    }

    fn wait(&mut self, retry: Retry) -> i64 {
        match retry {
            Retry::AtOnce => 0,
            Retry::BackOff => self.dice.up_to(500),
            Retry::Slowly | Retry::Never => 1_000 * MS,
        }
    }

    pub(super) fn happen(&mut self, event: Event, tail: &mut Tail) {
        let now = self.clock();
        let open = |world: &Self, id| world.sockets.iter().position(|socket| socket.id == id);
        match event {
            Event::Close(id, ending) => tail.closed(id, ending, now),
            Event::Connect(id, ..) if self.now < self.down => {
                tail.closed(id, Ending::Transient, now);
            }
            Event::Connect(id, start, limit) => {
                let socket = Socket {
                    id,
                    start,
                    limit,
                    registered: false,
                    last: self.now,
                    dropping: 0,
                    dropped: None,
                };
                self.sockets.push(socket);
                tail.opened(id, now);
                let wait = self.dice.up_to(100);
                self.after(wait, Event::Register(id));
                let life = self.mode.life * MS;
                self.after(life, Event::Close(id, Ending::Planned));
            }
            Event::Register(id) => {
                if let Some(index) = open(self, id) {
                    self.register(index);
                }
            }
            Event::Execute {
                id,
                start,
                end,
                limit,
            } => {
                let reply = self.execute(start, end, limit);
                let wait = self.dice.up_to(100);
                self.after(wait, Event::Reply(id, reply));
            }
            Event::Reply(id, reply) => tail.reply(id, reply, now),
            Event::Message(id, message) if open(self, id).is_some() => {
                tail.message(id, message, now);
            }
            Event::Ping(id) if open(self, id).is_some() => tail.frame(id, now),
            Event::Message(..) | Event::Ping(_) => {}
        }
    }

    fn register(&mut self, index: usize) {
        let socket = &mut self.sockets[index];
        socket.registered = true;
        let (start, limit) = (socket.start, socket.limit as usize);
        let mut history: Vec<_> = self
            .stored
            .iter()
            .filter(|stored| stored.entry.timestamp_ns >= start)
            .collect();
        history.sort_by_key(|stored| stored.entry.timestamp_ns);
        let history: Vec<_> = history[history.len().saturating_sub(limit)..]
            .iter()
            .map(|stored| (stored.entry.clone(), stored.taken))
            .collect();
        if limit > 1 {
            self.wanted = self.stored.len();
        }
        let fresh = self.now - 50 * MS;
        let again: Vec<_> = history
            .iter()
            .filter(|(_, taken)| *taken > fresh)
            .map(|(entry, _)| entry.clone())
            .collect();
        history
            .into_iter()
            .for_each(|(entry, _)| self.send(index, entry));
        // What came while Loki joined history and news may be told twice.
        if limit == 1 && self.dice.once_in(2) {
            again.into_iter().for_each(|entry| self.send(index, entry));
        }
    }

    fn execute(&mut self, start: i64, end: i64, limit: u32) -> Result<Vec<Entry>, Ending> {
        let failing = self.now - EPOCH < FAULTS && self.dice.once_in(self.mode.errors);
        if self.now < self.down || failing {
            return Err(Ending::Transient);
        }
        if limit > self.mode.cap {
            let text = format!(
                "max entries limit per query exceeded, limit > max_entries_limit_per_query ({limit} > {})",
                self.mode.cap
            );
            return Err(Ending::of_status(400, &text));
        }
        let stored = self.stored.iter().map(|stored| &stored.entry);
        let mut entries: Vec<_> = stored
            .filter(|entry| (start..end).contains(&entry.timestamp_ns))
            .cloned()
            .collect();
        entries.sort_by_key(|entry| entry.timestamp_ns);
        entries.truncate(limit as usize);
        Ok(entries)
    }
}
