//! `kubectl_wsx._native`: what the Python package `kubectl_wsx` stands on.
//!
//! A roof over `wsx_core`: it converts, calls, converts. Everything public is in Python, in
//! `python/kubectl_wsx`; `_native.pyi` beside it says what is here.
//!
//! - `bridge`: the tokio runtime of this process, and what a fork means
//! - `door`: how event loops are woken
//! - `notifier`: the one thread that enters the interpreter: notices, event loops without a door
//! - `waiter`: who waits for what: an event loop's future, or a thread
//! - `operation`: things done once: connect, exec, run, logs, port_forward, wait
//! - `captured`: all that a command wrote
//! - `client`, `process`, `stream`, `logs`, `forward`, `forward_stream`: the things themselves
//! - `log_options`, `log_values`: what is asked of logs, and what comes of them
//! - `forward_options`, `forward_values`: the same of port-forwards
//! - `failure`: errors as Python sees them
//!
//! No thread of the runtime ever waits for the interpreter: they mark a waiter, which never blocks,
//! and the event loop or the notifier's thread does the rest.

#![forbid(unsafe_code)]

mod bridge;
mod captured;
mod client;
mod door;
mod failure;
mod forward;
mod forward_options;
mod forward_stream;
mod forward_values;
mod log_options;
mod log_values;
mod logs;
mod notifier;
mod operation;
mod process;
mod stream;
mod waiter;

/// The native half of `kubectl_wsx`; not for use by itself.
#[pyo3::pymodule(gil_used = false)]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::client::{Client, connect};
    #[pymodule_export]
    use crate::door::Door;
    #[pymodule_export]
    use crate::forward::PortForward;
    #[pymodule_export]
    use crate::forward_stream::Connection;
    #[pymodule_export]
    use crate::logs::Logs;
    #[pymodule_export]
    use crate::notifier::flush;
    #[pymodule_export]
    use crate::operation::Operation;
    #[pymodule_export]
    use crate::process::Process;
    #[pymodule_export]
    use crate::stream::{Stdin, Stream};
    #[pymodule_export]
    use crate::waiter::{Bell, Waiter};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("KINDS", crate::failure::kinds(module.py())?)?;
        module.add("DEFAULTS", crate::client::defaults(module.py())?)?;
        module.add("LOG_DEFAULTS", crate::log_options::defaults(module.py())?)?;
        let forward = crate::forward_options::defaults(module.py())?;
        module.add("FORWARD_DEFAULTS", forward)?;
        #[cfg(debug_assertions)]
        module.setattr(
            "_defect",
            pyo3::wrap_pyfunction!(crate::failure::_defect, module)?,
        )?;
        crate::bridge::install(module.py())
    }
}
