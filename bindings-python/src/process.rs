//! A running process.
//!
//! Lives here: its streams, its ending, its size. Never here: bytes (stream.rs).

use pyo3::prelude::*;
use wsx_core::Size;
use wsx_core::session::Exit;

use crate::bridge::{Local, bridge};
use crate::failure::Failure;
use crate::operation::{Operation, Value, begin, pair};
use crate::stream::{Stdin, Stream};
use crate::waiter::Signal;

/// A remote process; it has the streams that were asked for.
#[pyclass(frozen, module = "kubectl_wsx._native")]
pub(crate) struct Process {
    exit: Local<Exit>,
    #[pyo3(get)]
    has_terminal: bool,
    #[pyo3(get)]
    protocol: &'static str,
    #[pyo3(get)]
    stdin: Option<Py<Stdin>>,
    #[pyo3(get)]
    stdout: Py<Stream>,
    #[pyo3(get)]
    stderr: Py<Stream>,
}

impl Process {
    pub(crate) fn new(py: Python<'_>, process: wsx_core::Process) -> PyResult<Self> {
        let notifier = &bridge(py)?.notifier;
        let has_terminal = process.has_terminal();
        let (output, stdin, exit) = process.split();
        let (stdout, stderr) = output.split();
        let stdin = stdin.map(|stdin| Py::new(py, Stdin::new(stdin, Signal::new(notifier), &exit)));
        Ok(Self {
            has_terminal,
            protocol: exit.report().protocol.name(),
            stdin: stdin.transpose()?,
            stdout: Py::new(py, Stream::new(stdout, Signal::new(notifier), &exit))?,
            stderr: Py::new(py, Stream::new(stderr, Signal::new(notifier), &exit))?,
            exit: Local::new(exit),
        })
    }
}

#[pymethods]
impl Process {
    /// Begins to wait for the status: a pair of exit code and confidence.
    fn wait(&self, py: Python<'_>) -> PyResult<Operation> {
        wait(py, self.exit.get(py)?)
    }

    /// Returns the status where it is known, and nothing when there is none or none yet.
    fn status(&self, py: Python<'_>) -> PyResult<Option<(u8, &'static str)>> {
        let known = self.exit.get(py)?.try_wait();
        Ok(known.and_then(Result::ok).map(pair))
    }

    /// Tells whether the session is over, however it ended.
    fn has_ended(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.exit.get(py)?.try_wait().is_some())
    }

    /// Says the terminal's new size.
    fn resize(&self, py: Python<'_>, columns: u16, rows: u16) -> PyResult<()> {
        self.exit.get(py)?.resize(Size::new(columns, rows));
        Ok(())
    }

    /// Ends the session; the remote process may live on.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.exit.get(py)?.close();
        Ok(())
    }
}

/// Begins to wait for the status.
pub(crate) fn wait(py: Python<'_>, exit: &Exit) -> PyResult<Operation> {
    let exit = exit.clone();
    begin(py, async move {
        match exit.wait().await {
            Ok(status) => Ok(Value::Status(status)),
            Err(error) => Err(Failure::from(error).after(exit.report())),
        }
    })
}
