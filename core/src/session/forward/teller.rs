//! What is told of a port-forward, and counted.
//!
//! Lives here: events that nobody takes, sums. Never here: what the events mean.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::event::{ForwardEvent, ForwardReport};
use crate::error::{Error, ErrorKind};
use crate::protocol::portforward::ForwardSubprotocol;
use crate::session::queue;

/// How many bytes of events wait for the caller; further ones are counted.
const EVENTS_LIMIT: usize = 256 * 1024;

/// Whoever tells.
#[derive(Debug)]
pub(super) struct Teller {
    /// Nothing once all is over.
    events: Mutex<Option<queue::Sender<ForwardEvent>>>,
    missed: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    report: Mutex<ForwardReport>,
}

impl Teller {
    pub(super) fn new() -> (Self, queue::Receiver<ForwardEvent>) {
        let (events, receiver) = queue::channel(EVENTS_LIMIT);
        let teller = Self {
            events: Mutex::new(Some(events)),
            missed: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            report: Mutex::default(),
        };
        (teller, receiver)
    }

    /// Tells an event, unless too many wait.
    pub(super) fn tell(&self, event: ForwardEvent) {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        match &*events {
            Some(events) if events.used() < EVENTS_LIMIT => {
                // Who does not listen wants no events.
                let _ = events.push(event);
            }
            Some(_) => drop(self.missed.fetch_add(1, Ordering::Relaxed)),
            None => {}
        }
    }

    /// Nothing more is told.
    pub(super) fn finish(&self) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        *events = None;
    }

    /// Returns what is to be told of events that were not, once those before were taken.
    pub(super) fn missed(&self) -> Option<ForwardEvent> {
        let count = self.missed.swap(0, Ordering::Relaxed);
        (count > 0).then_some(ForwardEvent::Missed { count })
    }

    pub(super) fn report(&self) -> ForwardReport {
        let mut report = self.change(|report| report.clone());
        report.sent = self.sent.load(Ordering::Relaxed);
        report.received = self.received.load(Ordering::Relaxed);
        report
    }

    pub(super) fn reconnected(&self) {
        self.change(|report| report.reconnects += 1);
    }

    pub(super) fn travels(&self, protocol: ForwardSubprotocol) {
        self.change(|report| report.protocol = Some(protocol));
    }

    fn change<T>(&self, change: impl FnOnce(&mut ForwardReport) -> T) -> T {
        change(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A connection while it lives; its end is told when this is dropped.
#[derive(Debug)]
pub(super) struct Visit {
    teller: Arc<Teller>,
    connection: u64,
    remote: u16,
    local: u16,
    begin: Instant,
    sent: AtomicU64,
    received: AtomicU64,
    /// Known with the end: why it was reset, or nothing.
    end: Mutex<Option<Option<Error>>>,
}

impl Visit {
    /// Begins, and tells it.
    pub(super) fn new(teller: Arc<Teller>, remote: u16, local: u16) -> Self {
        let connection = teller.change(|report| {
            report.connections += 1;
            report.active += 1;
            report.connections
        });
        teller.tell(ForwardEvent::Opened {
            connection,
            remote,
            local,
        });
        Self {
            teller,
            connection,
            remote,
            local,
            begin: Instant::now(),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            end: Mutex::new(None),
        }
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        self.teller.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
        self.teller
            .received
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Returns how many bytes came and were taken.
    pub(super) fn received_so_far(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Tells how it ended; the first word counts.
    pub(super) fn end(&self, error: Option<Error>) {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        end.get_or_insert(error);
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let end = self.end.get_mut().unwrap_or_else(PoisonError::into_inner);
        let error = end.take().unwrap_or_else(|| {
            let message = "the connection was closed from this side";
            Some(Error::new(ErrorKind::Closed, message))
        });
        let sent = *self.sent.get_mut();
        let received = *self.received.get_mut();
        let lasted: Duration = self.begin.elapsed();
        self.teller.change(|report| {
            report.active -= 1;
            report.failed += u64::from(error.is_some());
        });
        self.teller.tell(ForwardEvent::Closed {
            connection: self.connection,
            remote: self.remote,
            local: self.local,
            sent,
            received,
            lasted,
            error,
        });
    }
}
