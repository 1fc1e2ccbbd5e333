//! What to ask of a port-forward, from Python.
//!
//! Lives here: reading the options. Never here: their defaults (the core has them).

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use wsx_core::{
    Balance, Error, ErrorKind, ForwardOptions, ForwardProtocol, ForwardSubprotocol, HalfClose,
    OnConflict, Reconnect,
};

use crate::client::{Timeouts, seconds};
use crate::failure::Failure;

/// The attributes of `kubectl_wsx._forward_values.ForwardOptions`.
#[derive(FromPyObject)]
pub(crate) struct Options {
    address: Vec<String>,
    balance: Option<String>,
    half_close: String,
    hold: f64,
    namespace: Option<String>,
    on_conflict: String,
    protocol: String,
    reconnect: String,
    require_ready: bool,
    sessions: i64,
    timeouts: Option<Timeouts>,
    unix: Option<PathBuf>,
    wait: f64,
}

impl Options {
    pub(crate) fn read(self, py: Python<'_>) -> PyResult<ForwardOptions> {
        self.check().map_err(|error| Failure::from(error).raise(py))
    }

    fn check(self) -> Result<ForwardOptions, Error> {
        let balance = self.balance.as_deref().map(balance).transpose()?;
        let sessions = usize::try_from(self.sessions).map_err(|_| {
            let message = format!("sessions must not be negative, as {} is", self.sessions);
            Error::new(ErrorKind::Invalid, message)
        })?;
        let mut options = ForwardOptions::default()
            .address(self.address)
            .balance(balance)
            .half_close(half_close(&self.half_close)?)
            .namespace(self.namespace)
            .on_conflict(on_conflict(&self.on_conflict)?)
            .protocol(protocol(&self.protocol)?)
            .reconnect(reconnect(&self.reconnect)?)
            .require_ready(self.require_ready)
            .sessions(sessions)
            .unix(self.unix);
        if let Some(hold) = seconds("hold", Some(self.hold))? {
            options = options.hold(hold);
        }
        if let Some(wait) = seconds("wait", Some(self.wait))? {
            options = options.wait(wait);
        }
        let timeouts = self.timeouts.unwrap_or_default();
        if timeouts.has_total() {
            let message = "port-forwards have no time limit of the name total";
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        if let Some(value) = timeouts.pod_running()? {
            options = options.pod_running_timeout(value);
        }
        let limits = timeouts.limits(options.limits)?;
        Ok(options.limits(limits))
    }
}

fn refuse<T>(option: &str, names: &str, given: &str) -> Result<T, Error> {
    let message = format!("{option} must be {names}, not {given:?}");
    Err(Error::new(ErrorKind::Invalid, message))
}

fn balance(name: &str) -> Result<Balance, Error> {
    match name {
        "least" => Ok(Balance::Least),
        "round-robin" => Ok(Balance::RoundRobin),
        _ => refuse("balance", "'least' or 'round-robin'", name),
    }
}

fn half_close(name: &str) -> Result<HalfClose, Error> {
    match name {
        "auto" => Ok(HalfClose::Auto),
        "hold" => Ok(HalfClose::Hold),
        "pass" => Ok(HalfClose::Pass),
        _ => refuse("half_close", "'auto', 'hold' or 'pass'", name),
    }
}

fn on_conflict(name: &str) -> Result<OnConflict, Error> {
    match name {
        "fail" => Ok(OnConflict::Fail),
        "next" => Ok(OnConflict::Next),
        "random" => Ok(OnConflict::Random),
        _ => refuse("on_conflict", "'fail', 'next' or 'random'", name),
    }
}

fn protocol(name: &str) -> Result<ForwardProtocol, Error> {
    match name {
        "auto" => Ok(ForwardProtocol::Auto),
        "tunnel" => Ok(ForwardProtocol::Only(ForwardSubprotocol::Tunnel)),
        "v4" => Ok(ForwardProtocol::Only(ForwardSubprotocol::V4)),
        _ => match ForwardSubprotocol::parse(name) {
            Some(subprotocol) => Ok(ForwardProtocol::Only(subprotocol)),
            None => {
                let names = "'auto', 'tunnel', 'v4', or the full name of one";
                refuse("protocol", names, name)
            }
        },
    }
}

fn reconnect(name: &str) -> Result<Reconnect, Error> {
    match (name, name.parse()) {
        ("auto", _) => Ok(Reconnect::Auto),
        ("never", _) => Ok(Reconnect::Never),
        (_, Ok(times)) => Ok(Reconnect::Times(times)),
        _ => refuse("reconnect", "'auto', 'never' or a number from 0", name),
    }
}

/// Returns the time limits of the core where an option is absent; the tests compare them with the table.
pub(crate) fn defaults(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let ForwardOptions {
        limits,
        pod_running_timeout,
        ..
    } = ForwardOptions::default();
    let defaults = PyDict::new(py);
    defaults.set_item("connect", limits.connect.as_secs_f64())?;
    defaults.set_item("keepalive", limits.keepalive.as_secs_f64())?;
    let silence = limits.keepalive_timeout.as_secs_f64();
    defaults.set_item("keepalive_timeout", silence)?;
    defaults.set_item("stall", limits.stall.as_secs_f64())?;
    defaults.set_item("pod_running", pod_running_timeout.as_secs_f64())?;
    Ok(defaults)
}
