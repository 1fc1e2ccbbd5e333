//! How an event loop is woken without a thread of ours: it watches a pipe, as it does its own.
//!
//! Lives here: the pipe, and the futures that are settled when it rings. Never here: loops that watch
//! no pipes, as on Windows; the notifier's thread wakes those.

use std::io::{PipeReader, PipeWriter, Read as _, Write as _};
use std::mem;
use std::sync::{Arc, Mutex};

use pyo3::exceptions::PyNotImplementedError;
use pyo3::prelude::*;
use wsx_core::{Error, ErrorKind};

use crate::bridge::{Local, lock};
use crate::failure::Failure;
use crate::notifier::settle;
use crate::waiter::Inner;

/// The way into one event loop, which calls `open` whenever it rings.
#[pyclass(frozen, module = "kubectl_wsx._native")]
pub(crate) struct Door(Local<Arc<Bell>>);

/// runtime, threads --waiters--> event loop
pub(crate) struct Bell {
    state: Mutex<State>,
}

struct State {
    reader: PipeReader,
    writer: PipeWriter,
    woken: Vec<Arc<Inner>>,
}

impl Bell {
    /// Has the event loop settle the future of this waiter. Never blocks: there is a byte in the pipe
    /// only while somebody is in the list, and then it is one.
    pub(crate) fn ring(&self, waiter: Arc<Inner>) {
        let mut state = lock(&self.state);
        if state.woken.is_empty() {
            // The other end is held here, too, so it cannot fail.
            let _ = state.writer.write(&[1]);
        }
        state.woken.push(waiter);
    }

    fn answer(&self) -> Vec<Arc<Inner>> {
        let mut state = lock(&self.state);
        if !state.woken.is_empty() {
            // As above.
            let _ = state.reader.read(&mut [0]);
        }
        mem::take(&mut state.woken)
    }

    #[cfg(unix)]
    fn fileno(&self) -> Option<i32> {
        use std::os::fd::AsRawFd as _;
        Some(lock(&self.state).reader.as_raw_fd())
    }

    #[cfg(not(unix))]
    fn fileno(&self) -> Option<i32> {
        None
    }
}

impl Door {
    pub(crate) fn bell(&self, py: Python<'_>) -> PyResult<Arc<Bell>> {
        self.0.get(py).cloned()
    }
}

#[pymethods]
impl Door {
    /// Makes a way into this event loop, to be called on its thread; `None` where it watches no pipes.
    #[staticmethod]
    fn into<'py>(
        py: Python<'py>,
        event_loop: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, Self>>> {
        let (reader, writer) = std::io::pipe().map_err(|error| {
            let failed = Error::new(
                ErrorKind::LocalIo,
                "cannot open a pipe to wake the event loop",
            );
            Failure::from(failed.caused_by(error)).raise(py)
        })?;
        let woken = Vec::new();
        let state = Mutex::new(State {
            reader,
            writer,
            woken,
        });
        let bell = Arc::new(Bell { state });
        let Some(fileno) = bell.fileno() else {
            return Ok(None);
        };
        let door = Bound::new(py, Self(Local::new(bell)))?;
        match event_loop.call_method1("add_reader", (fileno, door.getattr("open")?)) {
            Ok(_) => Ok(Some(door)),
            Err(error) if error.is_instance_of::<PyNotImplementedError>(py) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Settles the futures of all who were woken.
    fn open(&self, py: Python<'_>) -> PyResult<()> {
        for waiter in self.0.get(py)?.answer() {
            if let Some((_, future)) = waiter.future() {
                settle(future.bind(py))?;
            }
        }
        Ok(())
    }
}
