//! A port-forward as a running thing: listeners, connections, sessions that come and go.
//!
//! - `listen`, `holder`, `socket_file`: binding what is asked for
//! - `gate`: accepting, each connection in a task of its own
//! - `lane`: one connection on its way; `stream`: the same without a local socket
//! - `link`: between a connection and its session
//! - `exchange`: which session a connection gets; `run`: one session
//! - [`route`]: what is needed from whoever knows the cluster
//! - `event`, `teller`: what is told and counted
//!
//! A connection has one ending. Only where the pod itself ended it, and everything it sent was
//! written, the local side sees an end; in every other case it is reset, so that nothing that was cut
//! looks whole.

mod event;
mod exchange;
mod gate;
mod holder;
mod lane;
mod link;
mod listen;
pub mod route;
mod run;
#[cfg(unix)]
mod socket_file;
mod stream;
mod teller;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::watch;

pub use event::{ForwardEvent, ForwardReport, ForwardedPort};
pub use listen::{Listener, Wanted, bind};
pub use route::{Opened, Route, Unopened};
pub use stream::{ForwardReader, ForwardStream, ForwardWriter};

use self::exchange::{Desk, Exchange};
use self::gate::Gate;
use self::lane::Lane;
use self::teller::{Teller, Visit};
use super::queue;
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::portforward::ForwardOptions;

/// One of the ports that were asked for.
#[derive(Clone, Debug)]
pub struct Remote {
    /// As it was asked for: `80`, `http`.
    pub name: String,
    /// The number that is told.
    pub number: u16,
}

/// What a port-forward is made of.
#[non_exhaustive]
pub struct Setup {
    /// Whoever opens sessions.
    pub route: Arc<dyn Route>,
    /// The first session, which was opened for the first port.
    pub first: Opened,
    /// Where local connections come from.
    pub listeners: Vec<Listener>,
    /// The ports that were asked for, in that order.
    pub remotes: Vec<Remote>,
    /// What else was asked for.
    pub options: ForwardOptions,
}

impl Setup {
    /// Names all of it.
    pub fn new(
        route: Arc<dyn Route>,
        first: Opened,
        listeners: Vec<Listener>,
        remotes: Vec<Remote>,
        options: ForwardOptions,
    ) -> Self {
        Self {
            route,
            first,
            listeners,
            remotes,
            options,
        }
    }
}

/// A running port-forward. Dropping it ends it: listeners are closed, connections reset.
#[derive(Debug)]
pub struct PortForward {
    ports: Vec<ForwardedPort>,
    opener: Opener,
    events: queue::Receiver<ForwardEvent>,
    closing: watch::Sender<bool>,
    outcome: watch::Receiver<Option<Result<()>>>,
}

/// Opens connections without a local socket.
#[derive(Clone, Debug)]
pub struct Opener {
    exchange: Exchange,
    remotes: Arc<[Remote]>,
    teller: Arc<Teller>,
}

impl PortForward {
    /// Starts on a first session.
    ///
    /// # Errors
    /// `Internal` when the first session leads to no port.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(setup: Setup) -> Result<Self> {
        let (teller, events) = Teller::new();
        let teller = Arc::new(teller);
        let (mut desk, exchange) =
            Desk::new(setup.route, setup.first, setup.options, Arc::clone(&teller))?;
        let ports = setup.listeners.iter();
        let ports = ports.map(|listener| listener.port.clone()).collect();
        let names = setup.remotes.iter();
        let names = names.map(|remote| Arc::from(&*remote.name)).collect();
        let mut gate = Gate::new(
            setup.listeners,
            exchange.clone(),
            names,
            Arc::clone(&teller),
        );
        let (closing, mut closed) = watch::channel(false);
        let (outcome_tx, outcome) = watch::channel(None);
        let told = Arc::clone(&teller);
        #[expect(
            clippy::disallowed_methods,
            reason = "the handle's drop ends this task"
        )]
        tokio::spawn(async move {
            let result = tokio::select! {
                // The handle says so, or is gone.
                _ = closed.wait_for(|closed| *closed) => Ok(()),
                result = desk.run() => result,
                () = gate.run() => Ok(()),
            };
            gate.close().await;
            desk.leave().await;
            told.finish();
            outcome_tx.send_replace(Some(result));
        });
        Ok(Self {
            ports,
            opener: Opener {
                exchange,
                remotes: setup.remotes.into(),
                teller,
            },
            events,
            closing,
            outcome,
        })
    }

    /// Returns what is listened on.
    #[must_use]
    pub fn local_ports(&self) -> &[ForwardedPort] {
        &self.ports
    }

    /// Waits for the next event; nothing at the end, of which [`wait`](Self::wait) tells more.
    ///
    /// Nobody has to listen: 256 KiB of events wait, further ones are counted and told as
    /// [`Missed`](ForwardEvent::Missed).
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn next_event(&mut self) -> Option<ForwardEvent> {
        if let Some(event) = self.events.try_next() {
            return event;
        }
        if let Some(missed) = self.opener.teller.missed() {
            return Some(missed);
        }
        poll_fn(|cx| self.events.poll_next(cx)).await
    }

    /// Waits for at least one event and takes all that are there; `false` at the end.
    pub fn poll_events(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut Vec<ForwardEvent>,
    ) -> Poll<bool> {
        let more = self.events.poll_batch(cx, batch);
        batch.extend(self.opener.teller.missed());
        more
    }

    /// Takes all that is there without waiting; `Some(false)` at the end, `None` when nothing is.
    pub fn try_events(&mut self, batch: &mut Vec<ForwardEvent>) -> Option<bool> {
        let more = self.events.try_batch(batch);
        batch.extend(self.opener.teller.missed());
        more
    }

    /// Returns what was done so far.
    #[must_use]
    pub fn report(&self) -> ForwardReport {
        self.opener.teller.report()
    }

    /// Returns whoever opens connections without a local socket.
    #[must_use]
    pub fn opener(&self) -> Opener {
        self.opener.clone()
    }

    /// Opens a connection to one of the ports that were asked for, without a local socket.
    ///
    /// # Errors
    /// As [`Opener::open`].
    ///
    /// # Cancel safety
    /// Dropping the future gives the connection up.
    pub async fn open(&self, remote: &str) -> Result<ForwardStream> {
        self.opener.open(remote).await
    }

    /// Ends it: listeners are closed, connections reset. [`wait`](Self::wait) waits for the goodbyes.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Waits for the end: nothing after [`close`](Self::close).
    ///
    /// # Errors
    /// What ended it for good: `Lost` where nothing is opened anew, or no pod came in time;
    /// `Forbidden`, `NotFound` … as the server says.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn wait(&self) -> Result<()> {
        let mut outcome = self.outcome.clone();
        let end = outcome.wait_for(Option::is_some).await;
        let end = end.ok().and_then(|end| end.clone());
        let gone = || Error::new(ErrorKind::Internal, "the task of a port-forward is gone");
        end.unwrap_or_else(|| Err(gone()))
    }
}

impl Opener {
    /// Opens a connection to one of the ports that were asked for: by its number, or as it was
    /// written then. One whose session is lost before is opened anew.
    ///
    /// # Errors
    /// `Invalid` for another port, `NotStarted` when there is no session for as long as is held or
    /// the server does not take it, `Closed` when all is over. A port that the pod refuses shows when
    /// it is read.
    ///
    /// # Cancel safety
    /// Dropping the future gives the connection up.
    pub async fn open(&self, remote: &str) -> Result<ForwardStream> {
        let is_it = |port: &Remote| port.name == remote || port.number.to_string() == remote;
        let Some(place) = self.remotes.iter().position(is_it) else {
            let names = self.remotes.iter().map(|port| &*port.name);
            let names = names.collect::<Vec<_>>().join(", ");
            let message = format!("port {remote:?} is not forwarded");
            return Err(Error::new(ErrorKind::Invalid, message)
                .because(format!("the ports that were asked for: {names}")));
        };
        let port = &self.remotes[place];
        let name: Arc<str> = Arc::from(&*port.name);
        let visit = Visit::new(Arc::clone(&self.teller), port.number, 0);
        let lane = Lane {
            exchange: self.exchange.clone(),
            remote: place,
            name: Arc::clone(&name),
        };
        match lane.open().await {
            Ok(link) => Ok(ForwardStream::new(link, visit, name)),
            Err(error) => {
                visit.end(Some(error.clone()));
                Err(error)
            }
        }
    }
}
