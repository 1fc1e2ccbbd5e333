//! Who waits, and the signal that ends the waiting.
//!
//! Lives here: the two ways to wait, wakers. Never here: what is waited for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};
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
pub(crate) struct Waiter {
    inner: Arc<Inner>,
    goal: Option<Arc<Goal>>,
}

/// A future and its event loop. Only its waiter keeps it: were the runtime to hold one, if for a moment,
/// a loop that has ended would not go, nor what belongs to it.
pub(crate) struct Goal {
    event_loop: Py<PyAny>,
    future: Py<PyAny>,
}

pub(crate) enum Inner {
    Future {
        goal: Weak<Goal>,
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
    /// Returns the event loop and its future, as long as the waiter is there.
    pub(crate) fn future(&self, py: Python<'_>) -> Option<(Py<PyAny>, Py<PyAny>)> {
        let Self::Future { goal, .. } = self else {
            return None;
        };
        let goal = goal.upgrade()?;
        Some((goal.event_loop.clone_ref(py), goal.future.clone_ref(py)))
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
        let (Some(event_loop), Some(future)) = (event_loop, future) else {
            let inner = Arc::new(Inner::Thread {
                told: Mutex::new(false),
                bell: Condvar::new(),
            });
            return Ok(Self { inner, goal: None });
        };
        let goal = Arc::new(Goal { event_loop, future });
        let inner = Arc::new(Inner::Future {
            goal: Arc::downgrade(&goal),
            door: door.map(|door| door.bell(py)).transpose()?,
            told: AtomicBool::new(false),
        });
        let goal = Some(goal);
        Ok(Self { inner, goal })
    }

    /// A task that will never go on is garbage together with what it waits for, which breaks the cycle.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(goal) = &self.goal else {
            return Ok(());
        };
        visit.call(&goal.event_loop)?;
        visit.call(&goal.future)
    }

    /// Blocks this thread, not the interpreter, for at most so many milliseconds; tells whether the
    /// waiting has ended.
    fn wait(&self, py: Python<'_>, milliseconds: u64) -> bool {
        let Inner::Thread { told, bell } = &*self.inner else {
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
        if matches!(*waiter.inner, Inner::Future { .. }) && self.notifier.has_ended() {
            let error = Error::new(ErrorKind::Closed, "the interpreter is shutting down");
            return Err(Failure::from(error).raise(py));
        }
        let mut waiters = lock(&self.waiters);
        waiters.retain(|waiter| waiter.strong_count() > 0);
        waiters.push(Arc::downgrade(&waiter.inner));
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
