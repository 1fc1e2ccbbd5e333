//! A log being read: lines in batches, events at their place between them, and waiting apart from both.
//!
//! Lives here: taking. Never here: Python's objects of it (`log_values.rs`), options (`log_options.rs`),
//! how reads are put together (`_logs.py`).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake as _};

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use wsx_core::{Error, ErrorKind, LogEvent, LogItem, LogLine, LogReport, LogSource};

use crate::bridge::{Local, bridge, lock};
use crate::failure::{Failure, guarded};
use crate::log_values::{Sources, protocol, told};
use crate::operation::{Operation, Value, begin};
use crate::stream::{JOINED, joined};
use crate::waiter::{Signal, Waiter};

/// The log of one container or several. The connections live as long as it does, or until `close`.
#[pyclass(frozen, module = "kubectl_wsx._native")]
pub(crate) struct Logs(Local<Reading>);

struct Reading {
    held: Arc<Mutex<Held>>,
    signal: Arc<Signal>,
}

/// What has come out of the core. Python's objects are made while it is not locked: making them may
/// run any code.
struct Held {
    /// Where more comes from. Nothing once its end was seen, or it was closed.
    logs: Option<wsx_core::Logs>,
    /// Who knows how it ended, once its end was seen. Nothing once it was closed.
    over: Option<Arc<wsx_core::Logs>>,
    /// What nobody has taken yet, and how many bytes of lines that is.
    items: VecDeque<LogItem>,
    bytes: usize,
    /// What was taken last, for those who give it back.
    taken: Vec<LogLine>,
    report: LogReport,
    signal: Arc<Signal>,
}

/// How many bytes of lines whoever waits for the end fetches without a reader; what comes together
/// with the last of them comes on top.
const FETCHED: usize = 256 * 1024;

/// What there is to take.
enum Taken {
    Lines(Vec<LogLine>),
    End,
    /// Nothing yet, or an event.
    Nothing,
}

impl Held {
    /// Puts in what was fetched; without `more` that was all.
    fn put(&mut self, items: Vec<LogItem>, more: bool) {
        self.bytes += items.iter().map(length).sum::<usize>();
        self.items.extend(items);
        self.report = self
            .logs
            .as_ref()
            .map_or(self.report, wsx_core::Logs::report);
        if !more {
            self.over = self.logs.take().map(Arc::new);
        }
    }

    /// Waits for more.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut items = Vec::new();
        match self
            .logs
            .as_mut()
            .map(|logs| logs.poll_batch(cx, &mut items))
        {
            Some(Poll::Pending) => Poll::Pending,
            Some(Poll::Ready(more)) => {
                self.put(items, more);
                Poll::Ready(())
            }
            None => Poll::Ready(()),
        }
    }

    /// Waits for something to take.
    fn poll_items(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.items.is_empty() {
            true => self.poll_more(cx),
            false => Poll::Ready(()),
        }
    }

    /// Waits until nothing will come any more. Whoever takes then makes room tells the signal.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.logs.is_some() {
            if self.bytes >= FETCHED || self.poll_more(cx).is_pending() {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    fn fill(&mut self) -> Result<(), Error> {
        if self.logs.is_none() && self.over.is_none() {
            return Err(closed());
        }
        if self.items.is_empty() {
            let mut items = Vec::new();
            let more = self
                .logs
                .as_mut()
                .and_then(|logs| logs.try_batch(&mut items));
            self.put(items, more != Some(false));
        }
        Ok(())
    }

    /// Takes lines up to the next event: so many of them, or so many bytes, and one at least.
    fn take(&mut self, count: usize, size: usize) -> Result<Taken, Error> {
        self.fill()?;
        self.taken.clear();
        let (mut number, mut bytes) = (0, 0);
        let fitting = self.items.iter().take_while(|item| {
            number += 1;
            bytes += length(item);
            matches!(item, LogItem::Line(_)) && (number == 1 || (number <= count && bytes <= size))
        });
        let fitting = fitting.count();
        let lines = self.items.drain(..fitting).filter_map(|item| match item {
            LogItem::Line(line) => Some(line),
            _ => None,
        });
        let lines: Vec<_> = lines.collect();
        let was_full = self.bytes >= FETCHED;
        self.bytes -= lines.iter().map(|line| line.data.len()).sum::<usize>();
        if was_full && self.bytes < FETCHED {
            self.signal.wake_by_ref();
        }
        Ok(match lines.is_empty() {
            false => Taken::Lines(lines),
            true if self.has_ended() => Taken::End,
            true => Taken::Nothing,
        })
    }

    fn take_event(&mut self) -> Result<Option<(Arc<LogSource>, LogEvent)>, Error> {
        self.fill()?;
        if matches!(self.items.front(), Some(LogItem::Line(_))) {
            return Ok(None);
        }
        Ok(match self.items.pop_front() {
            Some(LogItem::Event(source, event)) => Some((source, event)),
            _ => None,
        })
    }

    fn give_back(&mut self, count: usize) {
        let from = self.taken.len().saturating_sub(count);
        for line in self.taken.split_off(from).into_iter().rev() {
            self.bytes += line.data.len();
            self.items.push_front(LogItem::Line(line));
        }
    }

    fn has_ended(&self) -> bool {
        self.logs.is_none() && self.items.is_empty()
    }
}

/// Returns how many bytes of lines an item has.
fn length(item: &LogItem) -> usize {
    match item {
        LogItem::Line(line) => line.data.len(),
        _ => 0,
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the log is closed")
}

impl Logs {
    pub(crate) fn new(py: Python<'_>, logs: wsx_core::Logs) -> PyResult<Self> {
        let signal = Signal::new(&bridge(py)?.notifier);
        let held = Held {
            report: logs.report(),
            logs: Some(logs),
            over: None,
            items: VecDeque::new(),
            bytes: 0,
            taken: Vec::new(),
            signal: Arc::clone(&signal),
        };
        let held = Arc::new(Mutex::new(held));
        Ok(Self(Local::new(Reading { held, signal })))
    }

    /// Takes lines, makes of them what `make` makes, and keeps them for those who give them back.
    fn take<T>(
        &self,
        py: Python<'_>,
        (count, size): (usize, usize),
        make: impl FnOnce(&[LogLine]) -> PyResult<T>,
    ) -> PyResult<Option<T>> {
        guarded(py, || {
            let held = &self.0.get(py)?.held;
            let taken = lock(held).take(count, size);
            match taken.map_err(|error| Failure::from(error).raise(py))? {
                Taken::Lines(lines) => {
                    let made = make(&lines)?;
                    lock(held).taken = lines;
                    Ok(Some(made))
                }
                Taken::End => make(&[]).map(Some),
                Taken::Nothing => Ok(None),
            }
        })
    }
}

#[pymethods]
impl Logs {
    /// Takes lines up to the next event, until there are so many of them or so many bytes: `None` when
    /// none is there yet, `[]` at the end.
    fn try_lines<'py>(
        &self,
        py: Python<'py>,
        items: usize,
        size: usize,
    ) -> PyResult<Option<Bound<'py, PyList>>> {
        self.take(py, (items, size), |lines| {
            PyList::new(py, lines.iter().map(|line| PyBytes::new(py, &line.data)))
        })
    }

    /// The same, with all that is known of each line: data, timestamp, whether it begins here, source.
    fn try_rows<'py>(
        &self,
        py: Python<'py>,
        items: usize,
        size: usize,
    ) -> PyResult<Option<Bound<'py, PyList>>> {
        self.take(py, (items, size), |lines| {
            let mut known = Sources::default();
            let rows = lines.iter().map(|line| {
                let source = known.find(py, &line.source)?;
                (
                    PyBytes::new(py, &line.data),
                    line.timestamp,
                    line.begins,
                    source,
                )
                    .into_pyobject(py)
            });
            PyList::new(py, rows.collect::<PyResult<Vec<_>>>()?)
        })
    }

    /// Takes lines as one piece: `None` when nothing is there yet, `b""` at the end.
    fn try_chunk<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        self.take(py, (usize::MAX, JOINED), |lines| {
            let pieces: Vec<Bytes> = lines.iter().map(|line| line.data.clone()).collect();
            joined(py, &pieces)
        })
    }

    /// Gives back the last so many lines of what was taken last.
    fn give_back(&self, py: Python<'_>, count: usize) -> PyResult<()> {
        lock(&self.0.get(py)?.held).give_back(count);
        Ok(())
    }

    /// Takes an event where one comes before the next line.
    fn take_event(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        guarded(py, || {
            let held = &self.0.get(py)?.held;
            let item = lock(held).take_event();
            match item.map_err(|error| Failure::from(error).raise(py))? {
                Some((source, event)) => told(py, &source, event).map(Some),
                None => Ok(None),
            }
        })
    }

    /// Makes `waiter` wait until there is something to take; true when there is.
    fn arm(&self, py: Python<'_>, waiter: &Waiter) -> PyResult<bool> {
        guarded(py, || {
            let Reading { held, signal } = self.0.get(py)?;
            Ok(signal
                .arm(py, waiter, |cx| lock(held).poll_items(cx))?
                .is_some())
        })
    }

    /// Makes `waiter` wait until nothing more will come, though not all may be taken; true when that is so.
    fn arm_end(&self, py: Python<'_>, waiter: &Waiter) -> PyResult<bool> {
        guarded(py, || {
            let Reading { held, signal } = self.0.get(py)?;
            Ok(signal
                .arm(py, waiter, |cx| lock(held).poll_end(cx))?
                .is_some())
        })
    }

    /// Begins to ask how it ended, once nothing more will come: a pair of its name and the exit code.
    fn end(&self, py: Python<'_>) -> PyResult<Operation> {
        let over = lock(&self.0.get(py)?.held).over.clone();
        begin(py, async move {
            let over = over.ok_or_else(closed)?;
            Ok(Value::LogEnd(over.wait().await?))
        })
    }

    /// Returns lines, bytes, gaps, reconnects, late lines, and how it travels.
    #[expect(clippy::type_complexity, reason = "a tuple is what Python unpacks")]
    fn report(&self, py: Python<'_>) -> PyResult<(u64, u64, u64, u64, u64, Option<&'static str>)> {
        let report = lock(&self.0.get(py)?.held).report;
        let LogReport {
            lines,
            bytes,
            gaps,
            reconnects,
            late,
            ..
        } = report;
        Ok((
            lines,
            bytes,
            gaps,
            reconnects,
            late,
            report.protocol.map(protocol),
        ))
    }

    /// Tells whether everything was taken and nothing will come.
    fn has_ended(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(lock(&self.0.get(py)?.held).has_ended())
    }

    /// Ends the connections and drops what was not taken. Again does nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let mut held = lock(&self.0.get(py)?.held);
        held.items.clear();
        held.taken.clear();
        let logs = (held.logs.take(), held.over.take());
        held.signal.wake_by_ref();
        drop(held);
        drop(logs);
        Ok(())
    }
}
