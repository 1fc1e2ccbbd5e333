//! The streams of a process: bytes in, bytes out, and waiting apart from both.
//!
//! Lives here: `bytes` objects. Never here: how reads are put together (`_streams.py`).

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use wsx_core::session::{self, Exit};
use wsx_core::{Pipe, Taken};

use crate::bridge::{Local, lock};
use crate::failure::{Failure, guarded};
use crate::operation::Operation;
use crate::process::wait;
use crate::waiter::{Signal, Waiter};

/// One output. The session lives as long as anybody holds one of its streams.
#[pyclass(frozen, module = "kubectl_wsx._native")]
pub(crate) struct Stream(Local<Reading>);

struct Reading {
    pipe: Pipe,
    signal: Arc<Signal>,
    exit: Exit,
}

impl Stream {
    pub(crate) fn new(pipe: Pipe, signal: Arc<Signal>, exit: &Exit) -> Self {
        let exit = exit.clone();
        Self(Local::new(Reading { pipe, signal, exit }))
    }
}

/// The longest `bytes` that are put together: longer ones cost more, as malloc maps each anew.
pub(crate) const JOINED: usize = 96 * 1024;

pub(crate) fn joined<'py>(py: Python<'py>, pieces: &[Bytes]) -> PyResult<Bound<'py, PyBytes>> {
    let length = pieces.iter().map(Bytes::len).sum();
    PyBytes::new_with(py, length, |mut rest| {
        for piece in pieces {
            let (head, tail) = rest.split_at_mut(piece.len());
            head.copy_from_slice(piece);
            rest = tail;
        }
        Ok(())
    })
}

#[pymethods]
impl Stream {
    /// Takes at most `size` bytes: `None` when nothing is there yet, `b""` at the end.
    fn try_read<'py>(&self, py: Python<'py>, size: usize) -> PyResult<Option<Bound<'py, PyBytes>>> {
        guarded(py, || {
            Ok(match self.0.get(py)?.pipe.try_pieces(size.min(JOINED)) {
                Taken::Data(pieces) => Some(joined(py, &pieces)?),
                Taken::End => Some(PyBytes::new(py, b"")),
                _ => None,
            })
        })
    }

    /// Takes whole lines, until there are so many of them or so many bytes: `None` when none is there
    /// yet, `[]` at the end.
    fn try_lines<'py>(
        &self,
        py: Python<'py>,
        items: usize,
        size: usize,
    ) -> PyResult<Option<Bound<'py, PyList>>> {
        guarded(py, || {
            Ok(match self.0.get(py)?.pipe.try_lines(items, size) {
                Taken::Data(lines) => {
                    let mut begin = 0;
                    let lines = lines.ends.iter().map(|end| {
                        let line = &lines.data[begin..*end as usize];
                        begin = *end as usize;
                        PyBytes::new(py, line)
                    });
                    Some(PyList::new(py, lines)?)
                }
                Taken::End => Some(PyList::empty(py)),
                _ => None,
            })
        })
    }

    /// Makes `waiter` wait until `try_read` has something to say; true when it has.
    fn arm(&self, py: Python<'_>, waiter: &Waiter) -> PyResult<bool> {
        guarded(py, || {
            let Reading { pipe, signal, .. } = self.0.get(py)?;
            Ok(signal.arm(py, waiter, |cx| pipe.poll_ready(cx))?.is_some())
        })
    }

    /// Makes `waiter` wait until `try_lines` has something to say; true when it has.
    fn arm_line(&self, py: Python<'_>, waiter: &Waiter) -> PyResult<bool> {
        guarded(py, || {
            let Reading { pipe, signal, .. } = self.0.get(py)?;
            Ok(signal.arm(py, waiter, |cx| pipe.poll_line(cx))?.is_some())
        })
    }

    /// Begins to wait for the status, as the process does.
    fn wait(&self, py: Python<'_>) -> PyResult<Operation> {
        wait(py, &self.0.get(py)?.exit)
    }

    /// Drops what is there and what will come.
    fn discard(&self, py: Python<'_>) -> PyResult<()> {
        self.0.get(py)?.pipe.discard();
        Ok(())
    }

    /// Tells whether everything was taken and nothing will come.
    fn is_at_end(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.0.get(py)?.pipe.is_at_end())
    }
}

/// The input.
#[pyclass(frozen, module = "kubectl_wsx._native")]
pub(crate) struct Stdin(Local<Writing>);

struct Writing {
    stdin: Mutex<Option<session::Stdin>>,
    signal: Arc<Signal>,
    _exit: Exit,
}

impl Stdin {
    pub(crate) fn new(stdin: session::Stdin, signal: Arc<Signal>, exit: &Exit) -> Self {
        Self(Local::new(Writing {
            stdin: Mutex::new(Some(stdin)),
            signal,
            _exit: exit.clone(),
        }))
    }
}

#[pymethods]
impl Stdin {
    /// Hands over all of `data`, whatever the room.
    fn write(&self, py: Python<'_>, data: PyBuffer<u8>) -> PyResult<()> {
        guarded(py, || {
            let data = Bytes::from(data.to_vec(py)?);
            match &*lock(&self.0.get(py)?.stdin) {
                Some(stdin) => stdin.try_write(data),
                None => Ok(false),
            }
            .map(|_| ())
            .map_err(|error| Failure::from(error).raise(py))
        })
    }

    /// Returns about how many bytes wait to be sent.
    fn waiting(&self, py: Python<'_>) -> PyResult<usize> {
        let stdin = lock(&self.0.get(py)?.stdin);
        Ok(stdin.as_ref().map_or(0, session::Stdin::waiting))
    }

    /// Makes `waiter` wait until there is room; true when there is. Raises when nobody takes more.
    fn arm(&self, py: Python<'_>, waiter: &Waiter) -> PyResult<bool> {
        guarded(py, || {
            let Writing { stdin, signal, .. } = self.0.get(py)?;
            let stdin = lock(stdin);
            let Some(stdin) = &*stdin else {
                return Ok(true);
            };
            let drained = signal.arm(py, waiter, |cx| stdin.poll_drained(cx))?;
            match drained.transpose() {
                Ok(room) => Ok(room.is_some()),
                Err(error) => Err(Failure::from(error).raise(py)),
            }
        })
    }

    /// Ends the input; again does nothing.
    fn end(&self, py: Python<'_>) -> PyResult<()> {
        drop(lock(&self.0.get(py)?.stdin).take());
        Ok(())
    }
}
