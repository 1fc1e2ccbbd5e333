//! What is arranged for the ports of one pod, and what has become of them.
//!
//! Lives here: faults to come, where ports lead, who is connected, counts. Never here: their doing.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use super::faults::{Faults, How};
use super::ports::Leads;

/// All pods that were asked for or arranged.
#[derive(Default)]
pub(crate) struct Forwards {
    sites: Mutex<HashMap<String, Arc<Site>>>,
}

/// The arrangements of one pod, by namespace and name: another pod of that name has the same.
pub(crate) struct Site {
    state: Mutex<State>,
    counts: Mutex<Counts>,
    /// sessions and connections --something was counted--> the control that waits
    counted_tx: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    protocols: Protocols,
    standing: Faults,
    next: VecDeque<Faults>,
    ports: BTreeMap<u16, Leads>,
    runtime: Runtime,
    end: End,
    /// control --how to end--> sessions
    sessions: Vec<mpsc::Sender<Order>>,
}

/// An end, and who waits until it is done.
pub(super) type Order = (How, oneshot::Sender<()>);

/// What the server offers.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Protocols {
    /// What its version has.
    #[default]
    Both,
    None,
    Tunnel,
    V4,
}

/// What becomes of a client's half-close.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Runtime {
    /// containerd and CRI-O: the pod does not hear of it, and after a second both directions are closed.
    #[default]
    Grace,
    /// As `Grace`, and the data stream has ended before the text of a refused port (containerd 1.7).
    EarlyEnd,
    /// The pod hears of it, and has all the time it wants.
    HalfClose,
}

/// How connections end with their container.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum End {
    #[default]
    Fin,
    Rst,
}

/// What has been counted for one pod.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Counts {
    /// WebSockets that are open, and all there were.
    pub(super) sessions: u64,
    pub(super) sessions_total: u64,
    /// What clients said in tunnels.
    pub(super) streams: u64,
    pub(super) pings: u64,
    pub(super) resets: u64,
    pub(super) goaways: u64,
    pub(super) ports: BTreeMap<u16, Traffic>,
}

/// What has gone through one port.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Traffic {
    /// Connections with the pod that are open, and all there were.
    pub(super) open: u64,
    pub(super) total: u64,
    /// Bytes to the pod and from it, of connections that have ended.
    pub(super) to_pod: u64,
    pub(super) from_pod: u64,
}

/// A session that is counted while it lives.
pub(super) struct Session {
    site: Arc<Site>,
    pub(super) orders_rx: mpsc::Receiver<Order>,
}

/// A connection with a pod that is counted while it lives.
pub(super) struct Connected {
    site: Arc<Site>,
    port: u16,
    pub(super) to_pod: AtomicU64,
    pub(super) from_pod: AtomicU64,
}

impl Forwards {
    /// The site of a pod, made when nobody has asked for it yet.
    pub(crate) fn site(&self, namespace: &str, pod: &str) -> Arc<Site> {
        let mut sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        let made = sites
            .entry(format!("{namespace}/{pod}"))
            .or_insert_with(|| {
                Arc::new(Site {
                    state: Mutex::default(),
                    counts: Mutex::default(),
                    counted_tx: watch::Sender::new(()),
                })
            });
        made.clone()
    }
}

impl Site {
    pub(super) fn protocols(&self) -> Protocols {
        self.state().protocols
    }

    pub(super) fn set_protocols(&self, protocols: Protocols) {
        self.state().protocols = protocols;
    }

    /// The faults of the session that begins now.
    pub(super) fn faults(&self) -> Faults {
        let mut state = self.state();
        let next = state.next.pop_front();
        next.unwrap_or_else(|| state.standing.clone())
    }

    /// All sessions from now on, but for those that something else is arranged for.
    pub(super) fn set_faults(&self, faults: Faults) {
        self.state().standing = faults;
    }

    /// One session more.
    pub(super) fn add_faults(&self, faults: Faults) {
        self.state().next.push_back(faults);
    }

    pub(super) fn leads(&self, port: u16) -> Leads {
        let arranged = self.state().ports.get(&port).copied();
        arranged.unwrap_or_else(|| Leads::by_default(port))
    }

    pub(super) fn lead(&self, port: u16, leads: Leads) {
        self.state().ports.insert(port, leads);
    }

    pub(super) fn runtime(&self) -> Runtime {
        self.state().runtime
    }

    pub(super) fn set_runtime(&self, runtime: Runtime) {
        self.state().runtime = runtime;
    }

    pub(super) fn end(&self) -> End {
        self.state().end
    }

    pub(super) fn set_end(&self, end: End) {
        self.state().end = end;
    }

    /// Ends all sessions that there are, and tells how many when it is done.
    pub(super) async fn cut(&self, how: &How) -> usize {
        let sessions = std::mem::take(&mut self.state().sessions);
        let mut done = Vec::new();
        for session in sessions {
            let (done_tx, done_rx) = oneshot::channel();
            if session.send((how.clone(), done_tx)).await.is_ok() {
                done.push(done_rx);
            }
        }
        let mut count = 0;
        for done_rx in done {
            // One that ended by itself was not cut.
            count += usize::from(done_rx.await.is_ok());
        }
        count
    }

    /// Counts a session that begins.
    pub(super) fn begin(self: &Arc<Self>) -> Session {
        let (orders_tx, orders_rx) = mpsc::channel(1);
        let mut state = self.state();
        state.sessions.retain(|session| !session.is_closed());
        state.sessions.push(orders_tx);
        drop(state);
        self.count(|counts| {
            counts.sessions += 1;
            counts.sessions_total += 1;
        });
        Session {
            site: self.clone(),
            orders_rx,
        }
    }

    /// Counts a connection with the pod.
    pub(super) fn connected(self: &Arc<Self>, port: u16) -> Connected {
        self.count(|counts| {
            let traffic = counts.ports.entry(port).or_default();
            traffic.open += 1;
            traffic.total += 1;
        });
        Connected {
            site: self.clone(),
            port,
            to_pod: AtomicU64::new(0),
            from_pod: AtomicU64::new(0),
        }
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
        self.counted_tx.send_replace(());
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Resolves when the counts are such.
    pub(super) async fn reaches(&self, wanted: impl Fn(&Counts) -> bool) {
        let mut counted_rx = self.counted_tx.subscribe();
        while !wanted(&self.counts()) {
            // The sender lives in the site.
            let _ = counted_rx.changed().await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.site.count(|counts| counts.sessions -= 1);
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let (to_pod, from_pod) = (
            self.to_pod.load(Ordering::Relaxed),
            self.from_pod.load(Ordering::Relaxed),
        );
        self.site.count(|counts| {
            let traffic = counts.ports.entry(self.port).or_default();
            traffic.open -= 1;
            traffic.to_pod += to_pod;
            traffic.from_pod += from_pod;
        });
    }
}
