//! What comes of a port-forward, as Python's objects.
//!
//! Lives here: the objects. Never here: when they are made (`forward.rs`).

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;
use wsx_core::{Error, ErrorKind, ForwardEvent, ForwardReport, ForwardSubprotocol, ForwardedPort};

use crate::failure::Failure;

/// Target, remote port, local port, address.
#[derive(IntoPyObject)]
pub(crate) struct Port(String, u16, u16, String);

impl From<&ForwardedPort> for Port {
    fn from(port: &ForwardedPort) -> Self {
        let ForwardedPort {
            target,
            remote,
            local,
            address,
            ..
        } = port;
        Self(target.clone(), *remote, *local, address.clone())
    }
}

/// Connections, open ones, failed ones, bytes sent and received, reconnects, and how it travels.
#[derive(IntoPyObject)]
pub(crate) struct Report(u64, u64, u64, u64, u64, u64, Option<&'static str>);

impl From<ForwardReport> for Report {
    fn from(report: ForwardReport) -> Self {
        let ForwardReport {
            connections,
            active,
            failed,
            sent,
            received,
            reconnects,
            protocol,
            ..
        } = report;
        let protocol = protocol.map(ForwardSubprotocol::name);
        Self(
            connections,
            active,
            failed,
            sent,
            received,
            reconnects,
            protocol,
        )
    }
}

/// Makes the event: its kind, and what it tells.
pub(crate) fn told(py: Python<'_>, event: ForwardEvent) -> PyResult<Py<PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let class = CLASS.import(py, "kubectl_wsx._forward_values", "ForwardEvent")?;
    let facts = PyDict::new(py);
    let kind = match event {
        ForwardEvent::Closed {
            connection,
            remote,
            local,
            sent,
            received,
            lasted,
            error,
        } => {
            facts.set_item("connection", connection)?;
            facts.set_item("remote", remote)?;
            facts.set_item("local", local)?;
            facts.set_item("sent", sent)?;
            facts.set_item("received", received)?;
            facts.set_item("lasted", lasted.as_secs_f64())?;
            let error = error.map(|error| Failure::from(error).raise(py).into_value(py));
            facts.set_item("error", error)?;
            "closed"
        }
        ForwardEvent::Missed { count } => {
            facts.set_item("count", count)?;
            "missed"
        }
        ForwardEvent::Opened {
            connection,
            remote,
            local,
        } => {
            facts.set_item("connection", connection)?;
            facts.set_item("remote", remote)?;
            facts.set_item("local", local)?;
            "opened"
        }
        ForwardEvent::Paused { why } => {
            facts.set_item("why", why)?;
            "paused"
        }
        ForwardEvent::Ready { pod, away } => {
            facts.set_item("pod", pod)?;
            facts.set_item("away", away.map(|away| away.as_secs_f64()))?;
            "ready"
        }
        ForwardEvent::Reconnecting { pod, why } => {
            facts.set_item("pod", pod)?;
            facts.set_item("why", why)?;
            "reconnecting"
        }
        ForwardEvent::Resumed => "resumed",
        other => {
            let error = Error::new(ErrorKind::Internal, "an event without a name in Python");
            return Err(Failure::from(error.because(format!("{other:?}"))).raise(py));
        }
    };
    facts.set_item("kind", kind)?;
    Ok(class.call((), Some(&facts))?.unbind())
}
