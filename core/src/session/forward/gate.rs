//! Accepting local connections, each in a task of its own.
//!
//! Lives here: whose connection it is, and what to do without descriptors. Never here: binding, bytes.

use std::future::{pending, poll_fn};
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::event::ForwardEvent;
use super::exchange::Exchange;
use super::lane::Lane;
use super::listen::{Listener, Local};
use super::teller::{Teller, Visit};
use crate::error::words;
use crate::protocol::text::escape;

/// How long nothing is accepted when the system has no descriptors, unless one is given back before.
const PAUSE: Duration = Duration::from_secs(1);

/// All listeners of a port-forward, and the connections they accepted.
pub(super) struct Gate {
    listeners: Vec<Listener>,
    exchange: Exchange,
    names: Vec<Arc<str>>,
    teller: Arc<Teller>,
    connections: JoinSet<()>,
    /// Until when nothing is accepted.
    paused: Option<Instant>,
    /// Whether the last one could not be accepted.
    short: bool,
}

impl Gate {
    pub(super) fn new(
        listeners: Vec<Listener>,
        exchange: Exchange,
        names: Vec<Arc<str>>,
        teller: Arc<Teller>,
    ) -> Self {
        Self {
            listeners,
            exchange,
            names,
            teller,
            connections: JoinSet::new(),
            paused: None,
            short: false,
        }
    }

    /// Accepts connections for ever.
    pub(super) async fn run(&mut self) {
        loop {
            let pause = self.paused;
            let resume = async {
                match pause {
                    Some(until) => sleep_until(until).await,
                    None => pending().await,
                }
            };
            let accepted = poll_fn(|cx| poll_accept(&self.listeners, cx));
            tokio::select! {
                (listener, accepted) = accepted, if pause.is_none() => {
                    self.accepted(listener, accepted);
                }
                // One that ended gives its descriptor back.
                Some(_) = self.connections.join_next() => self.paused = None,
                () = resume => self.paused = None,
            }
        }
    }

    /// Ends the listeners, and resets all connections.
    pub(super) async fn close(mut self) {
        self.listeners.clear();
        self.connections.shutdown().await;
    }

    fn accepted(&mut self, listener: usize, accepted: io::Result<Local>) {
        let Some(listener) = self.listeners.get(listener) else {
            return;
        };
        let local = match accepted {
            Ok(local) => local,
            Err(error) => {
                tracing::debug!(%error, "accepting failed");
                self.paused = Some(Instant::now() + PAUSE);
                if !std::mem::replace(&mut self.short, true) {
                    let why = escape(&words(&error));
                    self.teller.tell(ForwardEvent::Paused { why });
                }
                return;
            }
        };
        if std::mem::take(&mut self.short) {
            self.teller.tell(ForwardEvent::Resumed);
        }
        let name = self.names.get(listener.remote).cloned().unwrap_or_default();
        let lane = Lane {
            exchange: self.exchange.clone(),
            remote: listener.remote,
            name,
        };
        let (remote, number) = (listener.port.remote, listener.port.local);
        let visit = Visit::new(Arc::clone(&self.teller), remote, number);
        self.connections.spawn(lane.carry(local, visit));
    }
}

/// Takes the next connection of any listener, each in its turn as readiness goes.
fn poll_accept(listeners: &[Listener], cx: &mut Context<'_>) -> Poll<(usize, io::Result<Local>)> {
    for (index, listener) in listeners.iter().enumerate() {
        if let Poll::Ready(accepted) = listener.poll_accept(cx) {
            return Poll::Ready((index, accepted));
        }
    }
    Poll::Pending
}
