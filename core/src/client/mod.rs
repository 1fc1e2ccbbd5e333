//! Whom we reach: kubeconfig, credentials, pods, the upgrade handshake.
//!
//! - `config`, `notice`: what a caller sets, and what a caller is told
//! - `kubeconfig`, `settings`, `impersonation`: from files and options to an address, a trust and an identity
//! - `credentials`, `plugin`, `credential`, `tls`: that identity, kept fresh
//! - `proxy`, `tunnel`, `connector`, `transport`: one connection, one request
//! - `server`, `refusal`, `dial`: requests with an identity, what refusals mean, the upgrade
//! - `target`, `pod`, `resolve`, `confirm`: which pod, which container, and whether it was there to the end

mod config;
mod confirm;
mod connector;
mod credential;
mod credentials;
mod dial;
mod impersonation;
mod kubeconfig;
mod notice;
mod plugin;
mod pod;
mod proxy;
mod refusal;
mod resolve;
mod server;
mod settings;
mod stage;
mod target;
#[cfg(test)]
mod tests;
mod tls;
mod transport;
mod tunnel;

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use self::config::Environment;
use self::dial::Dialer;
use self::resolve::Resolved;
use self::server::Server;
use self::settings::Settings;
use self::stage::Stage;
use self::target::Target;
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::machine::process::Streams;
use crate::protocol::request::{self, ExecOptions, Verify};
use crate::protocol::subprotocol::Subprotocol;
use crate::session::process::{Process, Setup};
use crate::session::transport::{Dial, Upgraded};

pub use self::config::Config;
pub use self::notice::{Level, Notice, Observer};

/// A cluster that can be entered. Cheap to clone.
///
/// ```no_run
/// # async fn example() -> wsx_core::Result<()> {
/// use wsx_core::{Client, Config, ExecOptions};
///
/// let client = Client::connect(Config::default()).await?;
/// let process = client.exec("deploy/web", ["date"], ExecOptions::default()).await?;
/// # drop(process);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    server: Arc<Server>,
}

impl Client {
    /// Loads the kubeconfig and prepares everything; nothing is sent yet.
    ///
    /// # Errors
    /// `Config` when the kubeconfig, the options or the environment cannot be used.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn connect(config: Config) -> Result<Self> {
        Self::within(config, Environment::of_process()).await
    }

    async fn within(config: Config, environment: Environment) -> Result<Self> {
        // Files may lie on a slow disk.
        let loading = tokio::task::spawn_blocking(move || {
            let settings = Settings::load(&config, &environment);
            (settings, config, environment)
        });
        let (settings, config, environment) = loading.await.map_err(|error| {
            Error::new(ErrorKind::Internal, "the kubeconfig was not loaded").caused_by(error)
        })?;
        let server = Arc::new(Server::new(&config, &environment, settings?)?);
        Ok(Self { server })
    }

    /// Returns the namespace that is used where none is named.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.server.namespace()
    }

    /// Asks the server for its version.
    ///
    /// # Errors
    /// By the answer of the server, `NotStarted` without one.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn version(&self) -> Result<String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Version {
            git_version: String,
        }
        let version: Version = self.server.object("/version", &[]).await?;
        Ok(version.git_version)
    }

    /// Starts a command in a container of `POD` or `TYPE/NAME`.
    ///
    /// The command is sent at most once: nothing is retried after the upgrade request has left.
    ///
    /// # Errors
    /// Kinds for which [`ErrorKind::may_have_started`] is false say that the command did not start.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection; the command may have been started by then.
    pub async fn exec(
        &self,
        target: &str,
        command: impl IntoIterator<Item = impl Into<String>>,
        options: ExecOptions,
    ) -> Result<Process> {
        let begin = Instant::now();
        let command: Vec<String> = command.into_iter().map(Into::into).collect();
        let target = Target::parse(target)?;
        let namespace = options
            .namespace
            .clone()
            .unwrap_or_else(|| self.namespace().to_owned());
        target::checked_namespace(&namespace)?;
        let stage = Stage::new("looking for the pod");
        let starting = self.start(&target, &namespace, &command, &options, &stage, begin);
        let Some(limit) = options.timeout else {
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
        command: &[String],
        options: &ExecOptions,
        stage: &Stage,
        begin: Instant,
    ) -> Result<Process> {
        // What cannot be asked is refused before anything is sent.
        let pod = request::PodRef::new(namespace, "x");
        request::exec(&pod, None, command, options).map_err(server::unusable)?;

        let resolved = resolve::resolve(&self.server, target, namespace, options, stage).await?;
        stage.enter("opening the session, in which the command may have started");
        let dialer: Arc<dyn Dial> = Arc::new(Dialer::new(Arc::clone(&self.server), options.limits));
        let upgraded = self.upgrade(&*dialer, &resolved, command, options).await?;
        let Some(subprotocol) = upgraded.subprotocol else {
            return Err(Error::new(
                ErrorKind::Internal,
                "an upgrade without a subprotocol",
            ));
        };
        let stderr = options.stderr && !options.tty;
        let streams = Streams::new(options.stdin, options.stdout, stderr, options.tty);
        let mut setup = Setup::new(subprotocol, streams, dialer);
        setup.size = options.size;
        setup.limits = options.limits;
        setup.deadline = options.timeout.map(|limit| begin + limit);
        if subprotocol.success_needs_proof() && options.verify == Verify::Auto {
            let looking = confirm::confirm(Arc::clone(&self.server), resolved, Instant::now());
            setup.confirm = Some(Box::pin(looking));
        }
        Ok(Process::start(upgraded, setup))
    }

    /// Offers one subprotocol after the other, each alone, until one is not refused.
    async fn upgrade(
        &self,
        dialer: &dyn Dial,
        resolved: &Resolved,
        command: &[String],
        options: &ExecOptions,
    ) -> Result<Upgraded> {
        let offers = options.offers();
        let mut next = offers.iter().copied().peekable();
        while let Some(offer) = next.next() {
            let container = resolved.container.as_deref();
            let request = request::exec(&resolved.pod, container, command, options)
                .map_err(server::unusable)?;
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

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("namespace", &self.namespace())
            .finish_non_exhaustive()
    }
}
