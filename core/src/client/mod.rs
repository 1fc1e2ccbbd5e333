//! Whom we reach: kubeconfig, credentials, pods, the upgrade handshake.
//!
//! - `config`, `notice`: what a caller sets, and what a caller is told
//! - `kubeconfig`, `settings`, `impersonation`: from files and options to an address, a trust and an identity
//! - `credentials`, `plugin`, `credential`, `tls`: that identity, kept fresh
//! - `proxy`, `tunnel`, `connector`, `transport`: one connection, one request
//! - `server`, `refusal`, `dial`: requests with an identity, what refusals mean, the upgrade
//! - `target`, `pod`, `resolve`: which pod, which container; `watch`: what becomes of pods
//! - `logs`: the log of a container
//! - `forward`: a port-forward
//! - `open`: a session in it; `confirm`, `ended`: what its status was worth

mod config;
mod confirm;
mod connector;
mod credential;
mod credentials;
mod dial;
mod ended;
mod forward;
mod impersonation;
mod kubeconfig;
mod logs;
mod notice;
mod open;
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
mod watch;

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use self::config::Environment;
use self::open::Work;
use self::server::Server;
use self::settings::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::request::{AttachOptions, ExecOptions};
use crate::session::process::Process;

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
        let version: Version = self.server.object("/version", &[], None).await?;
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
        let command = command.into_iter().map(Into::into).collect();
        self.open(target, Work::Exec(command), options).await
    }

    /// Joins the main process of a container of `POD` or `TYPE/NAME`: its output from now on, and
    /// its input where it has one. Its end is the exit code in the status of the pod; a stream that
    /// ends while the container runs on is an error of kind `Lost`.
    ///
    /// A terminal is used where the container has one, whatever [`ExecOptions::tty`] says;
    /// [`Process::has_terminal`] tells. `preflight` and `verify` have no effect.
    ///
    /// # Errors
    /// As [`exec`](Self::exec); `Invalid` when input is wanted and the container was made without.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection; the process is not touched.
    pub async fn attach(&self, target: &str, options: AttachOptions) -> Result<Process> {
        let streams = options.streams.preflight(true);
        self.open(target, Work::Attach, streams).await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("namespace", &self.namespace())
            .finish_non_exhaustive()
    }
}
