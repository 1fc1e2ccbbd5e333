//! What JavaScript asks for. Absent stays absent: the defaults are core's.

use std::path::PathBuf;
use std::time::Duration;

use napi_derive::napi;
use wsx_core::{Config, ExecOptions, Limits, Offer, Size, Subprotocol, Verify};

use crate::error::invalid;

/// Whom to reach, as the options of `connect`; durations in milliseconds.
#[napi(object)]
pub struct ConnectOptions {
    /// Path of the kubeconfig.
    pub kubeconfig: Option<String>,
    /// The kubeconfig itself.
    pub kubeconfig_text: Option<String>,
    /// Name of a context.
    pub context: Option<String>,
    /// Name of a cluster.
    pub cluster: Option<String>,
    /// Name of a user.
    pub user: Option<String>,
    /// Namespace where none is named.
    pub namespace: Option<String>,
    /// URL of the server.
    pub server: Option<String>,
    /// Bearer token.
    pub token: Option<String>,
    /// User to act as.
    pub impersonate: Option<String>,
    /// Groups to act as a member of.
    pub impersonate_groups: Option<Vec<String>>,
    /// File with the certificate authority.
    pub certificate_authority: Option<String>,
    /// File with the client certificate.
    pub client_certificate: Option<String>,
    /// File with its key.
    pub client_key: Option<String>,
    /// Whether the server's certificate is left unchecked.
    pub insecure_skip_tls_verify: Option<bool>,
    /// Name to expect in the server's certificate.
    pub tls_server_name: Option<String>,
    /// Limit of a plain request.
    pub request_timeout: Option<f64>,
}

/// The size of a terminal.
#[napi(object)]
#[derive(Clone, Copy)]
pub struct TerminalSize {
    /// Width in characters.
    pub columns: u32,
    /// Height in characters.
    pub rows: u32,
}

/// Time limits in milliseconds.
#[napi(object)]
#[derive(Clone, Copy)]
pub struct Timeouts {
    /// For the whole call.
    pub total: Option<f64>,
    /// For each stage before data flow.
    pub connect: Option<f64>,
    /// Between two pings.
    pub keepalive: Option<f64>,
    /// Without a sign of life.
    pub keepalive_timeout: Option<f64>,
    /// With our data unread.
    pub stall: Option<f64>,
    /// Until the pod runs.
    pub pod_running: Option<f64>,
}

/// What to ask of `exec`, `attach` and `run`.
#[napi(object)]
pub struct SessionOptions {
    /// Namespace of the target.
    pub namespace: Option<String>,
    /// Container of the pod.
    pub container: Option<String>,
    /// Whether the command gets input.
    pub stdin: Option<bool>,
    /// Whether output is wanted.
    pub stdout: Option<bool>,
    /// Whether error output is wanted.
    pub stderr: Option<bool>,
    /// Whether the command gets a terminal.
    pub tty: Option<bool>,
    /// First size of the terminal.
    pub size: Option<TerminalSize>,
    /// `auto`, `v4`, `v5` or a full name.
    pub protocol: Option<String>,
    /// `auto` or `never`.
    pub verify: Option<String>,
    /// Whether the pod is looked at first.
    pub preflight: Option<bool>,
    /// Time limits.
    pub timeouts: Option<Timeouts>,
}

impl ConnectOptions {
    pub(crate) fn config(self) -> napi::Result<Config> {
        let path = |path: Option<String>| path.map(PathBuf::from);
        let mut config = Config::default()
            .kubeconfig(path(self.kubeconfig))
            .kubeconfig_text(self.kubeconfig_text)
            .context(self.context)
            .cluster(self.cluster)
            .user(self.user)
            .namespace(self.namespace)
            .server(self.server)
            .token(self.token)
            .impersonate(self.impersonate)
            .certificate_authority(path(self.certificate_authority))
            .client_certificate(path(self.client_certificate))
            .client_key(path(self.client_key))
            .tls_server_name(self.tls_server_name)
            .request_timeout(duration("requestTimeout", self.request_timeout)?);
        if let Some(groups) = self.impersonate_groups {
            config = config.impersonate_groups(groups);
        }
        if let Some(skip) = self.insecure_skip_tls_verify {
            config = config.insecure_skip_tls_verify(skip);
        }
        Ok(config)
    }
}

impl TerminalSize {
    pub(crate) fn checked(self) -> napi::Result<Size> {
        match (u16::try_from(self.columns), u16::try_from(self.rows)) {
            (Ok(columns), Ok(rows)) => Ok(Size::new(columns, rows)),
            _ => Err(invalid("a terminal has at most 65535 columns and rows")),
        }
    }
}

impl SessionOptions {
    pub(crate) fn exec(self) -> napi::Result<ExecOptions> {
        let mut options = ExecOptions::default()
            .namespace(self.namespace)
            .container(self.container);
        options.stdin = self.stdin.unwrap_or(options.stdin);
        options.stdout = self.stdout.unwrap_or(options.stdout);
        options.stderr = self.stderr.unwrap_or(options.stderr);
        options.tty = self.tty.unwrap_or(options.tty);
        options.preflight = self.preflight.unwrap_or(options.preflight);
        options.size = self.size.map(TerminalSize::checked).transpose()?;
        options.protocol = match self.protocol.as_deref() {
            None => options.protocol,
            Some("auto") => Offer::Auto,
            Some(name) => Offer::Only(name.parse::<Subprotocol>().map_err(|_| {
                invalid(format!(
                    "protocol {name:?} is not known: use auto, v4 or v5"
                ))
            })?),
        };
        options.verify = match self.verify.as_deref() {
            None => options.verify,
            Some("auto") => Verify::Auto,
            Some("never") => Verify::Never,
            Some(word) => {
                let message = format!("verify {word:?} is not known: use auto or never");
                return Err(invalid(message));
            }
        };
        if let Some(timeouts) = self.timeouts {
            options.timeout = duration("timeouts.total", timeouts.total)?;
            let running = duration("timeouts.podRunning", timeouts.pod_running)?;
            options.pod_running_timeout = running.unwrap_or(options.pod_running_timeout);
            options.limits = timeouts.limits(options.limits)?;
        }
        Ok(options)
    }
}

impl Timeouts {
    fn limits(self, mut limits: Limits) -> napi::Result<Limits> {
        for (name, given, limit) in [
            ("timeouts.connect", self.connect, &mut limits.connect),
            ("timeouts.keepalive", self.keepalive, &mut limits.keepalive),
            (
                "timeouts.keepaliveTimeout",
                self.keepalive_timeout,
                &mut limits.keepalive_timeout,
            ),
            ("timeouts.stall", self.stall, &mut limits.stall),
        ] {
            *limit = duration(name, given)?.unwrap_or(*limit);
        }
        Ok(limits)
    }
}

fn duration(name: &str, milliseconds: Option<f64>) -> napi::Result<Option<Duration>> {
    let Some(milliseconds) = milliseconds else {
        return Ok(None);
    };
    Duration::try_from_secs_f64(milliseconds / 1000.0)
        .map(Some)
        .map_err(|_| {
            invalid(format!(
                "{name} is no duration in milliseconds: {milliseconds}"
            ))
        })
}
