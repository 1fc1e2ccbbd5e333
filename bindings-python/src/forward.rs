//! A running port-forward: what it listens on, what happens to it, how it ends.
//!
//! Lives here: taking events, waiting. Never here: connections (`forward_stream.rs`), options
//! (`forward_options.rs`), Python's objects of events (`forward_values.rs`).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use pyo3::prelude::*;
use wsx_core::{ForwardEvent, ForwardSubprotocol, HalfClose, Opener};

use crate::bridge::{Local, bridge, lock};
use crate::failure::guarded;
use crate::forward_stream::Lingering;
use crate::forward_values::{Port, Report, told};
use crate::operation::{Operation, Value, begin};
use crate::waiter::{Signal, Waiter};

/// A port-forward. It runs for as long as this lives, or until `close`.
#[pyclass(frozen, module = "kubectl_wsx._native")]
pub(crate) struct PortForward(Local<Running>);

struct Running {
    held: Mutex<Held>,
    signal: Arc<Signal>,
    opener: Opener,
    lingering: Arc<Lingering>,
}

/// What has come out of the core.
struct Held {
    /// Where events come from. Nothing once their end was seen.
    forward: Option<wsx_core::PortForward>,
    /// Who knows how it ended, once that was seen.
    over: Option<Arc<wsx_core::PortForward>>,
    /// What nobody has taken yet.
    events: VecDeque<ForwardEvent>,
    /// How many further ones there were.
    missed: u64,
}

/// How many events whoever waits for the end keeps for whoever takes them.
const KEPT: usize = 1000;

impl Held {
    /// Waits for events and takes those that are there: all of them where nobody has any to take,
    /// else as many as are kept.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(forward) = &mut self.forward else {
            return Poll::Ready(());
        };
        let mut batch = Vec::new();
        let more = forward.poll_events(cx, &mut batch);
        if more.is_pending() && batch.is_empty() {
            return Poll::Pending;
        }
        for event in batch {
            match event {
                ForwardEvent::Missed { count } => self.missed += count,
                _ if self.events.len() >= KEPT => self.missed += 1,
                event => self.events.push_back(event),
            }
        }
        if more == Poll::Ready(false) {
            self.over = self.forward.take().map(Arc::new);
        }
        Poll::Ready(())
    }

    fn has_events(&self) -> bool {
        !self.events.is_empty() || self.missed > 0
    }

    /// Waits for something to take, or the end.
    fn poll_events(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.has_events() {
            true => Poll::Ready(()),
            false => self.poll_more(cx),
        }
    }

    /// Waits for the end, whoever takes the events.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.forward.is_some() {
            if self.poll_more(cx).is_pending() {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    fn take(&mut self) -> Option<ForwardEvent> {
        let missed = || match std::mem::take(&mut self.missed) {
            0 => None,
            count => Some(ForwardEvent::Missed { count }),
        };
        self.events.pop_front().or_else(missed)
    }

    fn core(&self) -> Option<&wsx_core::PortForward> {
        self.forward.as_ref().or(self.over.as_deref())
    }
}

impl PortForward {
    pub(crate) fn new(
        py: Python<'_>,
        forward: wsx_core::PortForward,
        half_close: HalfClose,
    ) -> PyResult<Self> {
        let notifier = &bridge(py)?.notifier;
        let tunnel = forward.report().protocol == Some(ForwardSubprotocol::Tunnel);
        let told = tunnel && half_close != HalfClose::Hold;
        Ok(Self(Local::new(Running {
            opener: forward.opener(),
            held: Mutex::new(Held {
                forward: Some(forward),
                over: None,
                events: VecDeque::new(),
                missed: 0,
            }),
            signal: Signal::new(notifier),
            lingering: Lingering::new(notifier, told),
        })))
    }

    fn arm_with(
        &self,
        py: Python<'_>,
        waiter: &Waiter,
        poll: impl FnOnce(&mut Held, &mut Context<'_>) -> Poll<()>,
    ) -> PyResult<bool> {
        guarded(py, || {
            let Running { held, signal, .. } = self.0.get(py)?;
            let armed = signal.arm(py, waiter, |cx| poll(&mut lock(held), cx))?;
            Ok(armed.is_some())
        })
    }
}

#[pymethods]
impl PortForward {
    /// What is listened on: target, remote port, local port, address.
    fn local_ports(&self, py: Python<'_>) -> PyResult<Vec<Port>> {
        let held = lock(&self.0.get(py)?.held);
        let ports = held.core().map(wsx_core::PortForward::local_ports);
        Ok(ports.unwrap_or_default().iter().map(Port::from).collect())
    }

    /// Begins to open a connection to one of the ports that were asked for.
    fn open(&self, py: Python<'_>, remote: String) -> PyResult<Operation> {
        guarded(py, || {
            let running = self.0.get(py)?;
            let opener = running.opener.clone();
            let lingering = Arc::clone(&running.lingering);
            begin(py, async move {
                let stream = opener.open(&remote).await?;
                Ok(Value::Connection(stream, lingering))
            })
        })
    }

    /// Takes an event where there is one.
    fn take_event(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        guarded(py, || {
            let event = lock(&self.0.get(py)?.held).take();
            event.map(|event| told(py, event)).transpose()
        })
    }

    /// Makes `waiter` wait until there is an event to take, or none will come; true when that is so.
    fn arm(&self, py: Python<'_>, waiter: &Waiter) -> PyResult<bool> {
        self.arm_with(py, waiter, Held::poll_events)
    }

    /// Makes `waiter` wait until it is over, though not all events may be taken; true when it is.
    fn arm_end(&self, py: Python<'_>, waiter: &Waiter) -> PyResult<bool> {
        self.arm_with(py, waiter, Held::poll_end)
    }

    /// Makes `waiter` wait until no connection that was closed here is still on its way; true when none is.
    fn arm_idle(&self, py: Python<'_>, waiter: &Waiter) -> PyResult<bool> {
        self.0.get(py)?.lingering.arm(py, waiter)
    }

    /// Begins to ask how it ended, once it is over.
    fn end(&self, py: Python<'_>) -> PyResult<Operation> {
        let over = lock(&self.0.get(py)?.held).over.clone();
        begin(py, async move {
            match over {
                Some(over) => over.wait().await?,
                None => return Err(still_runs().into()),
            }
            Ok(Value::Nothing)
        })
    }

    /// Returns connections, open ones, failed ones, bytes sent and received, reconnects, and how it travels.
    fn report(&self, py: Python<'_>) -> PyResult<Report> {
        let held = lock(&self.0.get(py)?.held);
        let report = held.core().map(wsx_core::PortForward::report);
        Ok(report.unwrap_or_default().into())
    }

    /// Tells whether it is over and all events were taken.
    fn has_ended(&self, py: Python<'_>) -> PyResult<bool> {
        let held = lock(&self.0.get(py)?.held);
        Ok(held.forward.is_none() && !held.has_events())
    }

    /// Ends it at once. Again does nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let held = lock(&self.0.get(py)?.held);
        if let Some(forward) = held.core() {
            forward.close();
        }
        Ok(())
    }
}

fn still_runs() -> wsx_core::Error {
    wsx_core::Error::new(
        wsx_core::ErrorKind::Internal,
        "the port-forward is not over",
    )
}
