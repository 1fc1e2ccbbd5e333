//! Things that are done once: connect, exec, run, logs, port_forward, wait.
//!
//! Lives here: running them on the runtime, taking the result. Never here: what they do.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use futures_util::FutureExt as _;
use pyo3::prelude::*;
use tokio::task::AbortHandle;
use wsx_core::{Error, ErrorKind, ExitStatus, ForwardStream, HalfClose, LogEnd};

use crate::bridge::{Local, bridge, lock};
use crate::captured::Captured;
use crate::client::Client;
use crate::failure::{Failure, guarded};
use crate::forward::PortForward;
use crate::forward_stream::{Connection, Lingering};
use crate::log_values;
use crate::logs::Logs;
use crate::process::Process;
use crate::waiter::{Signal, Waiter};

/// What an operation ends with.
pub(crate) enum Value {
    Client(wsx_core::Client),
    Completed(ExitStatus, Captured, Captured),
    Connection(ForwardStream, Arc<Lingering>),
    LogEnd(LogEnd),
    Logs(wsx_core::Logs),
    Nothing,
    PortForward(wsx_core::PortForward, HalfClose),
    Process(wsx_core::Process),
    Status(ExitStatus),
    Text(String),
}

/// Something that was begun: wait until `arm` is true, then take the `result`. Dropping it lets it
/// go on and forgets what it brings.
#[pyclass(frozen, module = "kubectl_wsx._native")]
pub(crate) struct Operation(Local<Begun>);

struct Begun {
    shared: Arc<Shared>,
    task: AbortHandle,
}

struct Shared {
    state: Mutex<State>,
    signal: Arc<Signal>,
}

enum State {
    Running,
    Done(Box<Result<Value, Failure>>),
    Taken,
}

impl Shared {
    fn finish(&self, outcome: Result<Value, Failure>) {
        *lock(&self.state) = State::Done(Box::new(outcome));
        Waker::from(Arc::clone(&self.signal)).wake();
    }
}

/// Runs `work` on the runtime. A panic in it becomes an error.
pub(crate) fn begin(
    py: Python<'_>,
    work: impl Future<Output = Result<Value, Failure>> + Send + 'static,
) -> PyResult<Operation> {
    let bridge = bridge(py)?;
    let shared = Arc::new(Shared {
        state: Mutex::new(State::Running),
        signal: Signal::new(&bridge.notifier),
    });
    let task = bridge.runtime.spawn({
        let shared = Arc::clone(&shared);
        async move {
            let outcome = AssertUnwindSafe(work).catch_unwind().await;
            shared.finish(outcome.unwrap_or_else(|panic| Err(Failure::panicked(&*panic))));
        }
    });
    Ok(Operation(Local::new(Begun {
        shared,
        task: task.abort_handle(),
    })))
}

#[pymethods]
impl Operation {
    /// Makes `waiter` wait for the end; true when that has come.
    fn arm(&self, py: Python<'_>, waiter: &Waiter) -> PyResult<bool> {
        let shared = &self.0.get(py)?.shared;
        let armed = shared
            .signal
            .arm(py, waiter, |_| match &*lock(&shared.state) {
                State::Running => Poll::Pending,
                State::Done(_) | State::Taken => Poll::Ready(()),
            })?;
        Ok(armed.is_some())
    }

    /// Takes the result, or raises what went wrong.
    fn result(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        guarded(py, || {
            let shared = &self.0.get(py)?.shared;
            let state = std::mem::replace(&mut *lock(&shared.state), State::Taken);
            let State::Done(outcome) = state else {
                let error = Error::new(ErrorKind::Internal, "there is no result to take");
                return Err(Failure::from(error).raise(py));
            };
            outcome
                .map_err(|failure| failure.raise(py))?
                .into_python(py)
        })
    }

    /// Ends it early: what is under way is dropped, and connections are closed.
    fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        self.0.get(py)?.task.abort();
        Ok(())
    }
}

impl Value {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(match self {
            Self::Client(client) => Bound::new(py, Client::new(client))?.into_any().unbind(),
            Self::LogEnd(end) => log_values::pair(end).into_pyobject(py)?.into_any().unbind(),
            Self::Logs(logs) => Bound::new(py, Logs::new(py, logs)?)?.into_any().unbind(),
            Self::Connection(stream, lingering) => {
                let connection = Connection::new(py, stream, lingering)?;
                Bound::new(py, connection)?.into_any().unbind()
            }
            Self::Nothing => py.None(),
            Self::PortForward(forward, half_close) => {
                let forward = PortForward::new(py, forward, half_close)?;
                Bound::new(py, forward)?.into_any().unbind()
            }
            Self::Process(process) => {
                let process = Process::new(py, process)?;
                Bound::new(py, process)?.into_any().unbind()
            }
            Self::Status(status) => pair(status).into_pyobject(py)?.into_any().unbind(),
            Self::Text(text) => text.into_pyobject(py)?.into_any().unbind(),
            Self::Completed(status, stdout, stderr) => {
                let (code, confidence) = pair(status);
                let (stdout, stderr) = (stdout.into_bytes(py)?, stderr.into_bytes(py)?);
                let all = (code, confidence, stdout, stderr);
                all.into_pyobject(py)?.into_any().unbind()
            }
        })
    }
}

pub(crate) fn pair(status: ExitStatus) -> (u8, &'static str) {
    (status.code, status.confidence.as_str())
}
