//! The time limits of a driver: which run now, and what it means when one passes.
//!
//! Lives here: clocks, pings, the second opinion. Never here: frames, queues.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::{CONTROL_ROOM, Caller, Driver, Ending, FAREWELL_WAIT};
use crate::protocol::machine::Machine;

/// How far a conversation has come.
pub(super) enum Phase {
    /// Until the first byte.
    Opening {
        until: Instant,
    },
    Open,
    /// The last word was said.
    Settled {
        until: Instant,
    },
    /// Our Close is on its way; then it is over.
    Closing {
        until: Instant,
        ending: Option<Ending>,
    },
}

/// When what was last heard or moved.
pub(super) struct Clocks {
    /// The 101.
    pub(super) opened: Instant,
    /// The last byte from the peer.
    pub(super) alive: Instant,
    /// The last answer on a second connection.
    pub(super) vouched: Instant,
    /// The last end of such a request.
    pub(super) probed: Instant,
    /// The last data in either direction.
    pub(super) progress: Instant,
    /// A while after the last byte or the last ping.
    pub(super) next_ping: Instant,
    /// The caller has no room, so we do not read.
    pub(super) blocked: bool,
    /// The conversation does not want more to be read, for the same reason.
    pub(super) held: bool,
    /// Bytes of the caller's that were handed to the socket, and those a pong has confirmed as read.
    pub(super) sent: u64,
    pub(super) confirmed: u64,
}

impl Clocks {
    pub(super) fn restart(&mut self, now: Instant) {
        self.alive = now;
        self.vouched = now;
        self.progress = now;
    }
}

/// Between two requests on a second connection, while our data waits to be read.
const PROBE_INTERVAL: Duration = Duration::from_secs(15);
/// The least time between two pings or two requests, whatever the limits say.
const SHORTEST: Duration = Duration::from_millis(10);
/// A timer that fires this late tells that this process was stopped or the machine asleep.
const STOPPED: Duration = Duration::from_secs(2);

/// When a limit passes, where it runs, and what that means.
type Limit = (Option<Instant>, fn() -> Ending);

impl<M: Machine, C: Caller<M>> Driver<M, C> {
    pub(super) fn pings(&self) -> bool {
        !self.limits.keepalive.is_zero()
    }

    /// A short dead-peer limit needs more pings than were asked for, or quiet peers would look dead.
    pub(super) fn ping_interval(&self) -> Duration {
        self.limits
            .keepalive
            .min(self.limits.keepalive_timeout / 3)
            .max(SHORTEST)
    }

    /// Whether bytes of the caller's may lie unread at the remote side.
    fn data_waits(&self) -> bool {
        if let Some(waits) = self.machine.waits() {
            waits
        } else if self.pings() {
            self.clocks.sent > self.clocks.confirmed
        } else {
            self.waiting() > 0
        }
    }

    fn probe_interval(&self) -> Duration {
        PROBE_INTERVAL
            .min(self.limits.keepalive_timeout / 4)
            .max(SHORTEST)
    }

    pub(super) fn poll_probe(&mut self, cx: &mut Context<'_>, now: Instant) {
        if !self.data_waits() || self.clocks.blocked {
            self.probe = None;
            return;
        }
        let last = self
            .clocks
            .alive
            .max(self.clocks.vouched)
            .max(self.clocks.probed);
        if self.probe.is_none() && now >= last + self.probe_interval() {
            let dial = Arc::clone(&self.dial);
            self.probe = Some(Box::pin(async move { dial.probe().await }));
        }
        if let Some(probe) = &mut self.probe
            && let Poll::Ready(answer) = probe.as_mut().poll(cx)
        {
            self.probe = None;
            self.clocks.probed = now;
            match answer {
                Ok(()) => self.clocks.vouched = now,
                Err(error) => tracing::debug!(error = %error.report(), "probe failed"),
            }
        }
    }

    /// Waits for the next time limit, and acts on those that passed.
    pub(super) fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        loop {
            let Some(next) = self.next_limit() else {
                return Poll::Pending;
            };
            if self.timer.deadline() != next {
                self.timer.as_mut().reset(next);
            }
            ready!(self.timer.as_mut().poll(cx));
            let now = Instant::now();
            if now.duration_since(next) > STOPPED {
                // Stopped, or asleep: the peer could not be heard meanwhile. Ask it first.
                self.clocks.restart(now);
                self.clocks.next_ping = now;
                self.machine.resumed(now - self.clocks.opened);
            }
            self.machine.at(now - self.clocks.opened);
            if let Some(ending) = self.passed_limit(now) {
                return Poll::Ready(ending);
            }
            self.poll_probe(cx, now);
            self.poll_write(cx, now);
            if let Poll::Ready(ending) = self.poll_closed() {
                return Poll::Ready(ending);
            }
        }
    }

    /// The limits that run now, with what they mean.
    fn limits(&self) -> [Limit; 5] {
        let clocks = &self.clocks;
        let listening = !clocks.blocked && matches!(self.phase, Phase::Open) && !self.write_failed;
        let waits = self.data_waits();
        let asks = self.pings() || self.machine.waits().is_some();
        let heard = clocks.alive.max(clocks.vouched);
        let opening = match self.phase {
            Phase::Opening { until } => Some(until),
            _ => None,
        };
        let when = |condition: bool, instant: Instant| condition.then_some(instant);
        [
            (self.deadline, || Ending::Deadline),
            (opening, || Ending::NothingFlows),
            (
                when(
                    listening && self.pings() && !waits,
                    clocks.alive + self.limits.keepalive_timeout,
                ),
                || Ending::Silent,
            ),
            (
                when(
                    listening && asks && waits,
                    heard + self.limits.keepalive_timeout,
                ),
                || Ending::Unreachable,
            ),
            (
                when(listening && waits, clocks.progress + self.limits.stall),
                || Ending::Stalled,
            ),
        ]
    }

    fn next_limit(&self) -> Option<Instant> {
        let clocks = &self.clocks;
        let until = match self.phase {
            Phase::Closing { until, .. } => Some(until),
            Phase::Settled { until } if !clocks.blocked => Some(until),
            Phase::Opening { .. } | Phase::Open | Phase::Settled { .. } => None,
        };
        let open = matches!(self.phase, Phase::Opening { .. } | Phase::Open);
        let ping = (open
            && self.pings()
            && !clocks.blocked
            && !self.write_failed
            && self.waiting() < CONTROL_ROOM)
            .then_some(clocks.next_ping);
        let last = clocks.alive.max(clocks.vouched).max(clocks.probed);
        let probe = (open && self.data_waits() && !clocks.blocked && self.probe.is_none())
            .then(|| last + self.probe_interval());
        let limits = self.limits().into_iter().filter_map(|(instant, _)| instant);
        let machine = self.machine.deadline().filter(|_| !self.is_closing());
        let machine = machine.map(|when| clocks.opened + when);
        let all = limits.chain(until).chain(ping).chain(probe);
        all.chain(machine).min()
    }

    fn passed_limit(&mut self, now: Instant) -> Option<Ending> {
        match &mut self.phase {
            Phase::Closing { until, ending } if now >= *until => return ending.take(),
            Phase::Settled { until } if now >= *until && !self.clocks.blocked => {
                return Some(Ending::Lingered);
            }
            _ => {}
        }
        let passed =
            |(instant, ending): Limit| instant.filter(|instant| now >= *instant).map(|_| ending());
        let ending = self.limits().into_iter().find_map(passed)?;
        if self.is_closing() || self.write_failed {
            return Some(ending);
        }
        // A last word to a peer that may still listen; 1001: going away.
        self.say_goodbye(1001, FAREWELL_WAIT, ending, now);
        self.deadline = None;
        None
    }
}
