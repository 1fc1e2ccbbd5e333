//! What to ask of logs, from Python.
//!
//! Lives here: reading the options. Never here: their defaults (the core has them).

use pyo3::prelude::*;
use pyo3::types::PyDict;
use wsx_core::{Error, ErrorKind, LogProtocol, LogSubprotocol};

use crate::client::{Timeouts, seconds};
use crate::failure::Failure;

/// The attributes of `kubectl_wsx._log_values.LogsOptions`.
#[derive(FromPyObject)]
pub(crate) struct LogsOptions {
    all_containers: bool,
    all_namespaces: bool,
    all_pods: bool,
    container: Option<String>,
    follow: bool,
    forever: bool,
    ignore_errors: bool,
    limit_bytes: Option<i64>,
    max_log_requests: i64,
    namespace: Option<String>,
    previous: bool,
    protocol: String,
    resume: bool,
    selector: Option<String>,
    since: Option<f64>,
    since_time: Option<String>,
    sort_window: Option<f64>,
    tail_lines: Option<i64>,
    timeouts: Option<Timeouts>,
    timestamps: bool,
}

impl LogsOptions {
    pub(crate) fn read(self, py: Python<'_>) -> PyResult<wsx_core::LogsOptions> {
        self.check().map_err(|error| Failure::from(error).raise(py))
    }

    fn check(self) -> Result<wsx_core::LogsOptions, Error> {
        let mut options = wsx_core::LogsOptions::default()
            .all_containers(self.all_containers)
            .all_namespaces(self.all_namespaces)
            .all_pods(self.all_pods)
            .container(self.container)
            .follow(self.follow)
            .forever(self.forever)
            .ignore_errors(self.ignore_errors)
            .limit_bytes(
                self.limit_bytes
                    .map(|count| number("limit_bytes", count))
                    .transpose()?,
            )
            .max_log_requests(number::<usize>("max_log_requests", self.max_log_requests)?)
            .namespace(self.namespace)
            .previous(self.previous)
            .protocol(protocol(&self.protocol)?)
            .resume(self.resume)
            .selector(self.selector)
            .since(seconds("since", self.since)?)
            .since_time(self.since_time)
            .sort_window(seconds("sort_window", self.sort_window)?)
            .tail_lines(
                self.tail_lines
                    .map(|count| number("tail_lines", count))
                    .transpose()?,
            )
            .timestamps(self.timestamps);
        let timeouts = self.timeouts.unwrap_or_default();
        if let Some(name) = timeouts.none_of_logs() {
            let message = format!("logs have no time limit of the name {name}");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        if let Some(value) = timeouts.pod_running()? {
            options = options.pod_running_timeout(value);
        }
        let limits = timeouts.limits(options.limits)?;
        Ok(options.limits(limits))
    }
}

fn number<T: TryFrom<i64>>(name: &str, count: i64) -> Result<T, Error> {
    count.try_into().map_err(|_| {
        let message = format!("{name} must not be negative, as {count} is");
        Error::new(ErrorKind::Invalid, message)
    })
}

fn protocol(name: &str) -> Result<LogProtocol, Error> {
    match name {
        "auto" => Ok(LogProtocol::Auto),
        "http" => Ok(LogProtocol::Http),
        _ => LogSubprotocol::parse(name)
            .map(LogProtocol::Only)
            .ok_or_else(|| {
                let names = "'auto', 'http', 'binary.k8s.io' or 'base64.binary.k8s.io'";
                let message = format!("protocol must be {names}, not {name:?}");
                Error::new(ErrorKind::Invalid, message)
            }),
    }
}

/// Returns the time limits of the core where an option is absent; the tests compare them with the table.
pub(crate) fn defaults(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let options = wsx_core::LogsOptions::default();
    let defaults = PyDict::new(py);
    defaults.set_item("connect", options.limits.connect.as_secs_f64())?;
    defaults.set_item("keepalive", options.limits.keepalive.as_secs_f64())?;
    let silence = options.limits.keepalive_timeout.as_secs_f64();
    defaults.set_item("keepalive_timeout", silence)?;
    defaults.set_item("pod_running", options.pod_running_timeout.as_secs_f64())?;
    Ok(defaults)
}
