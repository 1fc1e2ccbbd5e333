//! Clients: connect, and what a client can start.
//!
//! Lives here: options from Python. Never here: their defaults (the core has them).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use wsx_core::client::Level;
use wsx_core::{
    AttachOptions, Config, Error, ErrorKind, ExecOptions, Limits, Notice, Offer, Size, Stream,
    Subprotocol, Verify,
};

use crate::bridge::{Local, bridge};
use crate::captured::Captured;
use crate::failure::{Failure, guarded};
use crate::forward_options;
use crate::log_options::LogsOptions;
use crate::notifier::Message;
use crate::operation::{Operation, Value, begin};

/// How to enter a cluster: the attributes of `kubectl_wsx._options.ConnectOptions`.
#[derive(FromPyObject)]
pub(crate) struct ConnectOptions {
    certificate_authority: Option<PathBuf>,
    client_certificate: Option<PathBuf>,
    client_key: Option<PathBuf>,
    cluster: Option<String>,
    context: Option<String>,
    impersonate: Option<String>,
    impersonate_groups: Option<Vec<String>>,
    insecure_skip_tls_verify: bool,
    kubeconfig: Option<PathBuf>,
    kubeconfig_text: Option<String>,
    namespace: Option<String>,
    on_notice: Option<Py<PyAny>>,
    request_timeout: Option<f64>,
    server: Option<String>,
    tls_server_name: Option<String>,
    token: Option<String>,
    user: Option<String>,
}

/// What to ask of exec and attach: the attributes of `kubectl_wsx._options.ExecOptions`.
#[derive(FromPyObject)]
struct Options {
    container: Option<String>,
    namespace: Option<String>,
    preflight: bool,
    protocol: String,
    size: Option<(u16, u16)>,
    stderr: bool,
    stdin: bool,
    stdout: bool,
    timeouts: Option<Timeouts>,
    tty: bool,
    verify: String,
}

/// The attributes of `kubectl_wsx.Timeouts`, in seconds.
#[derive(Default, FromPyObject)]
pub(crate) struct Timeouts {
    total: Option<f64>,
    connect: Option<f64>,
    keepalive: Option<f64>,
    keepalive_timeout: Option<f64>,
    stall: Option<f64>,
    pod_running: Option<f64>,
}

/// Begins to load the kubeconfig and to prepare a client; nothing is sent.
#[pyfunction]
pub(crate) fn connect(py: Python<'_>, options: ConnectOptions) -> PyResult<Operation> {
    guarded(py, || {
        let limit = seconds("request_timeout", options.request_timeout);
        let mut config = Config::default()
            .certificate_authority(options.certificate_authority)
            .client_certificate(options.client_certificate)
            .client_key(options.client_key)
            .cluster(options.cluster)
            .context(options.context)
            .impersonate(options.impersonate)
            .impersonate_groups(options.impersonate_groups.unwrap_or_default())
            .insecure_skip_tls_verify(options.insecure_skip_tls_verify)
            .kubeconfig(options.kubeconfig)
            .kubeconfig_text(options.kubeconfig_text)
            .namespace(options.namespace)
            .request_timeout(limit.map_err(|error| Failure::from(error).raise(py))?)
            .server(options.server)
            .tls_server_name(options.tls_server_name)
            .token(options.token)
            .user(options.user);
        if let Some(callback) = options.on_notice {
            let (callback, notifier) = (Arc::new(callback), Arc::clone(&bridge(py)?.notifier));
            let observer: wsx_core::client::Observer = Arc::new(move |notice: &Notice| {
                notifier.push(Message::Notice {
                    callback: Arc::clone(&callback),
                    level: level(notice.level()),
                    text: notice.to_string(),
                });
            });
            config = config.observer(observer);
        }
        begin(py, async move {
            Ok(Value::Client(wsx_core::Client::connect(config).await?))
        })
    })
}

/// A cluster that can be entered.
#[pyclass(frozen, module = "kubectl_wsx._native")]
pub(crate) struct Client(Local<wsx_core::Client>);

impl Client {
    pub(crate) fn new(client: wsx_core::Client) -> Self {
        Self(Local::new(client))
    }
}

#[pymethods]
impl Client {
    /// The namespace that is used where none is named.
    #[getter]
    fn namespace(&self, py: Python<'_>) -> PyResult<&str> {
        Ok(self.0.get(py)?.namespace())
    }

    /// Begins to ask for the server's version.
    fn version(&self, py: Python<'_>) -> PyResult<Operation> {
        let client = self.0.get(py)?.clone();
        begin(py, async move { Ok(Value::Text(client.version().await?)) })
    }

    /// Begins to start a command.
    fn exec(
        &self,
        py: Python<'_>,
        target: String,
        command: Vec<String>,
        options: Options,
    ) -> PyResult<Operation> {
        guarded(py, || {
            let client = self.0.get(py)?.clone();
            let options = options.read(py)?;
            begin(py, async move {
                let process = client.exec(&target, command, options).await?;
                Ok(Value::Process(process))
            })
        })
    }

    /// Begins to join the main process of a container.
    fn attach(&self, py: Python<'_>, target: String, options: Options) -> PyResult<Operation> {
        guarded(py, || {
            let client = self.0.get(py)?.clone();
            let mut attach = AttachOptions::default();
            attach.streams = options.read(py)?;
            begin(py, async move {
                let process = client.attach(&target, attach).await?;
                Ok(Value::Process(process))
            })
        })
    }

    /// Begins to read the log of `target`, or of all that the options select.
    fn logs(
        &self,
        py: Python<'_>,
        target: Option<String>,
        options: LogsOptions,
    ) -> PyResult<Operation> {
        guarded(py, || {
            let client = self.0.get(py)?.clone();
            let options = options.read(py)?;
            begin(py, async move {
                let logs = client.logs(target.as_deref(), options).await?;
                Ok(Value::Logs(logs))
            })
        })
    }

    /// Begins to forward ports of `target`.
    fn port_forward(
        &self,
        py: Python<'_>,
        target: String,
        ports: Vec<String>,
        options: forward_options::Options,
    ) -> PyResult<Operation> {
        guarded(py, || {
            let client = self.0.get(py)?.clone();
            let options = options.read(py)?;
            begin(py, async move {
                let half_close = options.half_close;
                let forward = client.port_forward(&target, ports, options).await?;
                Ok(Value::PortForward(forward, half_close))
            })
        })
    }

    /// Begins to run a command to its end; `limit` bounds the bytes of output that are kept.
    #[pyo3(signature = (target, command, options, input=None, limit=None))]
    fn run(
        &self,
        py: Python<'_>,
        target: String,
        command: Vec<String>,
        options: Options,
        input: Option<PyBuffer<u8>>,
        limit: Option<usize>,
    ) -> PyResult<Operation> {
        guarded(py, || {
            let client = self.0.get(py)?.clone();
            let options = options.read(py)?;
            let input = match input {
                Some(input) => Bytes::from(input.to_vec(py)?),
                None => Bytes::new(),
            };
            begin(py, async move {
                let process = client.exec(&target, command, options).await?;
                let (mut stdout, mut stderr) = (Captured::default(), Captured::default());
                let keep = |stream, data: &[u8]| match stream {
                    Stream::Stdout => stdout.keep(data),
                    _ => stderr.keep(data),
                };
                match process.communicate_into(input, limit, keep).await {
                    (Ok(status), _) => Ok(Value::Completed(status, stdout, stderr)),
                    (Err(error), report) => {
                        let failure = Failure::from(error).after(report);
                        Err(failure.with_output(stdout, stderr))
                    }
                }
            })
        })
    }
}

impl Options {
    fn read(self, py: Python<'_>) -> PyResult<ExecOptions> {
        self.check().map_err(|error| Failure::from(error).raise(py))
    }

    fn check(self) -> Result<ExecOptions, Error> {
        let protocol = match self.protocol.as_str() {
            "auto" => Offer::Auto,
            name => Offer::Only(name.parse::<Subprotocol>().map_err(|_| {
                let message = format!("protocol must be 'auto', 'v4' or 'v5', not {name:?}");
                Error::new(ErrorKind::Invalid, message)
            })?),
        };
        let verify = match self.verify.as_str() {
            "auto" => Verify::Auto,
            "never" => Verify::Never,
            other => {
                let message = format!("verify must be 'auto' or 'never', not {other:?}");
                return Err(Error::new(ErrorKind::Invalid, message));
            }
        };
        let options = ExecOptions::default()
            .container(self.container)
            .namespace(self.namespace)
            .preflight(self.preflight)
            .protocol(protocol)
            .size(self.size.map(|(columns, rows)| Size::new(columns, rows)))
            .stderr(self.stderr)
            .stdin(self.stdin)
            .stdout(self.stdout)
            .tty(self.tty)
            .verify(verify);
        self.timeouts.unwrap_or_default().apply(options)
    }
}

impl Timeouts {
    /// Sets what is there; the rest keeps the defaults of the core.
    fn apply(self, mut options: ExecOptions) -> Result<ExecOptions, Error> {
        options.limits = self.limits(options.limits)?;
        if let Some(value) = self.pod_running()? {
            options = options.pod_running_timeout(value);
        }
        Ok(options.timeout(seconds("total", self.total)?))
    }

    pub(crate) fn limits(&self, mut limits: Limits) -> Result<Limits, Error> {
        if let Some(value) = seconds("connect", self.connect)? {
            limits = limits.connect(value);
        }
        if let Some(interval) = seconds("keepalive", self.keepalive)? {
            limits = limits.keepalive(interval);
        }
        if let Some(value) = seconds("keepalive_timeout", self.keepalive_timeout)? {
            limits = limits.keepalive_timeout(value);
        }
        if let Some(value) = seconds("stall", self.stall)? {
            limits = limits.stall(value);
        }
        Ok(limits)
    }

    pub(crate) fn pod_running(&self) -> Result<Option<Duration>, Error> {
        seconds("pod_running", self.pod_running)
    }

    pub(crate) fn has_total(&self) -> bool {
        self.total.is_some()
    }

    /// Returns the name of a limit that only processes have.
    pub(crate) fn none_of_logs(&self) -> Option<&'static str> {
        let named = [("total", self.total), ("stall", self.stall)];
        let mut given = named.into_iter().filter(|(_, limit)| limit.is_some());
        given.next().map(|(name, _)| name)
    }
}

/// Reads a number of seconds that a clock can count.
pub(crate) fn seconds(name: &str, value: Option<f64>) -> Result<Option<Duration>, Error> {
    let Some(value) = value else { return Ok(None) };
    Duration::try_from_secs_f64(value)
        .ok()
        .filter(|limit| Instant::now().checked_add(*limit).is_some())
        .map(Some)
        .ok_or_else(|| {
            let message = format!("{name} must be a number of seconds, not {value}");
            Error::new(ErrorKind::Invalid, message)
        })
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Detail => "detail",
        Level::Warning => "warning",
        _ => "note",
    }
}

/// Returns what the core does where an option is absent; the tests compare it with the table.
pub(crate) fn defaults(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let options = ExecOptions::default();
    let defaults = PyDict::new(py);
    defaults.set_item("total", options.timeout.map(|limit| limit.as_secs_f64()))?;
    defaults.set_item("connect", options.limits.connect.as_secs_f64())?;
    defaults.set_item("keepalive", options.limits.keepalive.as_secs_f64())?;
    let silence = options.limits.keepalive_timeout.as_secs_f64();
    defaults.set_item("keepalive_timeout", silence)?;
    defaults.set_item("stall", options.limits.stall.as_secs_f64())?;
    defaults.set_item("pod_running", options.pod_running_timeout.as_secs_f64())?;
    Ok(defaults)
}
