//! A connection to a port of a pod, without a local socket: bytes in, bytes out, and waiting apart
//! from both.
//!
//! Lives here: `bytes` objects, and what a connection that was closed here still has to bring across.
//! Never here: how transports and sockets are made of it (`_transport.py`, `_socket.py`).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake as _, Waker};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tokio::time::{Instant, timeout, timeout_at};
use wsx_core::{Error, ErrorKind, ForwardReader, ForwardStream, ForwardWriter};

use crate::bridge::{Local, bridge, lock};
use crate::failure::{Failure, guarded};
use crate::notifier::Notifier;
use crate::operation::{Operation, Value, begin};
use crate::stream::{JOINED, joined};
use crate::waiter::{Signal, Waiter};

/// So long may a connection that was closed here take to bring across what was written.
const LINGER: Duration = Duration::from_secs(5);
/// Where the pod cannot be told that this side has ended, it is reset after it was quiet for so long.
const QUIET: Duration = Duration::from_secs(1);
/// So many bytes that nobody wants are taken meanwhile; then it is reset.
const UNWANTED: usize = 1024 * 1024;

/// A connection. It is reset when it is dropped before both sides have ended.
#[pyclass(frozen, module = "kubectl_wsx._native")]
pub(crate) struct Connection(Local<Talking>);

struct Talking {
    /// Nothing once it was closed or aborted.
    ends: Mutex<Option<Ends>>,
    readable: Arc<Signal>,
    writable: Arc<Signal>,
    lingering: Arc<Lingering>,
}

struct Ends {
    reader: ForwardReader,
    writer: ForwardWriter,
    /// What was taken from the core and from here by nobody yet.
    rest: VecDeque<Bytes>,
    input_ended: bool,
}

/// The connections of a port-forward that were closed here and have not ended yet.
pub(crate) struct Lingering {
    count: AtomicUsize,
    /// Whether the pod is told that this side has ended, before it has ended itself.
    told: bool,
    signal: Arc<Signal>,
}

impl Lingering {
    pub(crate) fn new(notifier: &Arc<Notifier>, told: bool) -> Arc<Self> {
        Arc::new(Self {
            count: AtomicUsize::new(0),
            told,
            signal: Signal::new(notifier),
        })
    }

    /// Makes `waiter` wait until there is none; true when there is none.
    pub(crate) fn arm(&self, py: Python<'_>, waiter: &Waiter) -> PyResult<bool> {
        let armed = self
            .signal
            .arm(py, waiter, |_| match self.count.load(Ordering::SeqCst) {
                0 => Poll::Ready(()),
                _ => Poll::Pending,
            })?;
        Ok(armed.is_some())
    }

    fn enter(self: &Arc<Self>) -> Departure {
        self.count.fetch_add(1, Ordering::SeqCst);
        Departure(Arc::clone(self))
    }
}

/// One of them, for as long as this lives.
struct Departure(Arc<Lingering>);

impl Drop for Departure {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.signal.wake_by_ref();
        }
    }
}

impl Ends {
    /// Takes at most `size` bytes: nothing when none is there yet, no pieces at the end.
    fn take(&mut self, size: usize) -> Result<Option<Vec<Bytes>>, Error> {
        if self.rest.is_empty() {
            let mut batch = Vec::new();
            match self.reader.try_batch(&mut batch)? {
                None => return Ok(None),
                Some(false) => return Ok(Some(Vec::new())),
                Some(true) => self.rest.extend(batch),
            }
        }
        let (mut pieces, mut left) = (Vec::new(), size);
        while left > 0
            && let Some(piece) = self.rest.front_mut()
        {
            let piece = piece.split_to(piece.remaining().min(left));
            left -= piece.len();
            pieces.push(piece);
            if self.rest.front().is_some_and(Bytes::is_empty) {
                self.rest.pop_front();
            }
        }
        Ok(Some(pieces))
    }

    fn poll_data(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.rest.is_empty() {
            true => self.reader.poll_ready(cx),
            false => Poll::Ready(()),
        }
    }

    /// Tells whether there is room.
    fn room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.input_ended {
            let error = Error::new(ErrorKind::Closed, "the input of the connection was ended");
            return Poll::Ready(Err(error));
        }
        self.writer.poll_room(cx).map(|room| match room {
            true => Ok(()),
            false => Err(self.writer.error()),
        })
    }

    fn push(&mut self, data: Bytes) -> Result<(), Error> {
        let pushed = self.writer.push(data);
        pushed.map_err(|_| self.writer.error())
    }

    fn end(&mut self) {
        if !self.input_ended {
            self.input_ended = true;
            self.writer.end();
        }
    }

    /// Brings across what was written, and `data` behind it, and waits for the pod to end; what it
    /// still says is dropped.
    async fn depart(mut self, mut data: Bytes, told: bool) -> Result<(), Error> {
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(JOINED));
            let written = timeout(LINGER, self.writer.write(piece)).await;
            written.unwrap_or_else(|_| Err(late("takes nothing of what was written")))?;
        }
        self.end();
        let quiet = if told { LINGER } else { QUIET };
        let (deadline, mut unwanted) = (Instant::now() + LINGER, 0);
        while unwanted <= UNWANTED {
            let limit = deadline.min(Instant::now() + quiet);
            match timeout_at(limit, self.reader.next()).await {
                Ok(data) => match data? {
                    Some(data) => unwanted += data.len(),
                    None => break,
                },
                Err(_) if told && unwanted == 0 => return Err(late("does not end it, too")),
                Err(_) => break,
            }
        }
        Ok(())
    }
}

fn late(what: &str) -> Error {
    let message = "what was written last to a connection that was closed here may not have arrived";
    let why = format!("the pod {what}, so that it was reset after 5 s");
    Error::new(ErrorKind::Timeout, message).because(why)
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the connection is closed")
}

impl Connection {
    pub(crate) fn new(
        py: Python<'_>,
        stream: ForwardStream,
        lingering: Arc<Lingering>,
    ) -> PyResult<Self> {
        let notifier = &bridge(py)?.notifier;
        let (reader, writer) = stream.split();
        let ends = Ends {
            reader,
            writer,
            rest: VecDeque::new(),
            input_ended: false,
        };
        Ok(Self(Local::new(Talking {
            ends: Mutex::new(Some(ends)),
            readable: Signal::new(notifier),
            writable: Signal::new(notifier),
            lingering,
        })))
    }

    /// Does something with both ends, while no Python runs.
    fn with<T>(
        &self,
        py: Python<'_>,
        act: impl FnOnce(&mut Ends) -> Result<T, Error>,
    ) -> PyResult<T> {
        let talking = self.0.get(py)?;
        let done = match &mut *lock(&talking.ends) {
            Some(ends) => act(ends),
            None => Err(closed()),
        };
        done.map_err(|error| Failure::from(error).raise(py))
    }

    /// Takes both ends away, and wakes all who wait for one.
    fn part(&self, py: Python<'_>) -> PyResult<Option<Ends>> {
        let talking = self.0.get(py)?;
        let ends = lock(&talking.ends).take();
        talking.readable.wake_by_ref();
        talking.writable.wake_by_ref();
        Ok(ends)
    }
}

#[pymethods]
impl Connection {
    /// Takes at most `size` bytes: `None` when nothing is there yet, `b""` when the pod has ended it.
    fn try_read<'py>(&self, py: Python<'py>, size: usize) -> PyResult<Option<Bound<'py, PyBytes>>> {
        guarded(py, || {
            let pieces = self.with(py, |ends| ends.take(size.min(JOINED)))?;
            pieces.map(|pieces| joined(py, &pieces)).transpose()
        })
    }

    /// Makes `waiter` wait until `try_read` has something to say; true when it has.
    fn arm(&self, py: Python<'_>, waiter: &Waiter) -> PyResult<bool> {
        guarded(py, || {
            let Talking { ends, readable, .. } = self.0.get(py)?;
            let armed = readable.arm(py, waiter, |cx| match &*lock(ends) {
                Some(ends) => ends.poll_data(cx),
                None => Poll::Ready(()),
            })?;
            Ok(armed.is_some())
        })
    }

    /// Hands over all of `data` where there is room, and tells whether there was.
    fn write(&self, py: Python<'_>, data: PyBuffer<u8>) -> PyResult<bool> {
        guarded(py, || {
            let waker = Waker::from(Arc::clone(&self.0.get(py)?.writable));
            let room = self.with(py, |ends| {
                match ends.room(&mut Context::from_waker(&waker)) {
                    Poll::Ready(room) => room.map(|()| true),
                    Poll::Pending => Ok(false),
                }
            })?;
            if room {
                let data = Bytes::from(data.to_vec(py)?);
                self.with(py, |ends| ends.push(data))?;
            }
            Ok(room)
        })
    }

    /// Makes `waiter` wait until there is room, or nobody takes more; true when that is so.
    fn arm_room(&self, py: Python<'_>, waiter: &Waiter) -> PyResult<bool> {
        guarded(py, || {
            let Talking { ends, writable, .. } = self.0.get(py)?;
            let armed = writable.arm(py, waiter, |cx| match &mut *lock(ends) {
                Some(ends) => ends.room(cx).map(|_| ()),
                None => Poll::Ready(()),
            })?;
            Ok(armed.is_some())
        })
    }

    /// Says that nothing more is written. Again does nothing.
    fn end(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, |ends| {
            ends.end();
            Ok(())
        })
    }

    /// Ends the connection once what was written, and `rest` behind it, is across; begins to wait for
    /// that. Again does nothing.
    fn close(&self, py: Python<'_>, rest: PyBuffer<u8>) -> PyResult<Operation> {
        guarded(py, || {
            let rest = Bytes::from(rest.to_vec(py)?);
            let departing = self.part(py)?.map(|ends| {
                let departure = self.0.get(py).map(|talking| talking.lingering.enter());
                departure.map(|departure| (ends, departure))
            });
            let departing = departing.transpose()?;
            begin(py, async move {
                if let Some((ends, departure)) = departing {
                    let departed = ends.depart(rest, departure.0.told).await;
                    drop(departure);
                    departed?;
                }
                Ok(Value::Nothing)
            })
        })
    }

    /// Resets the connection. Again does nothing.
    fn abort(&self, py: Python<'_>) -> PyResult<()> {
        drop(self.part(py)?);
        Ok(())
    }
}
