//! Which session a connection gets; sessions that are lost are opened anew.
//!
//! Lives here: how many sessions there are, waiting, back-off. Never here: pods, frames, sockets.
//!
//! One task holds all of it, so that nothing is decided twice. A tunnel is shared by up to 16
//! connections and as long as nobody in it lies behind; more need another one, which goes again when
//! it is idle. With `v4` every connection has a session of its own.

use std::collections::VecDeque;
use std::future;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::event::ForwardEvent;
use super::link::{Inbox, Link};
use super::route::{Opened, Route, Unopened};
use super::run;
use super::teller::Teller;
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::machine::forward::{Connection, SHARED_BY};
use crate::protocol::portforward::{Balance, ForwardOptions, ForwardSubprotocol, Reconnect};

/// How many connections may ask at once; the others wait to ask.
const ASKS: usize = 64;
/// How many sessions are opened at once.
const OPENINGS: usize = 16;
/// How long a session without connections stays that is not needed.
const IDLE: Duration = Duration::from_secs(10);
/// For goodbyes to go out.
const FAREWELL: Duration = Duration::from_millis(700);
/// Between two tries to open a session: the first, doubled each time up to the last.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Where connections ask for a session.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    asks: mpsc::Sender<Ask>,
    /// Sessions that take any connection.
    open: Arc<Mutex<Vec<Place>>>,
    names: Arc<AtomicU64>,
}

/// A session that may be joined.
#[derive(Clone, Debug)]
struct Place {
    inbox: Arc<Inbox>,
    ports: Arc<[NonZeroU16]>,
}

impl Place {
    fn has_room(&self) -> bool {
        self.inbox.has_room() && self.inbox.busy() < SHARED_BY
    }

    fn join(&self, remote: usize, names: &AtomicU64) -> Option<Link> {
        let port = *self.ports.get(remote)?;
        let name = Connection(names.fetch_add(1, Ordering::Relaxed));
        Some(self.inbox.open(name, port))
    }
}

#[derive(Debug)]
struct Ask {
    remote: usize,
    reply: oneshot::Sender<Result<Link>>,
}

impl Exchange {
    /// Returns a link to a session, which may still be refused or lost.
    ///
    /// # Errors
    /// `NotStarted` without a session for as long as is held; `Closed` when all is over.
    pub(super) async fn link(&self, remote: usize) -> Result<Link> {
        if let Some(link) = self.join(remote) {
            return Ok(link);
        }
        let (reply, answer) = oneshot::channel();
        let over = || Error::new(ErrorKind::Closed, "the port-forward is closed");
        let asked = self.asks.send(Ask { remote, reply }).await;
        asked.map_err(|_| over())?;
        answer.await.map_err(|_| over())?
    }

    /// Takes a place at once, where there is one.
    fn join(&self, remote: usize) -> Option<Link> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let places = open.iter().filter(|place| place.has_room());
        let place = places.min_by_key(|place| place.inbox.busy())?;
        place.join(remote, &self.names)
    }
}

struct Waiting {
    ask: Ask,
    pod: Option<String>,
    until: Instant,
    /// Whether a session is being opened for it alone.
    served: bool,
}

struct Session {
    id: u64,
    place: Place,
    pod: String,
    /// With `v4`: the place of its port, and the connection until somebody takes it.
    only: Option<(usize, Link)>,
    /// Its pod may not be used any more.
    gone: bool,
    /// Since when nobody uses it.
    idle: Option<Instant>,
    /// It was told to leave.
    left: bool,
    /// Its drop ends the watch over its pod.
    _watched: oneshot::Sender<()>,
}

impl Session {
    fn is_usable(&self) -> bool {
        !self.gone && !self.left
    }
}

/// A session that is being opened, for which port.
type Opening = BoxFuture<'static, (usize, Result<Opened, Unopened>)>;

/// Whoever hands out sessions.
pub(super) struct Desk {
    route: Arc<dyn Route>,
    options: ForwardOptions,
    teller: Arc<Teller>,
    asks: mpsc::Receiver<Ask>,
    /// What connections may take without asking.
    open: Arc<Mutex<Vec<Place>>>,
    names: Arc<AtomicU64>,
    waiting: VecDeque<Waiting>,
    sessions: Vec<Session>,
    works: JoinSet<(u64, String)>,
    gones: FuturesUnordered<BoxFuture<'static, Option<(u64, String)>>>,
    openings: FuturesUnordered<Opening>,
    /// Is told when a session may have become idle.
    idle: Arc<Notify>,
    protocol: ForwardSubprotocol,
    /// The pod that was used last.
    pod: String,
    next: u64,
    turn: usize,
    /// Since when there is no session to use.
    down: Option<Instant>,
    failures: u32,
    retry: Instant,
    last_error: Option<Error>,
}

impl Desk {
    /// Begins with the first session, which was asked for the first port.
    pub(super) fn new(
        route: Arc<dyn Route>,
        first: Opened,
        options: ForwardOptions,
        teller: Arc<Teller>,
    ) -> Result<(Self, Exchange)> {
        let (sender, asks) = mpsc::channel(ASKS);
        let mut desk = Self {
            route,
            options,
            teller,
            asks,
            open: Arc::default(),
            names: Arc::default(),
            waiting: VecDeque::new(),
            sessions: Vec::new(),
            works: JoinSet::new(),
            gones: FuturesUnordered::new(),
            openings: FuturesUnordered::new(),
            idle: Arc::new(Notify::new()),
            protocol: first.protocol,
            pod: first.pod.clone(),
            next: 0,
            turn: 0,
            down: None,
            failures: 0,
            retry: Instant::now(),
            last_error: None,
        };
        let pod = first.pod.clone();
        desk.begin(0, first)?;
        desk.teller.tell(ForwardEvent::Ready { pod, away: None });
        let exchange = Exchange {
            asks: sender,
            open: Arc::clone(&desk.open),
            names: Arc::clone(&desk.names),
        };
        desk.show();
        Ok((desk, exchange))
    }

    /// Hands out sessions until nobody asks any more.
    ///
    /// # Errors
    /// Why there is none, and will be none.
    pub(super) async fn run(&mut self) -> Result<()> {
        loop {
            self.serve();
            self.open_more();
            self.show();
            let next = self.next_time();
            let timer = async {
                match next {
                    Some(when) => sleep_until(when).await,
                    None => future::pending().await,
                }
            };
            tokio::select! {
                ask = self.asks.recv() => match ask {
                    Some(ask) => self.admit(ask),
                    None => return Ok(()),
                },
                Some(over) = self.works.join_next() => {
                    let (id, why) = over.map_err(|error| {
                        Error::new(ErrorKind::Internal, "a session panicked").caused_by(error)
                    })?;
                    self.ended(id, why)?;
                }
                Some(gone) = self.gones.next() => if let Some((id, why)) = gone {
                    self.gone(id, why)?;
                },
                Some((remote, opened)) = self.openings.next() => match opened {
                    Ok(opened) => self.opened(remote, opened)?,
                    Err(unopened) => self.unopened(unopened)?,
                },
                () = self.idle.notified() => {}
                () = timer => {}
            }
            self.sweep();
        }
    }

    /// Says goodbye to all sessions, and to all who wait.
    pub(super) async fn leave(mut self) {
        self.asks.close();
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        self.waiting.clear();
        for session in &mut self.sessions {
            session.only = None;
            session.place.inbox.leave();
        }
        let all = async { while self.works.join_next().await.is_some() {} };
        // Whoever has not listened by now is told nothing.
        let _ = timeout(FAREWELL, all).await;
    }

    fn usable(&self) -> impl Iterator<Item = &Session> {
        self.sessions.iter().filter(|session| session.is_usable())
    }

    /// Tells whether there is a session that takes more than one connection.
    fn shares(&self) -> bool {
        self.protocol == ForwardSubprotocol::Tunnel && self.usable().next().is_some()
    }

    // Asking

    /// Shows the sessions that connections may take without asking.
    fn show(&self) {
        let free = self.protocol == ForwardSubprotocol::Tunnel && self.options.balance.is_none();
        let usable = self.usable().filter(|_| free);
        let places = usable.map(|session| session.place.clone()).collect();
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = places;
    }

    fn admit(&mut self, ask: Ask) {
        let pod = self.choose();
        self.waiting.push_back(Waiting {
            ask,
            pod,
            until: Instant::now() + self.options.hold,
            served: false,
        });
    }

    /// The pod that is next, where connections are spread over pods.
    fn choose(&mut self) -> Option<String> {
        let balance = self.options.balance?;
        let pods = self.route.pods();
        let load = |pod: &String| {
            let of_pod = self.usable().filter(|session| session.pod == *pod);
            let busy = of_pod.map(|session| session.place.inbox.busy());
            let waiting = self.waiting.iter();
            let waiting = waiting.filter(|other| other.pod.as_ref() == Some(pod));
            busy.sum::<usize>() + waiting.count()
        };
        let chosen = match balance {
            Balance::Least => pods.iter().min_by_key(|pod| load(pod)),
            Balance::RoundRobin => pods.get(self.turn % pods.len().max(1)),
        };
        let chosen = chosen.cloned();
        self.turn = self.turn.wrapping_add(1);
        chosen
    }

    fn serve(&mut self) {
        let now = Instant::now();
        for mut waiting in std::mem::take(&mut self.waiting) {
            if waiting.ask.reply.is_closed() {
                continue;
            }
            let late = now >= waiting.until;
            if late {
                waiting.pod = None;
            }
            match self.find(&waiting, late) {
                // Whoever asked may have left meanwhile: then its link is dropped.
                Some(link) => drop(waiting.ask.reply.send(Ok(link))),
                None if late => drop(waiting.ask.reply.send(Err(self.unserved()))),
                None => self.waiting.push_back(waiting),
            }
        }
    }

    /// Takes a place in a session; in a full one, too, when it is `late`.
    fn find(&mut self, waiting: &Waiting, late: bool) -> Option<Link> {
        let remote = waiting.ask.remote;
        if self.protocol == ForwardSubprotocol::V4 {
            let fits = |session: &&mut Session| {
                let port = session.only.as_ref().map(|(port, _)| *port);
                session.is_usable() && port == Some(remote)
            };
            let session = self.sessions.iter_mut().find(fits)?;
            return session.only.take().map(|(_, link)| link);
        }
        let pod = waiting.pod.as_ref();
        let fits = |session: &&mut Session| {
            let room = late || session.place.has_room();
            session.is_usable() && room && pod.is_none_or(|pod| *pod == session.pod)
        };
        let sessions = self.sessions.iter_mut().filter(fits);
        let session = sessions.min_by_key(|session| session.place.inbox.busy())?;
        session.idle = None;
        session.place.join(remote, &self.names)
    }

    fn unserved(&self) -> Error {
        let held = self.options.hold.as_secs_f64();
        let message = format!("there was no session to a pod within {held} s (--hold)");
        let error = Error::new(ErrorKind::NotStarted, message);
        match &self.last_error {
            Some(last) => error.because(last.report()),
            None => error,
        }
    }

    // Opening

    fn open_more(&mut self) {
        if Instant::now() < self.retry || self.openings.len() >= OPENINGS {
            return;
        }
        let tunnel = self.protocol == ForwardSubprotocol::Tunnel;
        let share = if tunnel { SHARED_BY } else { 1 };
        let crowd = self.waiting.len().div_ceil(share);
        let missing = match tunnel {
            true => self.options.sessions.saturating_sub(self.usable().count()),
            false => 0,
        };
        // While nothing can be opened one try tells enough.
        let most = if self.failures > 0 { 1 } else { OPENINGS };
        let wanted = crowd.max(missing).min(most);
        for _ in self.openings.len()..wanted {
            let next = self.waiting.iter_mut().find(|waiting| !waiting.served);
            let (remote, pod) = match next {
                Some(waiting) => {
                    waiting.served = true;
                    (waiting.ask.remote, waiting.pod.clone())
                }
                None => (0, None),
            };
            let route = Arc::clone(&self.route);
            self.openings.push(Box::pin(async move {
                (remote, route.open(remote, pod.as_deref()).await)
            }));
        }
    }

    fn opened(&mut self, remote: usize, opened: Opened) -> Result<()> {
        self.failures = 0;
        self.last_error = None;
        self.protocol = opened.protocol;
        self.pod.clone_from(&opened.pod);
        if let Some(since) = self.down.take() {
            let (pod, away) = (opened.pod.clone(), Some(since.elapsed()));
            self.teller.reconnected();
            self.teller.tell(ForwardEvent::Ready { pod, away });
        }
        self.begin(remote, opened)
    }

    fn begin(&mut self, remote: usize, mut opened: Opened) -> Result<()> {
        self.next += 1;
        let id = self.next;
        let protocol = opened.protocol;
        self.teller.travels(protocol);
        let (pod, ports) = (opened.pod.clone(), opened.ports.clone().into());
        let gone = std::mem::replace(&mut opened.gone, Box::pin(future::pending()));
        let (limits, half_close) = (self.options.limits, self.options.half_close);
        let running = run::start(opened, remote, limits, half_close, Arc::clone(&self.idle))?;
        let work = running.work;
        self.works.spawn(async move { (id, work.await) });
        let (watched, ended) = oneshot::channel::<()>();
        if protocol == ForwardSubprotocol::Tunnel {
            self.gones.push(Box::pin(async move {
                tokio::select! {
                    why = gone => Some((id, why)),
                    _ = ended => None,
                }
            }));
        }
        self.sessions.push(Session {
            id,
            place: Place {
                inbox: running.inbox,
                ports,
            },
            pod,
            only: running.only.map(|link| (remote, link)),
            gone: false,
            idle: None,
            left: false,
            _watched: watched,
        });
        Ok(())
    }

    fn unopened(&mut self, unopened: Unopened) -> Result<()> {
        let Unopened { error, lasting } = unopened;
        self.failures += 1;
        let doubled = BACK_OFF.0 * 2u32.saturating_pow(self.failures.min(8) - 1);
        self.retry = Instant::now() + doubled.min(BACK_OFF.1);
        self.last_error = Some(error.clone());
        for waiting in &mut self.waiting {
            waiting.pod = None;
            waiting.served = false;
        }
        if self.shares() {
            // Those who wait share what there is.
            let now = Instant::now();
            self.waiting
                .iter_mut()
                .for_each(|waiting| waiting.until = now);
            return Ok(());
        }
        let out_of_tries = match self.options.reconnect {
            Reconnect::Auto => false,
            Reconnect::Never => true,
            Reconnect::Times(times) => self.failures > times,
        };
        if lasting || out_of_tries {
            return Err(error);
        }
        self.fall(error.report())
    }

    // Losing

    fn gone(&mut self, id: u64, why: String) -> Result<()> {
        let session = self.sessions.iter_mut().find(|session| session.id == id);
        match session {
            Some(session) if self.options.reconnect != Reconnect::Never => session.gone = true,
            _ => return Ok(()),
        }
        match self.shares() {
            false => self.fall(why),
            true => Ok(()),
        }
    }

    fn ended(&mut self, id: u64, why: String) -> Result<()> {
        let place = self.sessions.iter().position(|session| session.id == id);
        let Some(session) = place.map(|place| self.sessions.swap_remove(place)) else {
            return Ok(());
        };
        let needed = session.is_usable() && self.protocol == ForwardSubprotocol::Tunnel;
        match needed && !self.shares() {
            true => self.fall(why),
            false => Ok(()),
        }
    }

    /// There is no session to use any more.
    fn fall(&mut self, why: String) -> Result<()> {
        if self.options.reconnect == Reconnect::Never {
            return Err(Error::new(ErrorKind::Lost, "lost connection to pod").because(why));
        }
        if self.down.is_none() {
            self.down = Some(Instant::now());
            let pod = self.pod.clone();
            self.teller.tell(ForwardEvent::Reconnecting { pod, why });
        }
        Ok(())
    }

    /// Leaves the sessions that nobody uses or needs.
    fn sweep(&mut self) {
        let now = Instant::now();
        if self.protocol == ForwardSubprotocol::V4 {
            return;
        }
        let mut needed = self.options.sessions;
        for session in self.sessions.iter_mut().filter(|session| !session.left) {
            let used = session.place.inbox.links() > 0;
            let kept = !session.gone && needed > 0;
            needed -= usize::from(kept);
            if used || kept {
                session.idle = None;
                continue;
            }
            let since = *session.idle.get_or_insert(now);
            if session.gone || now >= since + IDLE {
                session.left = true;
                session.place.inbox.leave();
            }
        }
    }

    fn next_time(&self) -> Option<Instant> {
        let held = self.waiting.iter().map(|waiting| waiting.until);
        let idle = self.sessions.iter().filter(|session| !session.left);
        let idle = idle.filter_map(|session| session.idle.map(|since| since + IDLE));
        // One that may be tried again, or more that are wanted.
        let missing = self.usable().count() < self.options.sessions || !self.waiting.is_empty();
        let retry = (missing && self.openings.is_empty()).then_some(self.retry);
        let retry = retry.filter(|when| *when > Instant::now());
        held.chain(idle).chain(retry).min()
    }
}
