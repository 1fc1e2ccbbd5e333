//! Ports that are up: told when they are ready, and then what happens to them.
//!
//! Lives here: events on their way to the output, and what becomes of an output that takes nothing.
//! Never here: words, what ends it.
//!
//! The lines that name the ports have to be written: without them nobody knows where to connect.
//! After that an output that fails ends nothing. It is said once on error output, and a disk that was
//! full is an exit code of its own in the end.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::timeout;
use wsx_core::{Error, ErrorKind, ForwardEvent, PortForward, Stream};

use super::flags::{Form, Target};
use super::ready_file::ReadyFile;
use super::variables;
use super::words::{Piece, Place, Words, ready_line};
use crate::ending::{Ending, plain};
use crate::output;
use crate::sink::{Sinks, WriteError};

/// One target that is up.
pub(super) struct Forward {
    pub(super) place: Place,
    pub(super) handle: PortForward,
}

/// All targets, and where it is told what happens to them.
pub(super) struct Up {
    forwards: Vec<Forward>,
    words: Words,
    sinks: Sinks,
    /// Removed when all is over.
    file: Option<ReadyFile>,
    /// Bytes for standard output so far.
    made: u64,
    /// Why standard output takes no more.
    failure: Option<WriteError>,
}

/// How long the last events may take to be written.
const LAST: Duration = Duration::from_millis(300);

impl Up {
    pub(super) fn new(
        forwards: Vec<Forward>,
        words: Words,
        sinks: Sinks,
        file: Option<ReadyFile>,
    ) -> Self {
        Self {
            forwards,
            words,
            sinks,
            file,
            made: 0,
            failure: None,
        }
    }

    /// Says where to connect: in lines, then in the file.
    pub(super) async fn announce(&mut self) -> Result<(), Ending> {
        let places = self.forwards.iter().map(|forward| &forward.place);
        let pieces: Vec<_> = places
            .flat_map(|place| self.words.listening(place))
            .collect();
        self.count(&pieces);
        if let Err(error) = self.sinks.write(pieces).await {
            return Err(match error.error.kind() {
                io::ErrorKind::BrokenPipe => Ending::PipeClosed,
                _ => self.unwritten(error),
            });
        }
        let places = self.forwards.iter().map(|forward| &forward.place);
        let line = ready_line(places);
        let written = self.file.as_mut().map(|file| file.write(line.as_bytes()));
        written.transpose().map_err(Ending::Failed).map(|_| ())
    }

    /// Returns where a command finds its ports. Of several addresses the first one counts: all have
    /// the same number. A Unix socket is its path.
    pub(super) fn variables(&self, targets: &[Target]) -> Vec<(String, String)> {
        let names = variables::names(targets).unwrap_or_default();
        let mut all = Vec::new();
        for (forward, names) in self.forwards.iter().zip(names) {
            let ports = &forward.place.ports;
            let addresses = (ports.len() / names.len().max(1)).max(1);
            for (port, names) in ports.iter().step_by(addresses).zip(names) {
                let value = match port.local {
                    0 => port.address.clone(),
                    number => number.to_string(),
                };
                all.extend(names.short.map(|short| (short, value.clone())));
                all.push((names.long, value));
            }
        }
        all
    }

    /// Tells what happens until one of them is lost for good, and returns why.
    ///
    /// # Cancel safety
    /// An event may be told in part.
    pub(super) async fn tell(&mut self) -> Error {
        let mut batch = Vec::new();
        loop {
            let forwards = &mut self.forwards;
            let over = poll_fn(|cx| poll(forwards, cx, &mut batch)).await;
            let pieces = self.pieces(&mut batch);
            self.write(pieces).await;
            if let Some(forward) = over.and_then(|index| self.forwards.get(index)) {
                return forward.handle.wait().await.err().unwrap_or_else(|| {
                    Error::new(ErrorKind::Internal, "the port-forward ended by itself")
                });
            }
        }
    }

    /// Ends all of them: listeners are closed, connections reset.
    pub(super) async fn close(&mut self) {
        for forward in &self.forwards {
            forward.handle.close();
        }
        for forward in &self.forwards {
            // How it ended is known.
            let _ = forward.handle.wait().await;
        }
        if self.words.form == Form::Json {
            let mut batch = Vec::new();
            for (index, forward) in self.forwards.iter_mut().enumerate() {
                let mut events = Vec::new();
                forward.handle.try_events(&mut events);
                batch.extend(events.into_iter().map(|event| (index, event)));
            }
            let pieces = self.pieces(&mut batch);
            let _ = timeout(LAST, self.write(pieces)).await;
        }
        let _ = timeout(LAST, self.sinks.finish()).await;
    }

    /// Says what went through.
    pub(super) fn tell_stats(&self) {
        for forward in &self.forwards {
            output::say(&Words::stats(&forward.place, &forward.handle.report()));
        }
    }

    /// Returns the ending, or that of the output where this would have been a success.
    pub(super) fn despite_output(mut self, ending: Ending) -> Ending {
        match (ending, self.failure.take()) {
            (Ending::Succeeded, Some(error)) if error.error.kind() != io::ErrorKind::BrokenPipe => {
                self.unwritten(error)
            }
            (ending, _) => ending,
        }
    }

    fn pieces(&mut self, batch: &mut Vec<(usize, ForwardEvent)>) -> Vec<Piece> {
        let told = |(index, event): (usize, ForwardEvent)| {
            let forward = self.forwards.get(index)?;
            self.words.event(&forward.place, &event)
        };
        let mut pieces: Vec<_> = batch.drain(..).filter_map(told).collect();
        if self.failure.is_some() {
            pieces.retain(|(stream, _)| *stream != Stream::Stdout);
        }
        self.count(&pieces);
        pieces
    }

    fn count(&mut self, pieces: &[Piece]) {
        let stdout = pieces
            .iter()
            .filter(|(stream, _)| *stream == Stream::Stdout);
        self.made += stdout.map(|(_, data)| data.len() as u64).sum::<u64>();
    }

    /// Writes pieces, but waits no longer than a moment once one of the targets is lost.
    async fn write(&mut self, pieces: Vec<Piece>) {
        let mut write = Box::pin(self.sinks.write(pieces));
        let written = tokio::select! {
            biased;
            written = &mut write => Some(written),
            () = lost(&self.forwards) => timeout(LAST, &mut write).await.ok(),
        };
        drop(write);
        let error = match written {
            Some(Ok(())) => return,
            Some(Err(error)) => error,
            None => WriteError {
                stream: Stream::Stdout,
                error: io::ErrorKind::TimedOut.into(),
            },
        };
        output::say(&format!(
            "Warning: cannot write to standard output: {}; forwarding goes on without these lines",
            plain(&error.error)
        ));
        self.failure = Some(error);
    }

    fn unwritten(&self, error: WriteError) -> Ending {
        Ending::Unwritten {
            bytes: self.made.saturating_sub(self.sinks.written(Stream::Stdout)),
            error,
            status: None,
        }
    }
}

/// Takes all events that are there, of all targets alike; ready with the place of one that is over.
fn poll(
    forwards: &mut [Forward],
    cx: &mut Context<'_>,
    batch: &mut Vec<(usize, ForwardEvent)>,
) -> Poll<Option<usize>> {
    let mut over = None;
    let mut events = Vec::new();
    for (index, forward) in forwards.iter_mut().enumerate() {
        if let Poll::Ready(more) = forward.handle.poll_events(cx, &mut events) {
            if !more {
                over = over.or(Some(index));
            }
            batch.extend(events.drain(..).map(|event| (index, event)));
        }
    }
    match over.is_none() && batch.is_empty() {
        true => Poll::Pending,
        false => Poll::Ready(over),
    }
}

/// Waits until one of them is over.
async fn lost(forwards: &[Forward]) {
    let mut ends: Vec<Pin<Box<dyn Future<Output = _>>>> = Vec::new();
    for forward in forwards {
        ends.push(Box::pin(forward.handle.wait()));
    }
    poll_fn(|cx| {
        let is_over = |end: &mut Pin<Box<dyn Future<Output = _>>>| end.as_mut().poll(cx).is_ready();
        match ends.iter_mut().any(is_over) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}
