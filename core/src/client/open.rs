//! From a target to a running session: exec and attach.
//!
//! Lives here: the order of the steps, and which subprotocol is offered. Never here: each step.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::dial::Dialer;
use super::notice::Notice;
use super::resolve::{self, Resolved};
use super::stage::Stage;
use super::target::{self, Target};
use super::{Client, confirm, ended, server};
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::request::{self, AttachOptions, ExecOptions, PodRef, Verify};
use crate::protocol::subprotocol::Subprotocol;
use crate::session::process::{Process, Setup, Streams};
use crate::session::transport::{Dial, Upgraded};

/// What a session is for.
pub(super) enum Work {
    /// The main process of the container.
    Attach,
    /// A command of its own.
    Exec(Vec<String>),
}

impl Work {
    fn request(
        &self,
        pod: &PodRef,
        container: Option<&str>,
        options: &ExecOptions,
    ) -> Result<http::Request<()>> {
        match self {
            Self::Attach => {
                let streams = options.clone();
                request::attach(pod, container, &AttachOptions { streams })
            }
            Self::Exec(command) => request::exec(pod, container, command, options),
        }
        .map_err(server::unusable)
    }

    /// kubectl pkg/cmd/exec/exec.go, pkg/cmd/attach/attach.go: the words for a pod that has ended.
    pub(super) fn on_completed(&self) -> &'static str {
        match self {
            Self::Attach => "cannot attach a container in a completed pod; current phase is",
            Self::Exec(_) => "cannot exec into a container in a completed pod; current phase is",
        }
    }

    fn stage(&self) -> &'static str {
        match self {
            Self::Attach => "opening the session",
            Self::Exec(_) => "opening the session, in which the command may have started",
        }
    }
}

impl Client {
    pub(super) async fn open(
        &self,
        target: &str,
        work: Work,
        options: ExecOptions,
    ) -> Result<Process> {
        let begin = Instant::now();
        let target = Target::parse(target)?;
        let namespace = options
            .namespace
            .clone()
            .unwrap_or_else(|| self.namespace().to_owned());
        target::checked_namespace(&namespace)?;
        let limit = options.timeout;
        let stage = Stage::new("looking for the pod");
        let starting = self.start(&target, &namespace, &work, options, &stage, begin);
        let Some(limit) = limit else {
            return starting.await;
        };
        timeout_at(begin + limit, starting)
            .await
            .unwrap_or_else(|_| {
                let message = "the time limit passed before the session was open (--timeout)";
                let why = format!("after {limit:?} it was still {}", stage.name());
                Err(Error::new(ErrorKind::Timeout, message).because(why))
            })
    }

    async fn start(
        &self,
        target: &Target,
        namespace: &str,
        work: &Work,
        mut options: ExecOptions,
        stage: &Stage,
        begin: Instant,
    ) -> Result<Process> {
        // What cannot be asked is refused before anything is sent.
        check(&options)?;
        work.request(&PodRef::new(namespace, "x"), None, &options)?;

        let resolved =
            resolve::resolve(&self.server, target, namespace, work, &options, stage).await?;
        if matches!(work, Work::Attach) {
            self.fit(&resolved, &mut options)?;
        }
        stage.enter(work.stage());
        let dialer: Arc<dyn Dial> = Arc::new(Dialer::new(Arc::clone(&self.server), options.limits));
        let upgraded = self.upgrade(&*dialer, &resolved, work, &options).await?;
        let Some(subprotocol) = upgraded.subprotocol else {
            return Err(Error::new(
                ErrorKind::Internal,
                "an upgrade without a subprotocol",
            ));
        };
        let stderr = options.stderr && !options.tty;
        let streams = Streams::new(options.stdin, options.stdout, stderr, options.tty);
        let mut setup = Setup::new(subprotocol, streams, dialer);
        setup.size = options.size.filter(|_| options.tty);
        setup.limits = options.limits;
        setup.deadline = options.timeout.map(|limit| begin + limit);
        let server = Arc::clone(&self.server);
        setup.confirm = match work {
            Work::Attach => Some(Box::pin(ended::ended(server, resolved))),
            Work::Exec(_)
                if subprotocol.success_needs_proof() && options.verify == Verify::Auto =>
            {
                Some(Box::pin(confirm::confirm(server, resolved, Instant::now())))
            }
            Work::Exec(_) => None,
        };
        Ok(Process::start(upgraded, setup))
    }

    /// Fits what is asked for to what the container was made with.
    ///
    /// Input for a container without it wedges the server (protocol.md 2.8), so that is refused here.
    fn fit(&self, resolved: &Resolved, options: &mut ExecOptions) -> Result<()> {
        let container = resolved.container.as_deref().unwrap_or_default();
        if options.stdin && !resolved.stdin {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("container {container} was made without stdin"),
            )
            .because(format!(
                "spec.containers[{container}].stdin is false: attach can only show its output"
            ))
            .remedy("attach without -i"));
        }
        if options.tty && !resolved.tty {
            let container = container.to_owned();
            self.server.tell(&Notice::NoTerminal { container });
        }
        options.tty = resolved.tty;
        self.server.tell(&Notice::Attaching {
            pod: resolved.pod.name.clone(),
            container: container.to_owned(),
        });
        Ok(())
    }

    /// Offers one subprotocol after the other, each alone, until one is not refused.
    async fn upgrade(
        &self,
        dialer: &dyn Dial,
        resolved: &Resolved,
        work: &Work,
        options: &ExecOptions,
    ) -> Result<Upgraded> {
        let offers = options.offers();
        let mut next = offers.iter().copied().peekable();
        while let Some(offer) = next.next() {
            let container = resolved.container.as_deref();
            let request = work.request(&resolved.pod, container, options)?;
            match (dialer.upgrade(request, vec![offer]).await, next.peek()) {
                (Err(error), Some(next)) if error.kind() == ErrorKind::Unsupported => {
                    self.server.tell(&Notice::ProtocolFallback {
                        refused: offer,
                        next: *next,
                    });
                }
                (Err(error), None) if error.kind() == ErrorKind::Unsupported => {
                    return Err(match offers {
                        [Subprotocol::V5] => {
                            error.remedy("--protocol v4   # accepts that stdin cannot end")
                        }
                        _ => error,
                    });
                }
                (result, _) => return result,
            }
        }
        Err(Error::new(ErrorKind::Internal, "no subprotocol to offer"))
    }
}

/// Refuses what can only be a mistake: limits that have passed before anything began, a terminal
/// that shows nothing.
fn check(options: &ExecOptions) -> Result<()> {
    let limits = &options.limits;
    let named = [
        ("connect", limits.connect),
        ("keepalive_timeout", limits.keepalive_timeout),
        ("pod_running", options.pod_running_timeout),
        ("stall", limits.stall),
    ];
    if let Some((name, _)) = named.iter().find(|(_, limit)| limit.is_zero()) {
        let message = format!("the {name} time limit must be higher than zero");
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    match options.size {
        Some(size) if size.columns == 0 || size.rows == 0 => Err(Error::new(
            ErrorKind::Invalid,
            format!(
                "a terminal cannot have {} columns and {} rows",
                size.columns, size.rows
            ),
        )),
        _ => Ok(()),
    }
}
