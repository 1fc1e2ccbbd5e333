//! What happens to a port-forward, as JavaScript gets it.

use napi::bindgen_prelude::{Either, Null};
use napi_derive::napi;
use wsx_core::ForwardEvent;

use super::count;
use crate::error::describe;

/// What happened to a port-forward; the kind tells which fields there are.
#[napi(object)]
#[derive(Default)]
pub struct NativeForwardEvent {
    /// What happened.
    pub kind: String,
    /// `opened`, `closed`: the number of the connection, from 1.
    pub connection: Option<i64>,
    /// `opened`, `closed`: the port of the pod, or of the service.
    pub remote: Option<u16>,
    /// `opened`, `closed`: the local port; 0 without one.
    pub local: Option<u16>,
    /// `closed`: bytes that went to the pod.
    pub sent: Option<i64>,
    /// `closed`: bytes that came from it and were taken.
    pub received: Option<i64>,
    /// `closed`: for how many seconds it lived.
    pub lasted: Option<f64>,
    /// `closed`: why it was reset, in JSON.
    pub error: Option<Either<String, Null>>,
    /// `ready`, `reconnecting`: the pod.
    pub pod: Option<String>,
    /// `ready`: for how many seconds there was none.
    pub away: Option<Either<f64, Null>>,
    /// `reconnecting`, `paused`: why.
    pub why: Option<String>,
    /// `missed`: how many.
    pub count: Option<i64>,
}

impl From<ForwardEvent> for NativeForwardEvent {
    fn from(event: ForwardEvent) -> Self {
        let mut told = Self::default();
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
                told = Self::of_connection(connection, remote, local);
                told.sent = Some(count(sent));
                told.received = Some(count(received));
                told.lasted = Some(lasted.as_secs_f64());
                let error = error.map(|error| describe(&error, None));
                told.error = Some(error.map_or(Either::B(Null), Either::A));
                "closed"
            }
            ForwardEvent::Missed { count: number } => {
                told.count = Some(count(number));
                "missed"
            }
            ForwardEvent::Opened {
                connection,
                remote,
                local,
            } => {
                told = Self::of_connection(connection, remote, local);
                "opened"
            }
            ForwardEvent::Paused { why } => {
                told.why = Some(why);
                "paused"
            }
            ForwardEvent::Ready { pod, away } => {
                told.pod = Some(pod);
                let away = away.map(|away| away.as_secs_f64());
                told.away = Some(away.map_or(Either::B(Null), Either::A));
                "ready"
            }
            ForwardEvent::Reconnecting { pod, why } => {
                told.pod = Some(pod);
                told.why = Some(why);
                "reconnecting"
            }
            ForwardEvent::Resumed => "resumed",
            _ => "other",
        };
        told.kind = kind.to_owned();
        told
    }
}

impl NativeForwardEvent {
    fn of_connection(connection: u64, remote: u16, local: u16) -> Self {
        Self {
            connection: Some(count(connection)),
            remote: Some(remote),
            local: Some(local),
            ..Self::default()
        }
    }
}
