//! What comes of logs, as Python has it.
//!
//! Lives here: sources, events, endings as objects. Never here: their classes (`_log_values.py`).

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;
use wsx_core::{Error, ErrorKind, LogEnd, LogEvent, LogProtocol, LogSource};

use crate::failure::Failure;

/// The sources of one batch as Python has them; few at a time.
#[derive(Default)]
pub(crate) struct Sources(Vec<(Arc<LogSource>, Py<PyAny>)>);

impl Sources {
    /// Returns the source as Python has it.
    pub(crate) fn find(&mut self, py: Python<'_>, source: &Arc<LogSource>) -> PyResult<Py<PyAny>> {
        let known = self.0.iter().find(|(known, _)| Arc::ptr_eq(known, source));
        if let Some((_, found)) = known {
            return Ok(found.clone_ref(py));
        }
        let made = named(py, source)?;
        self.0.push((Arc::clone(source), made.clone_ref(py)));
        Ok(made)
    }
}

fn named(py: Python<'_>, source: &LogSource) -> PyResult<Py<PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let class = CLASS.import(py, "kubectl_wsx._log_values", "LogSource")?;
    let LogSource {
        namespace,
        pod,
        container,
        ..
    } = source;
    Ok(class.call1((namespace, pod, container))?.unbind())
}

/// Makes the event: its kind, its source, and what it tells.
pub(crate) fn told(py: Python<'_>, source: &LogSource, event: LogEvent) -> PyResult<Py<PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let class = CLASS.import(py, "kubectl_wsx._log_values", "LogEvent")?;
    let facts = PyDict::new(py);
    let kind = match event {
        LogEvent::Gap { certain, from, to } => {
            facts.set_item("certain", certain)?;
            facts.set_item("from_", from)?;
            facts.set_item("to", to)?;
            "gap"
        }
        LogEvent::Reconnected { away, why } => {
            facts.set_item("away", away.as_secs_f64())?;
            facts.set_item("why", why)?;
            "reconnected"
        }
        LogEvent::Replaced { pod } => {
            facts.set_item("pod", pod)?;
            "replaced"
        }
        LogEvent::Restarted { count, unseen } => {
            facts.set_item("count", count)?;
            facts.set_item("unseen", unseen)?;
            "restarted"
        }
        LogEvent::Waiting { reason } => {
            facts.set_item("reason", reason)?;
            "waiting"
        }
        LogEvent::Started => "started",
        LogEvent::Ended { exit_code } => {
            facts.set_item("exit_code", exit_code)?;
            "ended"
        }
        LogEvent::Failed { error } => {
            let error = Failure::from(error).raise(py);
            facts.set_item("error", error.into_value(py))?;
            "failed"
        }
        other => {
            let error = Error::new(ErrorKind::Internal, "an event without a name in Python");
            return Err(Failure::from(error.because(format!("{other:?}"))).raise(py));
        }
    };
    facts.set_item("kind", kind)?;
    facts.set_item("source", named(py, source)?)?;
    Ok(class.call((), Some(&facts))?.unbind())
}

/// Returns the name of how a log ended, and the exit code.
pub(crate) fn pair(end: LogEnd) -> (&'static str, Option<i32>) {
    match end {
        LogEnd::Ended { exit_code } => ("ended", exit_code),
        _ => ("complete", None),
    }
}

/// Returns the name of how a log travels.
pub(crate) fn protocol(protocol: LogProtocol) -> &'static str {
    match protocol {
        LogProtocol::Only(subprotocol) => subprotocol.name(),
        _ => "http",
    }
}
