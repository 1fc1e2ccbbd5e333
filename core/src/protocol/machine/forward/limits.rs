//! The time limits of a tunnel: which run now, and what it means when one passes.
//!
//! Time is what has passed since the tunnel began. While we do not read, no clock runs against the
//! peer; while what we sent may lie unread, its silence means nothing, up to the stall limit.

use std::collections::VecDeque;
use std::time::Duration;

use super::pair::{Input, Pair};
use super::tunnel::Tunnel;
use super::{HalfClose, Rules};

/// What is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Due {
    /// The pod may learn that the local side has ended.
    Fin(u32),
    /// Somebody's data was not taken for too long.
    Full(u32),
    Ping,
    /// What was to follow the first half of an ending has not come.
    Settle(u32),
    Silent,
    Stalled,
    Unanswered(u32),
}

/// For the server's answer to a new connection, as kubectl waits.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// For the rest of an ending that is no good one: servers send it at once.
const SETTLE_WAIT: Duration = Duration::from_secs(2);
/// What `HalfClose::Auto` waits for the pod to say nothing.
const QUIET: Duration = Duration::from_secs(1);
/// An API server whose kubelet is gone says so only when spoken to.
const PING_LIMIT: Duration = Duration::from_secs(10);
/// The least time between two pings, whatever the limits say.
const SHORTEST: Duration = Duration::from_millis(10);
/// How many pings without an answer are remembered.
const PINGS_KEPT: usize = 64;

/// When what was last heard or moved.
#[derive(Debug)]
pub(super) struct Clock {
    pub(super) now: Duration,
    /// The last byte from the peer.
    pub(super) heard: Duration,
    /// The last ping of ours.
    pinged: Duration,
    /// When what we sent was last seen to be read.
    pub(super) progress: Duration,
    /// The caller does not take what is there, so we do not read.
    pub(super) held: bool,
    /// Bytes of the caller's that were handed out to be sent, and those a ping has confirmed as read.
    pub(super) sent: u64,
    pub(super) confirmed: u64,
    /// Pings without an answer, each with what was sent before it.
    asked: VecDeque<(u32, u64)>,
    next: u32,
    interval: Duration,
}

impl Clock {
    pub(super) fn new(rules: &Rules) -> Self {
        let asked_for = match rules.keepalive {
            Duration::ZERO => PING_LIMIT,
            some => some.min(PING_LIMIT),
        };
        Self {
            now: Duration::ZERO,
            heard: Duration::ZERO,
            pinged: Duration::ZERO,
            progress: Duration::ZERO,
            held: false,
            sent: 0,
            confirmed: 0,
            asked: VecDeque::new(),
            next: 1,
            interval: asked_for.min(rules.keepalive_timeout / 3).max(SHORTEST),
        }
    }

    /// Whether bytes of the caller's may lie unread at the remote side.
    pub(super) const fn waits(&self) -> bool {
        self.sent > self.confirmed
    }

    /// Whether what we sent lies unread for longer than a ping needs.
    pub(super) fn is_stuck(&self) -> bool {
        self.waits() && self.now > self.progress + 2 * self.interval
    }

    pub(super) fn restart(&mut self) {
        self.heard = self.now;
        self.pinged = self.now;
        self.progress = self.now;
    }

    pub(super) fn send(&mut self, bytes: usize) -> u64 {
        if !self.waits() {
            self.progress = self.now;
        }
        self.sent += bytes as u64;
        self.sent
    }

    /// Returns the next ping: odd, never 0.
    pub(super) fn ask(&mut self) -> u32 {
        let id = self.next;
        self.next = id.checked_add(2).unwrap_or(1);
        self.pinged = self.now;
        if self.asked.len() == PINGS_KEPT {
            // The new one confirms the more, if later.
            self.asked.pop_back();
        }
        self.asked.push_back((id, self.sent));
        id
    }

    /// Takes the answer to a ping; returns whether more is confirmed than before.
    pub(super) fn answer(&mut self, id: u32) -> bool {
        if id >= self.next {
            return false;
        }
        // An answer says the same of all pings before it.
        let answered = self.asked.partition_point(|(asked, _)| *asked <= id);
        let last = self.asked.drain(..answered).next_back();
        let confirmed = last.map_or(0, |(_, sent)| sent);
        if confirmed <= self.confirmed {
            return false;
        }
        self.confirmed = confirmed;
        self.progress = self.now;
        true
    }

    /// Whether a ping is on its way that will confirm what was sent up to `mark`.
    pub(super) fn asks_for(&self, mark: u64) -> bool {
        self.asked.back().is_some_and(|(_, sent)| *sent >= mark)
    }

    /// Only a quiet peer is pinged, but for one that may not read what we send.
    fn next_ping(&self) -> Duration {
        let since = match self.waits() {
            true => self.pinged,
            false => self.pinged.max(self.heard),
        };
        since + self.interval
    }
}

impl Tunnel {
    /// The limits of one connection that run now.
    fn limits_of(&self, first: u32, pair: &Pair) -> impl Iterator<Item = (Duration, Due)> {
        let (clock, rules) = (&self.clock, &self.rules);
        let full = self.pairs.len() > 1 && self.is_full(pair);
        let fin = match rules.half_close {
            HalfClose::Pass => Some(clock.now),
            HalfClose::Auto if pair.mark <= clock.confirmed => Some(pair.quiet + QUIET),
            HalfClose::Auto | HalfClose::Hold => None,
        };
        let ended = pair.opened && pair.input == Input::Ended;
        let answer = (!pair.opened).then_some((pair.asked + ANSWER_WAIT, Due::Unanswered(first)));
        let fin = fin.filter(|_| ended).map(|when| (when, Due::Fin(first)));
        let wait = match pair.seems_good() {
            true => ANSWER_WAIT,
            false => SETTLE_WAIT,
        };
        let settled = |since| (since + wait, Due::Settle(first));
        let heard = [answer, fin, pair.settling.map(settled)];
        let heard = heard.into_iter().flatten().filter(|_| !clock.held);
        let full = full.then_some((pair.moved + rules.stall, Due::Full(first)));
        full.into_iter().chain(heard)
    }

    /// The limits of the tunnel itself that run now.
    fn limits(&self) -> impl Iterator<Item = (Duration, Due)> {
        let (clock, rules) = (&self.clock, &self.rules);
        let patience = match clock.waits() {
            true => (clock.progress + rules.stall, Due::Stalled),
            false => (clock.heard + rules.keepalive_timeout, Due::Silent),
        };
        // What waits to be sent says more than a ping behind it.
        let ping = self.outgoing.is_empty().then(|| clock.next_ping());
        let session = [Some(patience), ping.map(|when| (when, Due::Ping))];
        let session = session.into_iter().flatten();
        session.filter(|_| !clock.held && !self.over)
    }

    /// A limit of this connection may run now that did not, or earlier. There may be very many, so
    /// that not all are looked at each time.
    pub(super) fn touch(&mut self, first: u32) {
        if let Some(pair) = self.pairs.get(&first) {
            let next = self.limits_of(first, pair).map(|(when, _)| when).min();
            self.pairs_due = next.map_or(self.pairs_due, |next| next.min(self.pairs_due));
        }
    }

    /// Looks at all connections once no limit of theirs can pass before now.
    fn passed(&mut self) -> Option<Due> {
        let now = self.clock.now;
        let passed = |(when, _): &(Duration, Due)| *when <= now;
        if let Some((_, due)) = self.limits().find(passed) {
            return Some(due);
        }
        if self.pairs_due > now || self.over {
            return None;
        }
        let mut next = Duration::MAX;
        for (first, pair) in &self.pairs {
            for (when, due) in self.limits_of(*first, pair) {
                if when <= now {
                    return Some(due);
                }
                next = next.min(when);
            }
        }
        self.pairs_due = next;
        None
    }

    /// Returns when [`Tunnel::at`] has to be called next if nothing else happens before.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let pairs = (self.pairs_due < Duration::MAX && !self.over).then_some(self.pairs_due);
        self.limits().map(|(when, _)| when).chain(pairs).min()
    }

    /// Tells how late it is: since the tunnel began, never going back. Call it before everything
    /// else, and at the latest at the [`Tunnel::deadline`].
    pub fn at(&mut self, now: Duration) {
        self.clock.now = self.clock.now.max(now);
        self.turn();
    }

    /// Tells that this process was stopped, or the machine asleep: the peer could not be heard
    /// meanwhile and is asked before it is given up.
    pub fn resumed(&mut self, now: Duration) {
        self.clock.now = self.clock.now.max(now);
        self.restart();
        if !self.clock.held && !self.over {
            self.ask();
        }
    }

    pub(super) fn restart(&mut self) {
        self.clock.restart();
        for pair in self.pairs.values_mut() {
            pair.restart(self.clock.now);
        }
        self.pairs_due = Duration::ZERO;
    }

    /// Acts on what has changed, and on all limits that have passed.
    pub(super) fn turn(&mut self) {
        loop {
            let held = !self.reads();
            if self.clock.held && !held {
                self.restart();
            }
            if self.clock.held != held {
                self.clock.held = held;
                self.pairs_due = Duration::ZERO;
            }
            let Some(due) = self.passed() else {
                return;
            };
            self.act(due);
        }
    }
}
