//! Joins a remote process with this machine: input, output, terminal, signals.
//!
//! Lives here: what is done until the process ends, and what ends it early. Never here: exit codes.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};
use wsx_core::session::{Exit, Output as RemoteOutput};
use wsx_core::{Error, ErrorKind, Process, Stream};

use crate::detach::DetachKeys;
use crate::ending::{Ending, Moved, Status, plain};
use crate::environment::ExitCodes;
use crate::exit;
use crate::history::Again;
use crate::input::Input;
use crate::output::Output;
use crate::place::Place;
use crate::signals::{Signal, Signals};
use crate::sink::{Sinks, WriteError};
use crate::status_file::{Record, StatusFile, VERSION};
use crate::terminal::{self, RawMode};

/// This machine's side.
#[derive(Debug)]
pub(crate) struct Local {
    /// Where input comes from, where it is wanted.
    pub(crate) input: Option<Input>,
    /// Where output goes.
    pub(crate) sinks: Sinks,
    /// What to type to leave and let the remote process run.
    pub(crate) detach: Option<DetachKeys>,
    /// When the time limit of the caller passes.
    pub(crate) deadline: Option<Instant>,
    /// What is shown first, and may stand at the start of the output again.
    pub(crate) again: Again,
}

/// How a run ended, and what it moved.
#[derive(Debug)]
pub(crate) struct Outcome {
    ending: Ending,
    moved: Option<Moved>,
    unwritten: u64,
}

/// How long the end of a session may take when we end it, and how long output may still be written
/// after the time limit.
const GRACE: Duration = Duration::from_millis(500);

/// Moves everything until the process ends, or something here ends it.
pub(crate) async fn join(process: Process, local: Local, signals: &Signals) -> Outcome {
    join_with(process, local, signals, async |_: &Exit| pending().await).await
}

/// As [`join`], with our terminal as that of the process: every key is data until it ends.
pub(crate) async fn join_terminal(
    process: Process,
    local: Local,
    signals: &Signals,
    output: Output,
) -> Outcome {
    let raw = RawMode::enter();
    if let Err(error) = &raw {
        output.warn(&format!("the terminal stays as it is: {}", plain(error)));
    }
    join_with(process, local, signals, async |exit: &Exit| {
        terminal::follow(signals.resized(), |size| exit.resize(size)).await
    })
    .await
}

/// What came first.
enum First {
    Detached,
    InputFailed(io::Error),
    Signal(Signal),
    TimeLimit,
    Written(Result<(), WriteError>),
}

async fn join_with(
    process: Process,
    Local {
        mut input,
        mut sinks,
        mut detach,
        deadline,
        mut again,
    }: Local,
    signals: &Signals,
    follow: impl AsyncFnOnce(&Exit) -> Infallible,
) -> Outcome {
    // It is dropped after the session was closed: its drop ends the remote input, and input that
    // was cut must not look complete.
    let (mut remote, mut stdin, exit) = process.split();
    let feed = async {
        match &mut input {
            Some(input) => match input.feed(&mut stdin, detach.as_mut()).await {
                Ok(true) => First::Detached,
                Ok(false) => pending().await,
                Err(error) => First::InputFailed(error),
            },
            None => pending().await,
        }
    };
    let first = tokio::select! {
        biased;
        signal = signals.ended() => First::Signal(signal),
        () = time_limit(&exit, deadline) => First::TimeLimit,
        result = drain(&mut remote, &mut sinks, &mut again) => First::Written(result),
        first = feed => first,
        never = follow(&exit) => match never {},
    };
    terminal::restore();
    let ending = match first {
        First::Detached => {
            end(&exit, remote).await;
            Ending::Detached
        }
        First::Signal(signal) => {
            end(&exit, remote).await;
            Ending::Interrupted(signal)
        }
        First::InputFailed(error) => {
            end(&exit, remote).await;
            let text = format!("cannot read standard input: {}", plain(&error));
            let error = Error::new(ErrorKind::LocalIo, text);
            Ending::Failed(error.because("the session was closed; the remote process may live on"))
        }
        First::Written(Err(WriteError {
            stream: Stream::Stdout,
            error,
        })) if error.kind() == io::ErrorKind::BrokenPipe => {
            end(&exit, remote).await;
            Ending::PipeClosed
        }
        First::Written(Err(error)) if error.stream == Stream::Stdout => {
            let status = end(&exit, remote).await;
            Ending::Unwritten {
                bytes: 0,
                error,
                status,
            }
        }
        First::Written(result) => ended(&exit, result, signals).await,
        First::TimeLimit => match ended(&exit, Ok(()), signals).await {
            Ending::Exited(status) => Ending::Failed(untaken(status)),
            other => other,
        },
    };
    Outcome::new(ending, &exit, &sinks, &again)
}

/// Writes what is shown first, and all output but for what of that comes again.
async fn drain(
    remote: &mut RemoteOutput,
    sinks: &mut Sinks,
    again: &mut Again,
) -> Result<(), WriteError> {
    sinks.write(again.take_first()).await?;
    let mut batch = Vec::new();
    loop {
        let next = remote.next_batch(&mut batch);
        let more = match again.holds() {
            false => next.await,
            true => match timeout(GRACE, next).await {
                Ok(more) => more,
                Err(_) => {
                    sinks.write(again.release()).await?;
                    continue;
                }
            },
        };
        let chunks = batch.drain(..);
        sinks
            .write(chunks.flat_map(|chunk| again.sift(chunk.stream, chunk.data)))
            .await?;
        if !more {
            break;
        }
    }
    sinks.write(again.release()).await?;
    sinks.finish().await
}

/// Waits until the time limit has passed, and a little longer: what came before it may still be
/// written, but output that nobody takes must not outlast it.
async fn time_limit(exit: &Exit, deadline: Option<Instant>) {
    match (exit.wait().await, deadline) {
        (Err(error), _) if error.kind() == ErrorKind::Timeout => {}
        (_, Some(deadline)) => sleep_until(deadline).await,
        (_, None) => pending().await,
    }
    sleep(GRACE).await;
}

/// The command has ended in time, but nobody takes its output.
fn untaken(status: Status) -> Error {
    Error::new(
        ErrorKind::Timeout,
        "the time limit passed before all output was written (--timeout)",
    )
    .because(format!(
        "nobody takes what is written here; the command itself ended with exit code {}",
        status.code
    ))
}

/// Closes the session, and waits a little for its end.
async fn end(exit: &Exit, remote: RemoteOutput) -> Option<Status> {
    exit.close();
    drop(remote);
    timeout(GRACE, exit.wait())
        .await
        .ok()?
        .ok()
        .map(Status::from)
}

/// Waits for the outcome after all output came.
async fn ended(exit: &Exit, written: Result<(), WriteError>, signals: &Signals) -> Ending {
    let outcome = tokio::select! {
        biased;
        outcome = exit.wait() => outcome,
        signal = signals.ended() => return Ending::Interrupted(signal),
    };
    match (outcome, written) {
        (Ok(status), Ok(())) => Ending::Exited(status.into()),
        (Ok(status), Err(error)) => Ending::Unwritten {
            error,
            bytes: 0,
            status: Some(status.into()),
        },
        (Err(error), _) => Ending::Failed(error),
    }
}

impl Outcome {
    fn new(mut ending: Ending, exit: &Exit, sinks: &Sinks, again: &Again) -> Self {
        let moved = Moved::from(exit.report());
        let unwritten = |came: u64, stream| {
            let due = came.saturating_add_signed(again.extra(stream));
            due.saturating_sub(sinks.written(stream))
        };
        let stdout = unwritten(moved.stdout, Stream::Stdout);
        let stderr = unwritten(moved.stderr, Stream::Stderr);
        if let Ending::Unwritten { error, bytes, .. } = &mut ending {
            *bytes = if error.stream == Stream::Stderr {
                stderr
            } else {
                stdout
            };
        }
        Self {
            ending,
            moved: Some(moved),
            unwritten: stdout + stderr,
        }
    }

    /// Tells whether the session was left by its keys.
    pub(crate) fn is_detached(&self) -> bool {
        matches!(self.ending, Ending::Detached)
    }

    /// Writes the status file, says what is to be said, and returns how to leave.
    pub(crate) fn conclude(
        self,
        file: Option<StatusFile>,
        place: &Place,
        codes: ExitCodes,
    ) -> exit::Exit {
        let record = self.record(place, codes);
        match file.map(|file| file.write(&record)) {
            Some(Err(error)) => self
                .ending
                .despite(error)
                .announce(self.moved.as_ref(), codes),
            _ => self.ending.announce(self.moved.as_ref(), codes),
        }
    }

    fn record(&self, place: &Place, codes: ExitCodes) -> Record {
        let (pod, container) = place.known();
        let moved = self.moved.as_ref();
        let (status, error) = (self.ending.status(), self.ending.error());
        Record {
            v: VERSION,
            class: self.ending.class(),
            code: status.map(|status| status.code),
            exit: self.ending.code(codes),
            kind: error.map(|error| error.kind().as_str()),
            reason: error.and_then(Error::why).map(str::to_owned),
            message: self.ending.message(),
            stdin: moved.map_or(0, |moved| moved.stdin),
            stdout: moved.map_or(0, |moved| moved.stdout),
            stderr: moved.map_or(0, |moved| moved.stderr),
            unwritten: self.unwritten,
            close_code: moved.and_then(|moved| moved.close_code),
            protocol: moved.map(|moved| moved.protocol),
            confidence: status.map(|status| status.confidence.as_str()),
            pod,
            container,
        }
    }
}

impl From<Ending> for Outcome {
    fn from(ending: Ending) -> Self {
        Self {
            ending,
            moved: None,
            unwritten: 0,
        }
    }
}

impl From<Error> for Outcome {
    fn from(error: Error) -> Self {
        Self::from(Ending::Failed(error))
    }
}
