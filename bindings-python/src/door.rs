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

/// The way into one event loop, which calls `open` whenever it rings. It goes with its loop, and the pipe with it,
/// whoever on the runtime would still ring.
#[pyclass(frozen, module = "kubectl_wsx._native")]
pub(crate) struct Door(Local<Arc<Bell>>);

/// runtime, threads --waiters--> event loop
pub(crate) struct Bell {
    state: Mutex<State>,
}

struct State {
    /// None once the door is gone.
    pipe: Option<(PipeReader, PipeWriter)>,
    woken: Vec<Arc<Inner>>,
}

impl Bell {
    /// Has the event loop settle the future of this waiter. Never blocks: there is a byte in the pipe
    /// only while somebody is in the list, and then it is one.
    pub(crate) fn ring(&self, waiter: Arc<Inner>) {
        let State { pipe, woken } = &mut *lock(&self.state);
        let Some((_, writer)) = pipe else {
            return;
        };
        if woken.is_empty() {
            // The other end is held here, too, so it cannot fail.
            let _ = writer.write(&[1]);
        }
        woken.push(waiter);
    }

    fn answer(&self) -> Vec<Arc<Inner>> {
        let State { pipe, woken } = &mut *lock(&self.state);
        if let (Some((reader, _)), false) = (pipe, woken.is_empty()) {
            // As above.
            let _ = reader.read(&mut [0]);
        }
        mem::take(woken)
    }

    fn close(&self) {
        let mut state = lock(&self.state);
        state.pipe = None;
        state.woken.clear();
    }

    #[cfg(unix)]
    fn fileno(&self) -> Option<i32> {
        use std::os::fd::AsRawFd as _;
        let state = lock(&self.state);
        state.pipe.as_ref().map(|(reader, _)| reader.as_raw_fd())
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

impl Drop for Door {
    fn drop(&mut self) {
        if let Some(bell) = self.0.own() {
            bell.close();
        }
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
        let pipe = std::io::pipe().map_err(|error| {
            let failed = Error::new(
                ErrorKind::LocalIo,
                "cannot open a pipe to wake the event loop",
            );
            Failure::from(failed.caused_by(error)).raise(py)
        })?;
        let state = State {
            pipe: Some(pipe),
            woken: Vec::new(),
        };
        let state = Mutex::new(state);
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
            if let Some((_, future)) = waiter.future(py) {
                settle(future.bind(py))?;
            }
        }
        Ok(())
    }
}
