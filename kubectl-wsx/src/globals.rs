//! The flags of every command, spelled as kubectl spells them.
//!
//! Lives here: flags and the configuration they make. Never here: what the configuration does.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgAction, Args, value_parser};
use wsx_core::Config;
use wsx_core::client::Notice;

use crate::duration;
use crate::flag::{parse_bool, parse_pair};
use crate::output::Output;

/// The flags that every command has. Neither `Debug` nor help shows a value: two are secrets.
#[derive(Args)]
pub(crate) struct Globals {
    /// Username to impersonate for the operation
    #[arg(long = "as", value_name = "USER", allow_hyphen_values = true)]
    impersonate: Option<String>,
    /// Group to impersonate for the operation; may be repeated
    #[arg(long = "as-group", value_name = "GROUP", action = ArgAction::Append)]
    impersonate_groups: Vec<String>,
    /// UID to impersonate for the operation
    #[arg(long = "as-uid", value_name = "UID")]
    impersonate_uid: Option<String>,
    /// Extra of the user to impersonate; may be repeated
    #[arg(
        long = "as-user-extra",
        value_name = "KEY=VALUE",
        action = ArgAction::Append,
        value_parser = parse_pair,
    )]
    impersonate_extra: Vec<(String, String)>,
    /// Path to a cert file for the certificate authority
    #[arg(long, value_name = "FILE")]
    certificate_authority: Option<PathBuf>,
    /// Path to a client certificate file for TLS
    #[arg(long, value_name = "FILE")]
    client_certificate: Option<PathBuf>,
    /// Path to a client key file for TLS
    #[arg(long, value_name = "FILE")]
    client_key: Option<PathBuf>,
    /// The name of the kubeconfig cluster to use
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// The name of the kubeconfig context to use
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// If true, the server's certificate will not be checked for validity
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = parse_bool,
    )]
    insecure_skip_tls_verify: Option<bool>,
    /// Path to the kubeconfig file to use
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The namespace scope for this request
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// Password for basic authentication to the API server
    #[arg(long, allow_hyphen_values = true)]
    password: Option<String>,
    /// Say nothing but errors
    #[arg(
        short,
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = parse_bool,
    )]
    quiet: Option<bool>,
    /// The length of time to wait for a plain request or an upgrade; 0 means no limit
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_request_timeout)]
    request_timeout: Option<Duration>,
    /// The address and port of the Kubernetes API server
    #[arg(short, long, value_name = "URL")]
    server: Option<String>,
    /// Server name to expect in the server's certificate
    #[arg(long, value_name = "NAME")]
    tls_server_name: Option<String>,
    /// Bearer token for authentication to the API server
    #[arg(long, allow_hyphen_values = true)]
    token: Option<String>,
    /// The name of the kubeconfig user to use
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Username for basic authentication to the API server
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// How much to tell of what happens: 0 warnings, 1 choices, 4 details, 8 everything
    #[arg(short, long, value_name = "LEVEL", value_parser = value_parser!(u8))]
    v: Option<u8>,
    #[command(flatten)]
    ignored: Ignored,
}

/// Flags of kubectl that have no meaning here. They are taken, so that scripts can pass them on.
#[derive(Args)]
struct Ignored {
    /// Ignored: discovery is not used
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<String>,
    /// Ignored: streams are never compressed
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = parse_bool,
    )]
    disable_compression: Option<bool>,
    /// Ignored: there are no preferences
    #[arg(long, value_name = "FILE")]
    kuberc: Option<String>,
    /// Ignored: nothing is buffered
    #[arg(long, value_name = "DURATION")]
    log_flush_frequency: Option<String>,
    /// Ignored: every version is spoken to
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = parse_bool,
    )]
    match_server_version: Option<bool>,
    /// Ignored
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Ignored
    #[arg(long, value_name = "FILE")]
    profile_output: Option<String>,
    /// Ignored: -v is for everything
    #[arg(long, value_name = "PATTERN=LEVEL")]
    vmodule: Option<String>,
    /// Ignored: warnings are shown
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = parse_bool,
    )]
    warnings_as_errors: Option<bool>,
}

impl Globals {
    /// Returns how much to say.
    pub(crate) fn output(&self) -> Output {
        if self.quiet == Some(true) {
            Output::Quiet
        } else {
            Output::Talkative
        }
    }

    /// Returns how much to tell of what happens.
    pub(crate) fn verbosity(&self) -> u8 {
        self.v.unwrap_or(0)
    }

    /// Tells those who asked for more (`-v=1`) which flags have no effect.
    pub(crate) fn tell_ignored(&self) {
        for flag in self.ignored.given() {
            tracing::info!("--{flag} has no effect here");
        }
    }

    /// Returns the configuration that the flags make. `observer` is told what is worth telling.
    pub(crate) fn config(&self, observer: impl Fn(&Notice) + Send + Sync + 'static) -> Config {
        let observer: Arc<dyn Fn(&Notice) + Send + Sync> = Arc::new(observer);
        Config::default()
            .certificate_authority(self.certificate_authority.clone())
            .client_certificate(self.client_certificate.clone())
            .client_key(self.client_key.clone())
            .cluster(self.cluster.clone())
            .context(self.context.clone())
            .impersonate(self.impersonate.clone())
            .impersonate_extra(self.impersonate_extra.clone())
            .impersonate_groups(self.impersonate_groups.clone())
            .impersonate_uid(self.impersonate_uid.clone())
            .insecure_skip_tls_verify(self.insecure_skip_tls_verify == Some(true))
            .kubeconfig(self.kubeconfig.clone())
            .namespace(self.namespace.clone())
            .observer(observer)
            .password(self.password.clone())
            .request_timeout(self.request_timeout)
            .server(self.server.clone())
            .tls_server_name(self.tls_server_name.clone())
            .token(self.token.clone())
            .user(self.user.clone())
            .username(self.username.clone())
    }

    /// Returns the namespace that was named.
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }
}

impl Ignored {
    fn given(&self) -> Vec<&'static str> {
        [
            ("cache-dir", self.cache_dir.is_some()),
            ("disable-compression", self.disable_compression.is_some()),
            ("kuberc", self.kuberc.is_some()),
            ("log-flush-frequency", self.log_flush_frequency.is_some()),
            ("match-server-version", self.match_server_version.is_some()),
            ("profile", self.profile.is_some()),
            ("profile-output", self.profile_output.is_some()),
            ("vmodule", self.vmodule.is_some()),
            ("warnings-as-errors", self.warnings_as_errors.is_some()),
        ]
        .into_iter()
        .filter_map(|(flag, given)| given.then_some(flag))
        .collect()
    }
}
