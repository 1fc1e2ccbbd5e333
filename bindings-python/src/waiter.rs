//! Who waits, and the signal that ends the waiting.
//!
//! Lives here: the two ways to wait, wakers. Never here: what is waited for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use pyo3::prelude::*;
use wsx_core::{Error, ErrorKind};

use crate::bridge::{Local, bridge, lock};
use crate::door::{self, Door};
use crate::failure::Failure;
use crate::notifier::{Message, Notifier};

/// Waits once: with `Waiter(loop, future, door)` the future is settled, with `Waiter()` a thread may `wait`.
///
/// It is armed with the `arm` methods of what is waited for; whatever comes first ends the waiting.
/// A waiter that is dropped waits for nothing.
#[pyclass(frozen, module = "kubectl_wsx._native")]
pub(crate) struct Waiter(Arc<Inner>);

pub(crate) enum Inner {
    Future {
        event_loop: Py<PyAny>,
        future: Py<PyAny>,
        /// Without one, the notifier goes in.
        door: Option<Arc<door::Bell>>,
        told: AtomicBool,
    },
    Thread {
        told: Mutex<bool>,
        bell: Condvar,
    },
}

impl Inner {
    /// Returns the event loop and its future.
    pub(crate) fn future(&self) -> Option<(&Py<PyAny>, &Py<PyAny>)> {
        match self {
            Self::Future {
                event_loop, future, ..
            } => Some((event_loop, future)),
            Self::Thread { .. } => None,
        }
    }
}

#[pymethods]
impl Waiter {
    #[new]
    #[pyo3(signature = (event_loop=None, future=None, door=None))]
    fn new(
        py: Python<'_>,
        event_loop: Option<Py<PyAny>>,
        future: Option<Py<PyAny>>,
        door: Option<&Door>,
    ) -> PyResult<Self> {
        Ok(Self(Arc::new(match (event_loop, future) {
            (Some(event_loop), Some(future)) => Inner::Future {
                event_loop,
                future,
                door: door.map(|door| door.bell(py)).transpose()?,
                told: AtomicBool::new(false),
            },
            _ => Inner::Thread {
                told: Mutex::new(false),
                bell: Condvar::new(),
            },
        })))
    }

    /// Blocks this thread, not the interpreter, for at most so many milliseconds; tells whether the
    /// waiting has ended.
    fn wait(&self, py: Python<'_>, milliseconds: u64) -> bool {
        let Inner::Thread { told, bell } = &*self.0 else {
            return false;
        };
        py.detach(|| {
            let limit = Duration::from_millis(milliseconds);
            let waiting = bell.wait_timeout_while(lock(told), limit, |told| !*told);
            *waiting.unwrap_or_else(PoisonError::into_inner).0
        })
    }
}

/// What ends the waiting of all who were armed with it; a waker for the runtime.
pub(crate) struct Signal {
    waiters: Mutex<Vec<Weak<Inner>>>,
    notifier: Arc<Notifier>,
}

impl Signal {
    pub(crate) fn new(notifier: &Arc<Notifier>) -> Arc<Self> {
        Arc::new(Self {
            waiters: Mutex::default(),
            notifier: Arc::clone(notifier),
        })
    }

    /// Makes `waiter` wait, unless `poll` is ready; tells whether it is.
    ///
    /// # Errors
    /// `Closed` when the interpreter is about to end: no event loop would ever be woken.
    pub(crate) fn arm<T>(
        self: &Arc<Self>,
        py: Python<'_>,
        waiter: &Waiter,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> PyResult<Option<T>> {
        if matches!(*waiter.0, Inner::Future { .. }) && self.notifier.has_ended() {
            let error = Error::new(ErrorKind::Closed, "the interpreter is shutting down");
            return Err(Failure::from(error).raise(py));
        }
        let mut waiters = lock(&self.waiters);
        waiters.retain(|waiter| waiter.strong_count() > 0);
        waiters.push(Arc::downgrade(&waiter.0));
        drop(waiters);
        let waker = Waker::from(Arc::clone(self));
        match poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => Ok(Some(value)),
            Poll::Pending => Ok(None),
        }
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let waiters = std::mem::take(&mut *lock(&self.waiters));
        for waiter in waiters.iter().filter_map(Weak::upgrade) {
            match &*waiter {
                Inner::Future { told, door, .. } => {
                    if told.swap(true, Ordering::Relaxed) {
                        continue;
                    }
                    match door {
                        Some(door) => door.ring(Arc::clone(&waiter)),
                        None => self.notifier.push(Message::Wake(Arc::clone(&waiter))),
                    }
                }
                Inner::Thread { told, bell } => {
                    *lock(told) = true;
                    bell.notify_one();
                }
            }
        }
    }
}

/// A signal that Python gives.
#[pyclass(frozen, module = "kubectl_wsx._native")]
pub(crate) struct Bell(Local<Arc<Signal>>);

#[pymethods]
impl Bell {
    #[new]
    fn new(py: Python<'_>) -> PyResult<Self> {
        Ok(Self(Local::new(Signal::new(&bridge(py)?.notifier))))
    }

    /// Makes `waiter` wait for the next `ring`.
    fn arm(&self, py: Python<'_>, waiter: &Waiter) -> PyResult<()> {
        let armed = self.0.get(py)?.arm(py, waiter, |_| Poll::<()>::Pending);
        armed.map(|_| ())
    }

    /// Ends the waiting of all who wait.
    fn ring(&self, py: Python<'_>) -> PyResult<()> {
        self.0.get(py)?.wake_by_ref();
        Ok(())
    }
}
