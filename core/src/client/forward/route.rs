//! From a target to a session with one of its pods, as often as one is needed.
//!
//! Lives here: which pod, how long one is waited for, one upgrade. Never here: back-off, connections.

use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout, timeout_at};

use super::keeper::{Keeper, Pods, Rule};
use super::ports::Ports;
use crate::client::dial::{Dialer, Purpose};
use crate::client::notice::Notice;
use crate::client::pod::Pod;
use crate::client::server::{Server, unusable};
use crate::client::target::Target;
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::portforward::request::portforward;
use crate::protocol::portforward::{ForwardOptions, ForwardProtocol, ForwardSubprotocol};
use crate::protocol::request::PodRef;
use crate::session::forward::{Opened, Route, Unopened, Wanted};
use crate::session::transport::{Dial, Io};

/// How long a server that is away is waited for before that is said.
const OUTAGE: Duration = Duration::from_secs(2);
/// How long a look at the pods does for sessions that are opened in place of others.
const FRESH: Duration = Duration::from_secs(5);

/// The way to the pods of a target.
pub(in crate::client) struct Way {
    server: Arc<Server>,
    namespace: String,
    target: Target,
    ports: Ports,
    options: ForwardOptions,
    keeper: Keeper,
    dialer: Arc<Dialer>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The identity of the pod of the last session.
    last: Option<String>,
    /// Since when there is no pod that may be used, while that is known.
    without: Option<Instant>,
    /// What was told of the waiting for one.
    told: Option<String>,
    /// Since when the server refuses.
    refused: Option<Instant>,
    /// When the server did not answer, and how that was told.
    away: Option<(Instant, Error)>,
    /// When the pods were looked at for a session in place of another.
    looked: Option<Instant>,
}

/// A pod, and the numbers in it of the ports that were asked for.
pub(in crate::client) struct Chosen {
    pub(super) pod: Pod,
    pub(in crate::client) numbers: Vec<NonZeroU16>,
}

impl Way {
    /// Begins to watch the pods.
    pub(super) fn new(
        server: Arc<Server>,
        namespace: String,
        target: Target,
        ports: Ports,
        options: ForwardOptions,
        pods: Pods,
    ) -> Self {
        Self {
            keeper: Keeper::start(&server, options.limits, pods),
            dialer: Arc::new(Dialer::new(Arc::clone(&server), options.limits)),
            state: Mutex::default(),
            server,
            namespace,
            target,
            ports,
            options,
        }
    }

    pub(super) const fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Returns what to listen on for ports with these numbers.
    pub(in crate::client) fn wanted(&self, numbers: &[NonZeroU16]) -> Vec<Wanted> {
        let locals = self.ports.local(numbers);
        let all = numbers.iter().zip(locals).enumerate();
        all.map(|(remote, (number, local))| Wanted {
            target: self.target.to_string(),
            remote,
            number: number.get(),
            local,
        })
        .collect()
    }

    /// Waits for a pod that may be used: the one of the last session while that goes, or the one that is
    /// named, which is not waited for.
    ///
    /// # Errors
    /// `NotStarted` when none comes in time before the first session, `Lost` after it; what the ports
    /// are in no pod.
    pub(in crate::client) async fn choose(&self, named: Option<&str>) -> Result<Chosen, Unopened> {
        let mut view = self.keeper.view();
        // How often pods had been looked at, and until when they are once more, at the end of the wait.
        let mut last = None;
        loop {
            let (why, away, looks) = {
                let view = view.borrow_and_update();
                let found = match named {
                    Some(name) => view.usable().find(|pod| pod.metadata.name == name),
                    None => view.pick(self.state().last.as_deref()),
                };
                if let Some(pod) = found {
                    let numbers = self.ports.in_pod(pod).map_err(|error| self.judged(error))?;
                    let pod = pod.clone();
                    let mut state = self.state();
                    (state.without, state.told) = (None, None);
                    return Ok(Chosen { pod, numbers });
                }
                if let Some(name) = named {
                    let message = format!("pod {name} may not be used any more");
                    return Err(passing(Error::new(ErrorKind::Lost, message)));
                }
                self.check_for_ever(view.only())?;
                (view.why_none(), view.away.clone(), view.looks)
            };
            let deadline = match away {
                // What is known is old, so that the wait does not run.
                Some(why) if self.had_one() => {
                    self.state().without = None;
                    let error = Error::new(ErrorKind::Lost, "the server cannot be reached");
                    return Err(passing(error.because(why)));
                }
                _ => self.waits(&why),
            };
            let deadline = match last {
                Some((before, _)) if looks > before => return Err(lasting(self.too_late(why))),
                Some((_, until)) => until,
                None => deadline,
            };
            match timeout_at(deadline, view.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => {
                    let error = Error::new(ErrorKind::Internal, "nobody looks for pods any more");
                    return Err(lasting(error));
                }
                // The watch may have died in silence.
                Err(_) if last.is_none() => {
                    self.keeper.doubt();
                    last = Some((looks, Instant::now() + self.options.limits.connect));
                }
                Err(_) if self.had_one() => {
                    let error = Error::new(ErrorKind::Lost, "the server does not answer");
                    return Err(passing(error.because("it was asked for the pods")));
                }
                Err(_) => return Err(lasting(self.too_late(why))),
            }
        }
    }

    /// Returns when the waiting has an end; says that it waits.
    fn waits(&self, why: &str) -> Instant {
        let limit = self.limit();
        let mut state = self.state();
        state.refused = None;
        if state.told.as_deref() != Some(why) {
            state.told = Some(why.to_owned());
            self.server.tell(&Notice::Waiting {
                target: self.target.to_string(),
                reason: why.to_owned(),
            });
        }
        *state.without.get_or_insert_with(Instant::now) + limit
    }

    fn limit(&self) -> Duration {
        match self.had_one() {
            true => self.options.wait,
            false => self.options.pod_running_timeout,
        }
    }

    /// A pod that is named and has ended does not come back; once there was a session, another of its
    /// name may.
    fn check_for_ever(&self, pod: Option<&Pod>) -> Result<(), Unopened> {
        let (Target::Pod(_), Some(pod), false) = (&self.target, pod, self.had_one()) else {
            return Ok(());
        };
        match pod.phase() {
            phase @ ("Succeeded" | "Failed") => {
                let error = Error::new(ErrorKind::NotStarted, not_running(phase));
                Err(lasting(error.because("the pod has ended")))
            }
            _ => Ok(()),
        }
    }

    fn too_late(&self, why: String) -> Error {
        let (target, limit) = (&self.target, self.limit());
        let ready = match self.rule() {
            Rule::Ready => "ready",
            Rule::Running => "running",
        };
        let error = match (target, self.had_one()) {
            (Target::Pod(_), false) => {
                let phase = self
                    .keeper
                    .view()
                    .borrow()
                    .only()
                    .map(|pod| pod.phase().to_owned());
                let message = not_running(phase.as_deref().unwrap_or("Unknown"));
                let why = format!("after {limit:?} (--pod-running-timeout): {why}");
                return Error::new(ErrorKind::NotStarted, message).because(why);
            }
            (Target::Pod(_), true) => {
                let message = format!("{target} did not come back within {limit:?} (--wait)");
                Error::new(ErrorKind::Lost, message)
            }
            (Target::Workload(..), false) => {
                let message = format!(
                    "no pod of {target} is {ready} within {limit:?} (--pod-running-timeout)"
                );
                Error::new(ErrorKind::NotStarted, message)
            }
            (Target::Workload(..), true) => {
                let message =
                    format!("no pod of {target} became {ready} within {limit:?} (--wait)");
                Error::new(ErrorKind::Lost, message)
            }
        };
        let unready = self.keeper.view().borrow().only().is_some();
        let error = error.because(why);
        match self.rule() {
            Rule::Ready if unready => error
                .remedy("--require-ready=false   # takes a pod that is not ready, as kubectl does"),
            _ => error,
        }
    }

    fn rule(&self) -> Rule {
        rule(&self.target, &self.options)
    }

    async fn reach(&self, remote: usize, named: Option<&str>) -> Result<Opened, Unopened> {
        self.pass_gate().await?;
        let Chosen { pod, numbers } = self.choose(named).await?;
        let Some(port) = numbers.get(remote).copied() else {
            return Err(lasting(Error::new(ErrorKind::Internal, "no such port")));
        };
        let name = pod.metadata.name.clone();
        let request = portforward(&PodRef::new(&self.namespace, &name), port);
        let request = request.map_err(|error| lasting(unusable(error)))?;
        let offers = self.options.protocol.offers();
        let names: Vec<_> = offers.iter().map(|offer| offer.name()).collect();
        let shaken = self.dialer.shake(request, &names, Purpose::Forward).await;
        let (io, chosen): (Box<dyn Io>, _) = shaken.map_err(|error| self.failed(error))?;
        let protocol = chosen.and_then(|index| offers.get(index).copied());
        let Some(protocol) = protocol else {
            let error = Error::new(ErrorKind::Internal, "an upgrade without a subprotocol");
            return Err(lasting(error));
        };
        self.have(&pod, protocol);
        Ok(Opened {
            io,
            protocol,
            pod: name,
            ports: numbers,
            gone: self.keeper.gone(&pod),
            dial: Arc::clone(&self.dialer) as Arc<dyn Dial>,
        })
    }

    /// Takes that there is a session.
    ///
    /// A tunnel in place of another may follow a silence that the watch has not survived either: after
    /// a sleep of this machine it would tell for a minute that nothing has changed.
    fn have(&self, pod: &Pod, protocol: ForwardSubprotocol) {
        let mut state = self.state();
        let now = Instant::now();
        let fresh = state.looked.is_some_and(|looked| now < looked + FRESH);
        if state.last.is_some() && protocol == ForwardSubprotocol::Tunnel && !fresh {
            state.looked = Some(now);
            self.keeper.doubt();
        }
        state.last = Some(pod.metadata.uid.clone());
        (state.refused, state.away) = (None, None);
    }

    /// Waits a little for a server that did not answer the last time: together with all others of this
    /// client, one of which knocks.
    async fn pass_gate(&self) -> Result<(), Unopened> {
        let Some((since, error)) = self.state().away.clone() else {
            return Ok(());
        };
        match timeout(OUTAGE, self.server.reachable(since)).await {
            Ok(()) => {
                self.state().away = None;
                Ok(())
            }
            Err(_) => Err(passing(error)),
        }
    }

    /// Judges an upgrade that failed.
    fn failed(&self, error: Error) -> Unopened {
        let unanswered = matches!(error.kind(), ErrorKind::NotStarted | ErrorKind::Lost);
        if unanswered && error.http_status().is_none() {
            let mut state = self.state();
            // Refusals from before tell nothing of the server that comes back.
            (state.refused, state.away) = (None, Some((Instant::now(), error.clone())));
        } else {
            // What is known of the pod may be old.
            self.keeper.doubt();
        }
        self.judged(match (error.kind(), self.options.protocol) {
            (ErrorKind::Unsupported, ForwardProtocol::Auto) => {
                error.remedy("--protocol v4   # or tunnel: offers one of them alone")
            }
            (ErrorKind::Unsupported, _) => error.remedy("--protocol auto   # offers both"),
            _ => error,
        })
    }

    /// Tells whether an error lasts: those that look so, too, may be of a server that is still starting.
    fn judged(&self, error: Error) -> Unopened {
        let last = match error.kind() {
            ErrorKind::Config | ErrorKind::Internal => true,
            // Without an answer it is the work of a plugin, which needs the network, too.
            ErrorKind::Auth => error.http_status().is_some() && self.is_final(),
            ErrorKind::Forbidden
            | ErrorKind::Invalid
            | ErrorKind::NotFound
            | ErrorKind::Protocol
            | ErrorKind::Unsupported => self.is_final(),
            _ => false,
        };
        Unopened {
            lasting: last,
            error,
        }
    }

    /// Tells whether refusals have gone on for as long as a pod is waited for. Before the first session
    /// one is enough.
    fn is_final(&self) -> bool {
        let mut state = self.state();
        let since = *state.refused.get_or_insert_with(Instant::now);
        state.last.is_none() || since.elapsed() >= self.options.wait
    }

    fn had_one(&self) -> bool {
        self.state().last.is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Route for Way {
    fn open(
        &self,
        remote: usize,
        pod: Option<&str>,
    ) -> BoxFuture<'_, std::result::Result<Opened, Unopened>> {
        let pod = pod.map(str::to_owned);
        Box::pin(async move { self.reach(remote, pod.as_deref()).await })
    }

    fn pods(&self) -> Vec<String> {
        self.keeper.view().borrow().spread()
    }
}

/// Returns which pods of a target may be used.
pub(super) fn rule(target: &Target, options: &ForwardOptions) -> Rule {
    match target {
        Target::Workload(..) if options.require_ready => Rule::Ready,
        _ => Rule::Running,
    }
}

/// kubectl pkg/cmd/portforward/portforward.go: the same words.
fn not_running(phase: &str) -> String {
    format!("unable to forward port because pod is not running. Current status={phase}")
}

const fn lasting(error: Error) -> Unopened {
    Unopened {
        error,
        lasting: true,
    }
}

const fn passing(error: Error) -> Unopened {
    Unopened {
        error,
        lasting: false,
    }
}
