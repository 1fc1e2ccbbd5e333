//! What JavaScript asks of a port-forward. Absent stays absent: the defaults are core's.

use std::path::PathBuf;

use napi::bindgen_prelude::Either;
use napi_derive::napi;
use wsx_core::{
    Balance, ForwardOptions, ForwardProtocol, ForwardSubprotocol, HalfClose, OnConflict, Reconnect,
};

use crate::error::invalid;
use crate::options::{Timeouts, duration, whole};

/// What to ask of `portForward`.
#[napi(object)]
pub struct PortForwardOptions {
    /// Namespace of the target.
    pub namespace: Option<String>,
    /// Where to listen: `localhost` or IP addresses. None of them: connections come from `open()` alone.
    pub address: Option<Vec<String>>,
    /// Whether to use all ready pods of the target, and how: `least`, `round-robin`.
    pub balance: Option<String>,
    /// When the end of a local side's input goes to the pod: `auto`, `hold` or `pass`.
    pub half_close: Option<String>,
    /// How many milliseconds a new connection waits for a session while there is none.
    pub hold: Option<f64>,
    /// What to do when a local port is in use: `fail`, `next` or `random`.
    pub on_conflict: Option<String>,
    /// How connections travel: `auto`, `tunnel`, `v4` or a full name.
    pub protocol: Option<String>,
    /// What to do when a session is lost: `auto`, `never`, or how many failures in a row are the end.
    pub reconnect: Option<Either<String, f64>>,
    /// Whether a pod of `TYPE/NAME` has to be ready.
    pub require_ready: Option<bool>,
    /// How many sessions connections are spread over, 1 to 16.
    pub sessions: Option<f64>,
    /// A Unix socket to listen on instead of addresses; for a single port.
    pub unix: Option<String>,
    /// How many milliseconds to wait for a pod once there was one.
    pub wait: Option<f64>,
    /// Time limits.
    pub timeouts: Option<PortForwardTimeouts>,
}

/// Time limits of a port-forward in milliseconds.
#[napi(object)]
#[derive(Clone, Copy)]
pub struct PortForwardTimeouts {
    /// For each stage before data flow.
    pub connect: Option<f64>,
    /// Between two pings.
    pub keepalive: Option<f64>,
    /// Without a sign of life.
    pub keepalive_timeout: Option<f64>,
    /// With our data unread, or theirs.
    pub stall: Option<f64>,
    /// Until the pod runs, before the first session.
    pub pod_running: Option<f64>,
}

impl PortForwardOptions {
    pub(crate) fn checked(self) -> napi::Result<ForwardOptions> {
        let mut options = ForwardOptions::default()
            .namespace(self.namespace)
            .unix(self.unix.map(PathBuf::from));
        options.address = self.address.unwrap_or(options.address);
        options.require_ready = self.require_ready.unwrap_or(options.require_ready);
        options.hold = duration("hold", self.hold)?.unwrap_or(options.hold);
        options.wait = duration("wait", self.wait)?.unwrap_or(options.wait);
        if let Some(sessions) = whole("sessions", self.sessions)? {
            options.sessions = usize::try_from(sessions).unwrap_or(usize::MAX);
        }
        let balance = [
            ("least", Balance::Least),
            ("round-robin", Balance::RoundRobin),
        ];
        options.balance = word("balance", self.balance, &balance)?;
        let half_close = [
            ("auto", HalfClose::Auto),
            ("hold", HalfClose::Hold),
            ("pass", HalfClose::Pass),
        ];
        options.half_close =
            word("halfClose", self.half_close, &half_close)?.unwrap_or(options.half_close);
        let on_conflict = [
            ("fail", OnConflict::Fail),
            ("next", OnConflict::Next),
            ("random", OnConflict::Random),
        ];
        options.on_conflict =
            word("onConflict", self.on_conflict, &on_conflict)?.unwrap_or(options.on_conflict);
        let [tunnel, v4] = [ForwardSubprotocol::Tunnel, ForwardSubprotocol::V4];
        let protocol = [
            ("auto", ForwardProtocol::Auto),
            ("tunnel", ForwardProtocol::Only(tunnel)),
            ("v4", ForwardProtocol::Only(v4)),
            (tunnel.name(), ForwardProtocol::Only(tunnel)),
            (v4.name(), ForwardProtocol::Only(v4)),
        ];
        options.protocol = word("protocol", self.protocol, &protocol)?.unwrap_or(options.protocol);
        options.reconnect = match self.reconnect {
            None => options.reconnect,
            Some(Either::A(text)) => {
                let reconnect = [("auto", Reconnect::Auto), ("never", Reconnect::Never)];
                word("reconnect", Some(text), &reconnect)?.unwrap_or(options.reconnect)
            }
            Some(Either::B(number)) => {
                let times = whole("reconnect", Some(number))?.unwrap_or_default();
                Reconnect::Times(u32::try_from(times).unwrap_or(u32::MAX))
            }
        };
        if let Some(timeouts) = self.timeouts {
            let running = duration("timeouts.podRunning", timeouts.pod_running)?;
            options.pod_running_timeout = running.unwrap_or(options.pod_running_timeout);
            options.limits = Timeouts::from(timeouts).limits(options.limits)?;
        }
        Ok(options)
    }
}

impl From<PortForwardTimeouts> for Timeouts {
    fn from(timeouts: PortForwardTimeouts) -> Self {
        Self {
            total: None,
            connect: timeouts.connect,
            keepalive: timeouts.keepalive,
            keepalive_timeout: timeouts.keepalive_timeout,
            stall: timeouts.stall,
            pod_running: timeouts.pod_running,
        }
    }
}

/// Reads one of some words.
fn word<T: Copy>(
    name: &str,
    given: Option<String>,
    words: &[(&str, T)],
) -> napi::Result<Option<T>> {
    let Some(given) = given else {
        return Ok(None);
    };
    let found = words.iter().find(|(word, _)| *word == given);
    found.map(|(_, value)| Some(*value)).ok_or_else(|| {
        let words = words.iter().map(|(word, _)| *word).collect::<Vec<_>>();
        let words = words.join(", ");
        invalid(format!("{name} {given:?} is not known: use {words}"))
    })
}
