//! What JavaScript asks for. Absent stays absent: the defaults are core's.

use std::path::PathBuf;
use std::time::Duration;

use napi_derive::napi;
use wsx_core::{
    Config, ExecOptions, Limits, LogProtocol, LogSubprotocol, Offer, Size, Subprotocol, Verify,
};

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

/// What to ask of `logs`.
#[napi(object)]
pub struct LogsOptions {
    /// Namespace of the target.
    pub namespace: Option<String>,
    /// Which pods' logs to read, by their labels, instead of a pod that is named.
    pub selector: Option<String>,
    /// Whether to look for pods in all namespaces.
    pub all_namespaces: Option<bool>,
    /// Whether to read all pods of `TYPE/NAME` instead of the best.
    pub all_pods: Option<bool>,
    /// Container of the pod.
    pub container: Option<String>,
    /// Whether to read all containers of each pod: init, ordinary, ephemeral.
    pub all_containers: Option<bool>,
    /// Whether to go on while the container runs.
    pub follow: Option<bool>,
    /// With `follow`: whether to wait for a pod that does not exist yet, for the next run and the next
    /// pod, and never to give up.
    pub forever: Option<bool>,
    /// Whether to read the run before the present one.
    pub previous: Option<bool>,
    /// Only the last so many lines.
    pub tail_lines: Option<f64>,
    /// Only lines of so many milliseconds ago or later, in whole seconds, at least one.
    pub since: Option<f64>,
    /// Only lines of this point in time or later, as RFC 3339.
    pub since_time: Option<String>,
    /// The most bytes of the log; the last line may be cut. With `follow` nothing is resumed then.
    pub limit_bytes: Option<f64>,
    /// Whether each line begins with the time at which the runtime read it.
    pub timestamps: Option<bool>,
    /// With `follow`: whether a cut is mended, without loss or with a gap that is told.
    pub resume: Option<bool>,
    /// Whether a log that cannot be read, or not on, is told by `failed` and the others are read; else
    /// the first one ends all.
    pub ignore_errors: Option<bool>,
    /// How many logs are followed at once; the others wait for their turn, which is told.
    pub max_log_requests: Option<f64>,
    /// Merges several logs by the times of their lines: no line is held back for more milliseconds.
    pub sort_window: Option<f64>,
    /// How it travels while following: `auto`, `http` or the name of a subprotocol.
    pub protocol: Option<String>,
    /// Time limits.
    pub timeouts: Option<LogsTimeouts>,
}

/// Time limits of logs in milliseconds.
#[napi(object)]
#[derive(Clone, Copy)]
pub struct LogsTimeouts {
    /// For each stage before data flow.
    pub connect: Option<f64>,
    /// Between two pings.
    pub keepalive: Option<f64>,
    /// Without a sign of life.
    pub keepalive_timeout: Option<f64>,
    /// Until the pod runs.
    pub pod_running: Option<f64>,
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

impl LogsOptions {
    pub(crate) fn checked(self) -> napi::Result<wsx_core::LogsOptions> {
        let mut options = wsx_core::LogsOptions::default()
            .namespace(self.namespace)
            .selector(self.selector)
            .container(self.container)
            .tail_lines(whole("tailLines", self.tail_lines)?)
            .since(duration("since", self.since)?)
            .since_time(self.since_time)
            .limit_bytes(whole("limitBytes", self.limit_bytes)?)
            .sort_window(duration("sortWindow", self.sort_window)?);
        for (given, option) in [
            (self.all_namespaces, &mut options.all_namespaces),
            (self.all_pods, &mut options.all_pods),
            (self.all_containers, &mut options.all_containers),
            (self.follow, &mut options.follow),
            (self.forever, &mut options.forever),
            (self.previous, &mut options.previous),
            (self.timestamps, &mut options.timestamps),
            (self.resume, &mut options.resume),
            (self.ignore_errors, &mut options.ignore_errors),
        ] {
            *option = given.unwrap_or(*option);
        }
        if let Some(requests) = whole("maxLogRequests", self.max_log_requests)? {
            options.max_log_requests = usize::try_from(requests).unwrap_or(usize::MAX);
        }
        options.protocol = match self.protocol.as_deref() {
            None => options.protocol,
            Some("auto") => LogProtocol::Auto,
            Some("http") => LogProtocol::Http,
            Some(name) => LogProtocol::Only(LogSubprotocol::parse(name).ok_or_else(|| {
                let names = LogSubprotocol::ALL.map(LogSubprotocol::name).join(", ");
                let message = format!("protocol {name:?} is not known: use auto, http, {names}");
                invalid(message)
            })?),
        };
        if let Some(timeouts) = self.timeouts {
            let running = duration("timeouts.podRunning", timeouts.pod_running)?;
            options.pod_running_timeout = running.unwrap_or(options.pod_running_timeout);
            options.limits = Timeouts::from(timeouts).limits(options.limits)?;
        }
        Ok(options)
    }
}

impl From<LogsTimeouts> for Timeouts {
    fn from(timeouts: LogsTimeouts) -> Self {
        Self {
            total: None,
            connect: timeouts.connect,
            keepalive: timeouts.keepalive,
            keepalive_timeout: timeouts.keepalive_timeout,
            stall: None,
            pod_running: timeouts.pod_running,
        }
    }
}

impl Timeouts {
    pub(crate) fn limits(self, mut limits: Limits) -> napi::Result<Limits> {
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

pub(crate) fn duration(name: &str, milliseconds: Option<f64>) -> napi::Result<Option<Duration>> {
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

/// Reads how many there may be; what is beyond all numbers is the largest.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a cast of a float saturates"
)]
pub(crate) fn whole(name: &str, number: Option<f64>) -> napi::Result<Option<u64>> {
    let Some(number) = number else {
        return Ok(None);
    };
    if number.is_nan() || number < 0.0 || number.floor() != number {
        return Err(invalid(format!("{name} is no whole number: {number}")));
    }
    Ok(Some((number as i64).unsigned_abs()))
}
