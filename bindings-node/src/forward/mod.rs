//! A port-forward, as things to take that never wait.
//!
//! - `event`: what happened, `options`: what is asked for, `stream`: a connection without a socket
//!
//! Where nothing is found the bell will ring.

pub mod event;
pub mod options;
pub mod stream;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use napi::Env;
use napi::bindgen_prelude::{Either, Function, Null, PromiseRaw};
use napi_derive::napi;
use wsx_core::{Error, ErrorKind, ForwardEvent, ForwardSubprotocol, Opener, PortForward};

use self::event::NativeForwardEvent;
use self::stream::NativeForwardStream;
use crate::bell::Bell;
use crate::cancel::Cancel;
use crate::error::rejected;

/// How many events wait for being taken.
const KEPT: usize = 1000;

/// A running port-forward. Its drop ends it.
#[napi]
pub struct NativeForward {
    /// Until its events are over.
    running: Option<PortForward>,
    /// From then on.
    over: Option<Over>,
    ended: Option<wsx_core::Result<()>>,
    opener: Opener,
    events: VecDeque<ForwardEvent>,
    missed: u64,
    bell: Option<Arc<Bell>>,
}

/// What is left when no more events come: how it ended will be known soon.
struct Over {
    forward: Arc<PortForward>,
    /// A future rather than a task: nobody has to end it.
    outcome: Pin<Box<dyn Future<Output = wsx_core::Result<()>> + Send>>,
}

/// A port that is listened on.
#[napi(object)]
pub struct NativeForwardedPort {
    /// What was asked for: `pod/web-0`, `service/web`.
    pub target: String,
    /// The port of the pod, or of the service.
    pub remote: u16,
    /// The local port; 0 for a Unix socket.
    pub local: u16,
    /// The local IP address, or the path of the Unix socket.
    pub address: String,
}

/// What was done so far.
#[napi(object)]
pub struct NativeForwardReport {
    /// Connections that came.
    pub connections: i64,
    /// Those that are open now.
    pub active: i64,
    /// Those that were reset.
    pub failed: i64,
    /// Bytes that went to pods.
    pub sent: i64,
    /// Bytes that came from pods and were taken.
    pub received: i64,
    /// How often a lost session was replaced.
    pub reconnects: i64,
    /// How connections travel.
    pub protocol: Either<String, Null>,
}

impl NativeForward {
    pub(crate) fn new(forward: PortForward) -> Self {
        Self {
            opener: forward.opener(),
            running: Some(forward),
            over: None,
            ended: None,
            events: VecDeque::new(),
            missed: 0,
            bell: None,
        }
    }

    fn waker(&self) -> Waker {
        match &self.bell {
            Some(bell) => bell.waker(),
            None => Waker::noop().clone(),
        }
    }

    fn forward(&self) -> Option<&PortForward> {
        let over = self.over.as_ref().map(|over| &*over.forward);
        self.running.as_ref().or(over)
    }

    /// Fetches the events that are there; the bell will ring when there are more.
    fn fetch(&mut self) {
        let waker = self.waker();
        let mut context = Context::from_waker(&waker);
        let mut batch = Vec::new();
        while let Some(forward) = &mut self.running {
            let polled = forward.poll_events(&mut context, &mut batch);
            for event in batch.drain(..) {
                match event {
                    ForwardEvent::Missed { count } => self.missed += count,
                    _ if self.missed > 0 || self.events.len() >= KEPT => self.missed += 1,
                    event => self.events.push_back(event),
                }
            }
            match polled {
                Poll::Pending => return,
                Poll::Ready(true) => {}
                Poll::Ready(false) => self.finish(),
            }
        }
    }

    /// Turns to how it ended.
    fn finish(&mut self) {
        self.over = self.running.take().map(|forward| {
            let forward = Arc::new(forward);
            let waiting = Arc::clone(&forward);
            let outcome = Box::pin(async move { waiting.wait().await });
            Over { forward, outcome }
        });
    }
}

#[napi]
impl NativeForward {
    /// Has this function called when something that was not there may be.
    #[napi(catch_unwind)]
    pub fn listen(&mut self, callback: Function<'_, (), ()>) -> napi::Result<()> {
        self.bell = Some(Bell::new(&callback)?);
        Ok(())
    }

    /// Says that the function was called.
    #[napi(catch_unwind)]
    pub fn heard(&self) {
        if let Some(bell) = &self.bell {
            bell.heard();
        }
    }

    /// Takes the events that are there. None: the bell will ring; `null`: there will be no more.
    #[napi(catch_unwind)]
    pub fn events(&mut self) -> Option<Vec<NativeForwardEvent>> {
        self.fetch();
        let mut events: Vec<_> = self.events.drain(..).map(Into::into).collect();
        let count = std::mem::take(&mut self.missed);
        if count > 0 {
            events.push(ForwardEvent::Missed { count }.into());
        }
        (!events.is_empty() || self.running.is_some()).then_some(events)
    }

    /// Fails with how it ended: `closed` where it was closed. Nothing while it runs, and the bell will
    /// ring.
    #[napi(catch_unwind, ts_return_type = "null")]
    pub fn status(&mut self) -> napi::Result<Null> {
        self.fetch();
        let waker = self.waker();
        if self.ended.is_none()
            && let Some(Over { outcome, .. }) = &mut self.over
            && let Poll::Ready(ended) = outcome.as_mut().poll(&mut Context::from_waker(&waker))
        {
            self.ended = Some(ended);
        }
        match &self.ended {
            None => Ok(Null),
            Some(Ok(())) => Err(rejected(
                &Error::new(ErrorKind::Closed, "the port-forward was closed"),
                None,
            )),
            Some(Err(error)) => Err(rejected(error, None)),
        }
    }

    /// Opens a connection to one of the ports that were asked for.
    #[napi]
    pub fn open<'env>(
        &self,
        env: &'env Env,
        remote: String,
        cancel: &Cancel,
    ) -> napi::Result<PromiseRaw<'env, NativeForwardStream>> {
        let opener = self.opener.clone();
        env.spawn_future(cancel.bound(async move {
            let stream = opener.open(&remote).await;
            let stream = stream.map_err(|error| rejected(&error, None))?;
            Ok(NativeForwardStream::new(stream))
        }))
    }

    /// Ends the listeners and resets the connections; the end follows.
    #[napi(catch_unwind)]
    pub fn close(&self) {
        if let Some(forward) = &self.running {
            forward.close();
        }
    }

    /// Tells what is listened on.
    #[napi(catch_unwind)]
    pub fn local_ports(&self) -> Vec<NativeForwardedPort> {
        let ports = self.forward().map(PortForward::local_ports);
        let ports = ports.unwrap_or_default().iter();
        ports
            .map(|port| NativeForwardedPort {
                target: port.target.clone(),
                remote: port.remote,
                local: port.local,
                address: port.address.clone(),
            })
            .collect()
    }

    /// Tells what was done so far.
    #[napi(catch_unwind)]
    pub fn report(&self) -> NativeForwardReport {
        let report = self.forward().map(PortForward::report).unwrap_or_default();
        let protocol = report.protocol.map(ForwardSubprotocol::name);
        NativeForwardReport {
            connections: count(report.connections),
            active: count(report.active),
            failed: count(report.failed),
            sent: count(report.sent),
            received: count(report.received),
            reconnects: count(report.reconnects),
            protocol: protocol.map_or(Either::B(Null), |name| Either::A(name.to_owned())),
        }
    }
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
