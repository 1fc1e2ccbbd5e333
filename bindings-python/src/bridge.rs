//! The tokio runtime of this process, and what belongs to the process that made it.
//!
//! Lives here: starting, the end of the interpreter, forks. Never here: what runs on it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use tokio::runtime::{Builder, Runtime};
use wsx_core::{Error, ErrorKind};

use crate::failure::Failure;
use crate::notifier::{Handle, Notifier};

/// What all clients of one process share. Made with the first client, never dropped.
pub(crate) struct Bridge {
    pub(crate) runtime: Runtime,
    pub(crate) notifier: Arc<Notifier>,
    thread: Mutex<Option<Handle>>,
}

/// Locked only by threads that hold the interpreter and do not let go of it meanwhile, so that a
/// fork never finds it locked.
static BRIDGE: Mutex<Option<Arc<Bridge>>> = Mutex::new(None);

/// How often this process came to be by a fork since the module was loaded.
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// Enough for what an interpreter can take; with two, sessions bounce between them.
const WORKERS: usize = 1;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code panics while it holds one of these.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the bridge of this process.
pub(crate) fn bridge(py: Python<'_>) -> PyResult<Arc<Bridge>> {
    let mut bridge = lock(&BRIDGE);
    if let Some(bridge) = &*bridge {
        return Ok(Arc::clone(bridge));
    }
    let failed = |error: std::io::Error| {
        let error = Error::new(ErrorKind::LocalIo, "cannot start a thread").caused_by(error);
        Failure::from(error).raise(py)
    };
    let runtime = Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("kubectl-wsx")
        .enable_all()
        .build()
        .map_err(failed)?;
    let (notifier, thread) = Notifier::start().map_err(failed)?;
    let made = Arc::new(Bridge {
        runtime,
        notifier,
        thread: Mutex::new(Some(thread)),
    });
    *bridge = Some(Arc::clone(&made));
    Ok(made)
}

/// Asks to be told of the interpreter's end and of forks.
pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    let end = wrap_pyfunction!(shut_down, py)?;
    py.import("atexit")?.call_method1("register", (end,))?;
    let os = py.import("os")?;
    if os.hasattr("register_at_fork")? {
        let named = PyDict::new(py);
        named.set_item("after_in_child", wrap_pyfunction!(after_fork, py)?)?;
        os.call_method("register_at_fork", (), Some(&named))?;
    }
    Ok(())
}

/// Ends the thread that enters the interpreter, before there is none left to enter.
#[pyfunction]
fn shut_down(py: Python<'_>) {
    let thread = lock(&BRIDGE)
        .as_ref()
        .and_then(|bridge| lock(&bridge.thread).take());
    if let Some(thread) = thread {
        py.detach(|| thread.end());
    }
}

/// Forgets the bridge of the parent: its threads do not exist here, and its locks may never open.
#[pyfunction]
fn after_fork() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    std::mem::forget(lock(&BRIDGE).take());
}

/// Something of the process that made it. In a forked child it can be neither used nor dropped,
/// because threads that the child does not have may have held its locks.
pub(crate) struct Local<T> {
    value: Option<T>,
    generation: u64,
}

impl<T> Local<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            value: Some(value),
            generation: GENERATION.load(Ordering::Relaxed),
        }
    }

    /// Returns the value.
    ///
    /// # Errors
    /// `Closed` in a forked child.
    pub(crate) fn get(&self, py: Python<'_>) -> PyResult<&T> {
        self.own().ok_or_else(|| {
            Failure::from(
                Error::new(ErrorKind::Closed, "this belongs to the process that forked")
                    .because("connections and threads do not survive a fork")
                    .remedy("connect a new client in the child"),
            )
            .raise(py)
        })
    }

    /// Returns the value; nothing in a forked child.
    pub(crate) fn own(&self) -> Option<&T> {
        let own = self.generation == GENERATION.load(Ordering::Relaxed);
        self.value.as_ref().filter(|_| own)
    }
}

impl<T> Drop for Local<T> {
    fn drop(&mut self) {
        if self.own().is_none() {
            std::mem::forget(self.value.take());
        }
    }
}
