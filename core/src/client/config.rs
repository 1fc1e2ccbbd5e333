//! What the caller wants to differ from the kubeconfig, and the environment as a value.
//!
//! Lives here: options and the only look at environment variables. Never here: reading kubeconfigs.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;

use super::notice::{Notice, Observer};

/// How to find and enter a cluster. All that is absent comes from the kubeconfig, like with kubectl.
///
/// ```
/// let config = wsx_core::Config::default().context("staging".to_owned()).namespace("web".to_owned());
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    pub(super) certificate_authority: Option<PathBuf>,
    pub(super) client_certificate: Option<PathBuf>,
    pub(super) client_key: Option<PathBuf>,
    pub(super) cluster: Option<String>,
    pub(super) connect_timeout: Duration,
    pub(super) context: Option<String>,
    pub(super) impersonate: Option<String>,
    pub(super) impersonate_extra: Vec<(String, String)>,
    pub(super) impersonate_groups: Vec<String>,
    pub(super) impersonate_uid: Option<String>,
    pub(super) insecure_skip_tls_verify: bool,
    pub(super) kubeconfig: Option<PathBuf>,
    pub(super) kubeconfig_text: Option<SecretString>,
    pub(super) namespace: Option<String>,
    pub(super) observer: Option<Observer>,
    pub(super) password: Option<SecretString>,
    pub(super) request_timeout: Option<Duration>,
    pub(super) server: Option<String>,
    pub(super) tls_server_name: Option<String>,
    pub(super) token: Option<SecretString>,
    pub(super) user: Option<String>,
    pub(super) username: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            certificate_authority: None,
            client_certificate: None,
            client_key: None,
            cluster: None,
            connect_timeout: Duration::from_secs(10),
            context: None,
            impersonate: None,
            impersonate_extra: Vec::new(),
            impersonate_groups: Vec::new(),
            impersonate_uid: None,
            insecure_skip_tls_verify: false,
            kubeconfig: None,
            kubeconfig_text: None,
            namespace: None,
            observer: None,
            password: None,
            request_timeout: None,
            server: None,
            tls_server_name: None,
            token: None,
            user: None,
            username: None,
        }
    }
}

/// Writes one setter a field: the option's own name, the value as it is.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        $($(#[$doc])* #[must_use] pub fn $name(mut self, $name: impl Into<$type>) -> Self {
            self.$name = $name.into();
            self
        })*
    };
}

impl Config {
    setters! {
        /// Sets the file with the certificate authority of the server; it replaces all others.
        certificate_authority: Option<PathBuf>,
        /// Sets the file with the client certificate.
        client_certificate: Option<PathBuf>,
        /// Sets the file with the key of the client certificate.
        client_key: Option<PathBuf>,
        /// Sets the cluster by its name in the kubeconfig.
        cluster: Option<String>,
        /// Sets the limit of each stage before an answer, 10 s by default.
        connect_timeout: Duration,
        /// Sets the context by its name in the kubeconfig.
        context: Option<String>,
        /// Sets the user to act as.
        impersonate: Option<String>,
        /// Sets what else to say of the user to act as: pairs of key and value.
        impersonate_extra: Vec<(String, String)>,
        /// Sets the groups to act as a member of.
        impersonate_groups: Vec<String>,
        /// Sets the UID to act as.
        impersonate_uid: Option<String>,
        /// Sets whether the certificate of the server is left unchecked.
        insecure_skip_tls_verify: bool,
        /// Sets the kubeconfig; absent: `$KUBECONFIG`, `~/.kube/config`, the cluster around us.
        kubeconfig: Option<PathBuf>,
        /// Sets the namespace; absent: that of the context, else `default`.
        namespace: Option<String>,
        /// Sets who is told what is worth telling.
        observer: Option<Observer>,
        /// Sets the limit of a plain request, 30 s by default.
        request_timeout: Option<Duration>,
        /// Sets the URL of the server.
        server: Option<String>,
        /// Sets the name to expect in the certificate of the server.
        tls_server_name: Option<String>,
        /// Sets the user by its name in the kubeconfig.
        user: Option<String>,
        /// Sets the user name of basic authentication.
        username: Option<String>,
    }

    /// Sets the kubeconfig itself, for callers that hold one in memory; it wins over all files.
    #[must_use]
    pub fn kubeconfig_text(mut self, text: impl Into<Option<String>>) -> Self {
        self.kubeconfig_text = text.into().map(SecretString::from);
        self
    }

    /// Sets the password of basic authentication.
    #[must_use]
    pub fn password(mut self, password: impl Into<Option<String>>) -> Self {
        self.password = password.into().map(SecretString::from);
        self
    }

    /// Sets the bearer token.
    #[must_use]
    pub fn token(mut self, token: impl Into<Option<String>>) -> Self {
        self.token = token.into().map(SecretString::from);
        self
    }

    /// Tells the observer, where there is one.
    pub(super) fn tell(&self, notice: &Notice) {
        if let Some(observer) = &self.observer {
            observer(notice);
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("kubeconfig", &self.kubeconfig)
            .field("context", &self.context)
            .field("cluster", &self.cluster)
            .field("user", &self.user)
            .field("namespace", &self.namespace)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

/// The environment of a process, as a value: tests bring their own.
#[derive(Clone)]
pub(super) struct Environment {
    variables: BTreeMap<OsString, OsString>,
    service_account: PathBuf,
    terminal: bool,
}

impl Environment {
    /// Reads the variables of this process.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment"
    )]
    pub(super) fn of_process() -> Self {
        Self {
            variables: std::env::vars_os().collect(),
            service_account: PathBuf::from("/var/run/secrets/kubernetes.io/serviceaccount"),
            terminal: std::io::stdin().is_terminal(),
        }
    }

    /// Makes an environment of these variables.
    #[cfg(test)]
    pub(super) fn of(variables: &[(&str, &str)], service_account: &Path) -> Self {
        Self {
            variables: variables
                .iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            service_account: service_account.to_owned(),
            terminal: false,
        }
    }

    /// Returns a variable that is set and not empty.
    pub(super) fn get(&self, name: &str) -> Option<&OsStr> {
        let found = if cfg!(windows) {
            let same = |key: &OsString| key.eq_ignore_ascii_case(name);
            self.variables
                .iter()
                .find(|(key, _)| same(key))
                .map(|(_, value)| value)
        } else {
            self.variables.get(OsStr::new(name))
        };
        found
            .map(OsString::as_os_str)
            .filter(|value| !value.is_empty())
    }

    /// Returns a variable that is set, not empty, and text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.to_str()
    }

    /// Returns all variables, for a program that we start.
    pub(super) fn all(&self) -> impl Iterator<Item = (&OsString, &OsString)> {
        self.variables.iter()
    }

    /// Returns the user's home directory.
    pub(super) fn home(&self) -> Option<&Path> {
        let name = if cfg!(windows) { "USERPROFILE" } else { "HOME" };
        self.get(name).map(Path::new)
    }

    /// Returns the directory with the token and certificate authority of a pod.
    pub(super) fn service_account(&self) -> &Path {
        &self.service_account
    }

    /// Tells whether standard input is a terminal, so that a program may ask for a password.
    pub(super) const fn has_terminal(&self) -> bool {
        self.terminal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let config = Config::default()
            .token("hunter2".to_owned())
            .password("hunter3".to_owned());
        assert!(!format!("{config:?}").contains("hunter"));
    }

    #[test]
    fn an_empty_variable_is_an_absent_one() {
        let environment = Environment::of(&[("A", ""), ("B", "b")], Path::new("/"));
        assert_eq!(
            (environment.text("A"), environment.text("B")),
            (None, Some("b"))
        );
    }
}
