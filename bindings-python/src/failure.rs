//! Errors as Python sees them: an exception of `kubectl_wsx.errors`, with all that is known.
//!
//! Lives here: carrying facts over. Never here: classes and words (Python and the core have them).

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;
use wsx_core::{Error, ErrorKind, Report};

use crate::captured::Captured;

/// An error, and what is known of the session that it ended.
pub(crate) struct Failure {
    error: Error,
    report: Option<Box<Report>>,
    output: Option<(Captured, Captured)>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            error,
            report: None,
            output: None,
        }
    }
}

impl Failure {
    /// Adds what the session had moved.
    pub(crate) fn after(mut self, report: Report) -> Self {
        self.report = Some(Box::new(report));
        self
    }

    /// Adds the stdout and stderr that came before.
    pub(crate) fn with_output(mut self, stdout: Captured, stderr: Captured) -> Self {
        self.output = Some((stdout, stderr));
        self
    }

    /// Makes an error of what a panic left.
    pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Self {
        let words = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "it left no words".to_owned());
        Error::new(ErrorKind::Internal, "a defect of kubectl_wsx: it panicked")
            .because(words)
            .into()
    }

    /// Makes the exception.
    pub(crate) fn raise(self, py: Python<'_>) -> PyErr {
        match self.exception(py) {
            Ok(exception) => PyErr::from_value(exception),
            Err(error) => error,
        }
    }

    fn exception(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let make = MAKE.import(py, "kubectl_wsx.errors", "make")?;
        let facts = PyDict::new(py);
        facts.set_item("why", self.error.why())?;
        facts.set_item("remedies", self.error.remedies())?;
        facts.set_item("http_status", self.error.http_status())?;
        facts.set_item("reason", self.error.reason())?;
        if let Some(report) = self.report {
            facts.set_item("close_code", report.close_code)?;
            facts.set_item("stdout_bytes", report.stdout)?;
            facts.set_item("stderr_bytes", report.stderr)?;
        }
        if let Some((stdout, stderr)) = self.output {
            facts.set_item("stdout", stdout.into_bytes(py)?)?;
            facts.set_item("stderr", stderr.into_bytes(py)?)?;
        }
        make.call(
            (self.error.kind().as_str(), self.error.report()),
            Some(&facts),
        )
    }
}

/// Runs `body`; a panic in it becomes an exception of kind `internal`.
pub(crate) fn guarded<T>(py: Python<'_>, body: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    catch_unwind(AssertUnwindSafe(body))
        .unwrap_or_else(|panic| Err(Failure::panicked(&*panic).raise(py)))
}

/// Panics in a call, or in what was begun, so that the tests see what becomes of it.
#[cfg(debug_assertions)]
#[pyo3::pyfunction]
pub(crate) fn _defect(py: Python<'_>, begun: bool) -> PyResult<crate::operation::Operation> {
    guarded(py, || {
        assert!(begun, "in a call");
        crate::operation::begin(py, async { panic!("in what was begun") })
    })
}

/// Returns all kinds, with whether the command may have run.
pub(crate) fn kinds(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let kinds = PyDict::new(py);
    for kind in ErrorKind::ALL {
        kinds.set_item(kind.as_str(), kind.may_have_started())?;
    }
    Ok(kinds)
}
