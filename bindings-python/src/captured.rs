//! What a command wrote, kept until Python takes it.
//!
//! Lives here: blocks of memory, each given back as soon as it is copied. Never here: which bytes.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::stream::JOINED;

/// Bytes in blocks. In one piece they would be there twice while `bytes` are made of them: fresh memory
/// costs more than copying does.
#[derive(Default)]
pub(crate) struct Captured(Vec<Vec<u8>>);

/// How large a block is at most.
const BLOCK: usize = 1024 * 1024;

impl Captured {
    /// Keeps these bytes behind the others.
    pub(crate) fn keep(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let Some(block) = self.0.last_mut().filter(|block| block.len() < BLOCK) else {
                self.0.push(Vec::new());
                continue;
            };
            let (head, tail) = data.split_at(data.len().min(BLOCK - block.len()));
            block.extend_from_slice(head);
            data = tail;
        }
    }

    /// Returns all of them as `bytes`.
    pub(crate) fn into_bytes(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        match &*self.0 {
            [] => return Ok(PyBytes::new(py, b"").into_any()),
            [all] => return Ok(PyBytes::new(py, all).into_any()),
            _ => {}
        }
        // It grows without copying, and gives out what it holds.
        let file = py.import("io")?.call_method0("BytesIO")?;
        for block in self.0 {
            for piece in block.chunks(JOINED) {
                file.call_method1(intern!(py, "write"), (PyBytes::new(py, piece),))?;
            }
        }
        file.call_method0("getvalue")
    }
}
