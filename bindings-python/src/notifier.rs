//! The one thread that enters the interpreter on behalf of the runtime.
//!
//! Lives here: telling notices; waking event loops that have no `door`, in batches. Never here: data.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle, ThreadId, current};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::bridge::{bridge, lock};
use crate::waiter::Inner;

/// What the interpreter is to be told.
pub(crate) enum Message {
    /// The future of this waiter may go on.
    Wake(Arc<Inner>),
    /// The callback is called with the level and the words.
    Notice {
        callback: Arc<Py<PyAny>>,
        level: &'static str,
        text: String,
    },
}

/// runtime, threads --messages--> notifier's thread
pub(crate) struct Notifier {
    queue: Mutex<Queue>,
    bell: Condvar,
    delivery: Condvar,
}

#[derive(Default)]
struct Queue {
    messages: Vec<Message>,
    notices: usize,
    ended: bool,
    /// How many messages were ever put in, taken out, and delivered.
    pushed: u64,
    taken: u64,
    delivered: u64,
    thread: Option<ThreadId>,
}

/// The thread; whoever holds it ends it.
pub(crate) struct Handle {
    notifier: Arc<Notifier>,
    thread: JoinHandle<()>,
}

/// How many notices may wait; more are dropped.
const NOTICES: usize = 1000;

impl Notifier {
    /// Starts the thread.
    pub(crate) fn start() -> std::io::Result<(Arc<Self>, Handle)> {
        let notifier = Arc::new(Self {
            queue: Mutex::default(),
            bell: Condvar::new(),
            delivery: Condvar::new(),
        });
        let thread = Builder::new().name("kubectl-wsx-notifier".to_owned());
        let thread = thread.spawn({
            let notifier = Arc::clone(&notifier);
            move || notifier.run()
        })?;
        let handle = Handle {
            notifier: Arc::clone(&notifier),
            thread,
        };
        Ok((notifier, handle))
    }

    /// Hands over a message; never blocks. Dropped when the interpreter is about to end.
    pub(crate) fn push(&self, message: Message) {
        let mut queue = lock(&self.queue);
        if matches!(message, Message::Notice { .. }) {
            queue.notices += 1;
        }
        if !queue.ended && queue.notices <= NOTICES {
            queue.messages.push(message);
            queue.pushed += 1;
            self.bell.notify_one();
        }
    }

    /// Tells whether nobody will be woken any more.
    pub(crate) fn has_ended(&self) -> bool {
        lock(&self.queue).ended
    }

    /// Waits until everything that was handed over by now was delivered. The interpreter must not be held.
    pub(crate) fn flush(&self) {
        let mut queue = lock(&self.queue);
        let goal = queue.pushed;
        // What the interpreter runs on the notifier's own thread, finalizers say, does not wait for itself.
        while queue.delivered < goal && !queue.ended && queue.thread != Some(current().id()) {
            queue = self
                .delivery
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Attached for good, and let go of the interpreter while there is nothing to tell: to attach
    /// anew costs a new state of the thread each time.
    fn run(&self) {
        let _ = Python::try_attach(|py| {
            while let Some(messages) = py.detach(|| self.next()) {
                deliver(py, &messages);
            }
        });
    }

    /// Waits for messages; nothing at the end.
    fn next(&self) -> Option<Vec<Message>> {
        let mut queue = lock(&self.queue);
        queue.thread = Some(current().id());
        queue.delivered = queue.taken;
        self.delivery.notify_all();
        while queue.messages.is_empty() && !queue.ended {
            queue = self
                .bell
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        queue.notices = 0;
        queue.taken = queue.pushed;
        let messages = std::mem::take(&mut queue.messages);
        (!queue.ended).then_some(messages)
    }
}

impl Handle {
    /// Ends the thread. The interpreter must not be held: the thread may be waiting for it.
    pub(crate) fn end(self) {
        lock(&self.notifier.queue).ended = true;
        self.notifier.bell.notify_one();
        self.notifier.delivery.notify_all();
        // It does not panic; if it did, there is nobody to tell.
        let _ = self.thread.join();
    }
}

/// Waits until all notices that were given by now were told to their callbacks.
#[pyfunction]
pub(crate) fn flush(py: Python<'_>) -> PyResult<()> {
    let bridge = bridge(py)?;
    py.detach(|| bridge.notifier.flush());
    Ok(())
}

/// Enters each event loop once for all of its futures.
fn deliver(py: Python<'_>, messages: &[Message]) {
    let mut loops: Vec<(Py<PyAny>, Vec<Py<PyAny>>)> = Vec::new();
    for message in messages {
        match message {
            Message::Wake(waiter) => {
                let Some((event_loop, future)) = waiter.future(py) else {
                    continue;
                };
                match loops.iter_mut().find(|(known, _)| known.is(&event_loop)) {
                    Some((_, futures)) => futures.push(future),
                    None => loops.push((event_loop, vec![future])),
                }
            }
            Message::Notice {
                callback,
                level,
                text,
            } => {
                if let Err(error) = callback.call1(py, (*level, text)) {
                    error.write_unraisable(py, Some(callback.bind(py)));
                }
            }
        }
    }
    for (event_loop, futures) in loops {
        // A closed loop has nobody left who waits.
        let _ = settler(py).and_then(|settle| {
            event_loop.call_method1(py, "call_soon_threadsafe", (settle, futures))
        });
    }
}

fn settler(py: Python<'_>) -> PyResult<&Py<PyAny>> {
    static SETTLE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    SETTLE.get_or_try_init(py, || {
        Ok(wrap_pyfunction!(settle_all, py)?.into_any().unbind())
    })
}

/// Runs on the event loop's own thread.
#[pyfunction]
fn settle_all(futures: Vec<Bound<'_, PyAny>>) -> PyResult<()> {
    futures.iter().try_for_each(settle)
}

/// Lets whoever waits for this future go on; on its event loop's own thread.
pub(crate) fn settle(future: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = future.py();
    if !future.call_method0(intern!(py, "done"))?.is_truthy()? {
        future.call_method1(intern!(py, "set_result"), (py.None(),))?;
    }
    Ok(())
}
