//! Where remote output goes on this machine: files, pipes, terminals and everything else.
//!
//! Lives here: writing the bytes of the remote command, and counting them; words of our own only where
//! they have a place among those (events of logs). Never here: all others (`output.rs`), exit codes.
//!
//! Writing never blocks the runtime. Regular files and memory devices (`/dev/null`) are written
//! directly. A pipe is opened once more, without blocking: the flag belongs to what was opened,
//! and we must not set it on what other processes share with us. Everything else (terminals,
//! sockets, what cannot be opened again) is written by one thread.
//!
//! Both streams are one ordered stream up to here, and are written in that order: a blocked one
//! holds up the other. That keeps them in order on a shared terminal, and memory bounded.

use std::future::pending;
use std::io::{self, IoSlice};

use bytes::Bytes;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};
use rustix::io::{fcntl_dupfd_cloexec, retry_on_intr, writev};
use tokio::io::Interest;
use tokio::net::unix::pipe;
use wsx_core::Stream;

use crate::relay::Relay;

/// Output that could not be written.
#[derive(Debug)]
pub(crate) struct WriteError {
    /// Which output.
    pub(crate) stream: Stream,
    /// Why.
    pub(crate) error: io::Error,
}

impl WriteError {
    /// Nobody reads standard output any more.
    pub(crate) fn pipe_closed() -> Self {
        Self {
            stream: Stream::Stdout,
            error: io::ErrorKind::BrokenPipe.into(),
        }
    }
}

/// Both outputs of this process.
#[derive(Debug)]
pub(crate) struct Sinks {
    stdout: Sink,
    stderr: Sink,
    relay: Option<Relay>,
}

#[derive(Debug)]
struct Sink {
    way: Way,
    written: u64,
    failure: Option<io::Error>,
}

#[derive(Debug)]
enum Way {
    /// Written at once: it does not block for long.
    Direct(OwnedFd),
    /// Written when there is room.
    Pipe(pipe::Sender),
    /// Written by the thread.
    Relayed,
}

/// How many pieces go into one system call.
pub(crate) const PIECES: usize = 256;

/// What a pipe should hold: fewer wake-ups of both sides.
#[cfg(target_os = "linux")]
const PIPE_SIZE: usize = 1024 * 1024;

impl Sinks {
    /// Looks at both descriptors and chooses how to write to each.
    ///
    /// # Errors
    /// When the system has no more descriptors or threads.
    pub(crate) fn open(stdout: impl AsFd, stderr: impl AsFd) -> io::Result<Self> {
        let (stdout, stderr) = (duplicate(stdout)?, duplicate(stderr)?);
        let ways = [Way::choose(&stdout)?, Way::choose(&stderr)?];
        let relay = ways.iter().any(|way| matches!(way, Way::Relayed));
        let relay = relay.then(|| Relay::start(stdout, stderr)).transpose()?;
        let [stdout, stderr] = ways.map(|way| Sink {
            way,
            written: 0,
            failure: None,
        });
        Ok(Self {
            stdout,
            stderr,
            relay,
        })
    }

    /// Writes pieces in their order, those of one stream that follow each other together.
    ///
    /// # Errors
    /// When stdout does not take what it got. What error output does not take is remembered for
    /// [`finish`](Self::finish), and what comes after it is dropped: it is not worth the session.
    ///
    /// # Cancel safety
    /// How much was written is not known.
    pub(crate) async fn write(
        &mut self,
        pieces: impl IntoIterator<Item = (Stream, Bytes)>,
    ) -> Result<(), WriteError> {
        let mut pieces = pieces.into_iter().peekable();
        while let Some((stream, first)) = pieces.next() {
            let mut run = vec![first];
            while let Some((_, next)) = pieces.next_if(|(next, _)| *next == stream) {
                run.push(next);
            }
            self.write_run(stream, run).await?;
        }
        Ok(())
    }

    async fn write_run(&mut self, stream: Stream, run: Vec<Bytes>) -> Result<(), WriteError> {
        let sink = match stream {
            Stream::Stderr => &mut self.stderr,
            _ => &mut self.stdout,
        };
        if sink.failure.is_some() {
            return Ok(());
        }
        let result = match (&sink.way, &self.relay) {
            (Way::Relayed, Some(relay)) => relay.write(stream, run).await,
            _ => sink.write(&run).await,
        };
        match (result, stream) {
            (Ok(()), _) => Ok(()),
            (Err(error), Stream::Stderr) => {
                sink.failure = Some(error);
                Ok(())
            }
            (Err(error), _) => Err(WriteError { stream, error }),
        }
    }

    /// Waits until nobody can read standard output any more; for ever where only a write shows that.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn reader_gone(&self) {
        if let Way::Pipe(pipe) = &self.stdout.way
            && pipe.ready(Interest::ERROR).await.is_ok()
        {
            return;
        }
        pending::<()>().await;
    }

    /// Waits until everything is written.
    ///
    /// # Errors
    /// What kept stdout, or else error output, from being written.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn finish(&mut self) -> Result<(), WriteError> {
        if let Some(relay) = &mut self.relay {
            let [stdout, stderr] = relay.finish().await;
            self.stdout.failure = stdout;
            self.stderr.failure = self.stderr.failure.take().or(stderr);
        }
        for (stream, sink) in [
            (Stream::Stdout, &mut self.stdout),
            (Stream::Stderr, &mut self.stderr),
        ] {
            if let Some(error) = sink.failure.take() {
                return Err(WriteError { stream, error });
            }
        }
        Ok(())
    }

    /// Returns how many bytes of a stream are known to be written.
    pub(crate) fn written(&self, stream: Stream) -> u64 {
        let sink = match stream {
            Stream::Stderr => &self.stderr,
            _ => &self.stdout,
        };
        sink.written + self.relay.as_ref().map_or(0, |relay| relay.written(stream))
    }
}

impl Sink {
    async fn write(&mut self, run: &[Bytes]) -> io::Result<()> {
        let mut slices: Vec<_> = run.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut rest = slices.as_mut_slice();
        while !rest.is_empty() {
            let count = self
                .way
                .write_some(rest.get(..PIECES).unwrap_or(rest))
                .await?;
            self.written += count as u64;
            IoSlice::advance_slices(&mut rest, count);
        }
        Ok(())
    }
}

impl Way {
    fn choose(descriptor: &OwnedFd) -> io::Result<Self> {
        let stat = fstat(descriptor)?;
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Self::Direct(descriptor.try_clone()?),
            FileType::CharacterDevice if is_memory(stat.st_rdev) => {
                Self::Direct(descriptor.try_clone()?)
            }
            FileType::Fifo => Self::pipe(descriptor).unwrap_or(Self::Relayed),
            _ => Self::Relayed,
        })
    }

    /// Opens a pipe once more; `None` where that is not possible.
    fn pipe(descriptor: &OwnedFd) -> Option<Self> {
        if fcntl_getfl(descriptor).ok()?.intersection(OFlags::RWMODE) == OFlags::RDONLY {
            // What we are not allowed to write must not become writable.
            return None;
        }
        let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
        let pipe = pipe::OpenOptions::new().open_sender(path).ok()?;
        #[cfg(target_os = "linux")]
        if rustix::pipe::fcntl_getpipe_size(&pipe).is_ok_and(|size| size < PIPE_SIZE) {
            // A larger pipe is faster; a smaller one is right too.
            let _ = rustix::pipe::fcntl_setpipe_size(&pipe, PIPE_SIZE);
        }
        Some(Self::Pipe(pipe))
    }

    async fn write_some(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let count = match self {
            Self::Pipe(pipe) => loop {
                match pipe.try_write_vectored(slices) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        pipe.writable().await?;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    result => break result?,
                }
            },
            Self::Direct(file) => retry_on_intr(|| writev(file, slices))?,
            Self::Relayed => return Err(io::Error::other("there is no thread to write output")),
        };
        if count == 0 {
            Err(io::ErrorKind::WriteZero.into())
        } else {
            Ok(count)
        }
    }
}

/// Makes a descriptor of our own for what somebody else opened.
fn duplicate(descriptor: impl AsFd) -> io::Result<OwnedFd> {
    Ok(fcntl_dupfd_cloexec(descriptor, LOWEST_OWN)?)
}

/// The standard descriptors stay free for nobody.
const LOWEST_OWN: i32 = 3;

/// Tells whether a device is one of memory (`/dev/null`, `/dev/full`), which never blocks.
#[cfg(target_os = "linux")]
fn is_memory(device: u64) -> bool {
    const MEMORY: u32 = 1;
    rustix::fs::major(device) == MEMORY
}

/// Elsewhere the thread writes to devices.
#[cfg(not(target_os = "linux"))]
fn is_memory<T>(_device: T) -> bool {
    false
}

#[cfg(test)]
#[path = "sink_tests.rs"]
mod tests;
