//! The thread that writes to what may block: terminals, sockets, pipes of other users.
//!
//! Lives here: one thread for both outputs, so that they keep their order on a shared terminal.
//! Never here: what can be written without a thread.

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::{Errno, retry_on_intr, writev};
use tokio::sync::{mpsc, oneshot};
use wsx_core::Stream;

use crate::sink::PIECES;

/// The handle of the thread. One batch waits while one is written, and a batch is what the
/// session's queue holds: the bytes on the way are bounded. The thread keeps nothing alive: the
/// process may end while it is blocked.
#[derive(Debug)]
pub(crate) struct Relay {
    /// sinks --pieces of output, in order--> thread
    jobs: mpsc::Sender<Job>,
    /// thread --all is written--> sinks
    done: oneshot::Receiver<()>,
    accounts: Arc<Accounts>,
}

/// What became of one output.
#[derive(Debug, Default)]
pub(crate) struct Account {
    written: AtomicU64,
    failure: Mutex<Option<io::Error>>,
}

#[derive(Debug, Default)]
struct Accounts {
    stdout: Account,
    stderr: Account,
}

#[derive(Debug)]
struct Job {
    stream: Stream,
    pieces: Vec<Bytes>,
}

impl Relay {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no more threads.
    pub(crate) fn start(stdout: OwnedFd, stderr: OwnedFd) -> io::Result<Self> {
        let (jobs, job_rx) = mpsc::channel(1);
        let (done_tx, done) = oneshot::channel();
        let accounts = Arc::new(Accounts::default());
        let shared = Arc::clone(&accounts);
        thread::Builder::new()
            .name("output".to_owned())
            .spawn(move || {
                write_jobs(job_rx, &shared, &stdout, &stderr);
                // Nobody waits when the process is about to end.
                let _ = done_tx.send(());
            })?;
        Ok(Self {
            jobs,
            done,
            accounts,
        })
    }

    /// Hands pieces over, and waits while the thread has enough to do.
    ///
    /// # Errors
    /// What kept earlier pieces of this stream from being written.
    ///
    /// # Cancel safety
    /// The pieces are lost.
    pub(crate) async fn write(&self, stream: Stream, pieces: Vec<Bytes>) -> io::Result<()> {
        if let Some(error) = self.accounts.of(stream).failure().take() {
            return Err(error);
        }
        let gone = |_| io::Error::other("the thread that writes output has ended");
        self.jobs.send(Job { stream, pieces }).await.map_err(gone)
    }

    /// Waits until everything is written, and returns what kept some of it from being written:
    /// stdout first.
    ///
    /// # Cancel safety
    /// The thread goes on.
    pub(crate) async fn finish(&mut self) -> [Option<io::Error>; 2] {
        let (closed, _) = mpsc::channel(1);
        self.jobs = closed;
        // An error means the same: the thread has ended.
        let _ = (&mut self.done).await;
        [Stream::Stdout, Stream::Stderr].map(|stream| self.accounts.of(stream).failure().take())
    }

    /// Returns how many bytes of a stream are written.
    pub(crate) fn written(&self, stream: Stream) -> u64 {
        self.accounts.of(stream).written.load(Ordering::Relaxed)
    }
}

impl Accounts {
    fn of(&self, stream: Stream) -> &Account {
        match stream {
            Stream::Stderr => &self.stderr,
            _ => &self.stdout,
        }
    }
}

impl Account {
    fn failure(&self) -> MutexGuard<'_, Option<io::Error>> {
        // No code panics while it holds the lock.
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_jobs(
    mut jobs: mpsc::Receiver<Job>,
    accounts: &Accounts,
    stdout: &OwnedFd,
    stderr: &OwnedFd,
) {
    let (mut stdout_failed, mut stderr_failed) = (false, false);
    while let Some(Job { stream, pieces }) = jobs.blocking_recv() {
        let (descriptor, failed) = match stream {
            Stream::Stderr => (stderr, &mut stderr_failed),
            _ => (stdout, &mut stdout_failed),
        };
        if *failed {
            continue;
        }
        let account = accounts.of(stream);
        if let Err(error) = write_all(descriptor, &pieces, &account.written) {
            *failed = true;
            *account.failure() = Some(error);
        }
    }
}

fn write_all(descriptor: &OwnedFd, pieces: &[Bytes], written: &AtomicU64) -> io::Result<()> {
    let mut slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let mut rest = slices.as_mut_slice();
    while !rest.is_empty() {
        let some = rest.get(..PIECES).unwrap_or(rest);
        let count = match retry_on_intr(|| writev(descriptor, some)) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => count,
            // Somebody else made what we share non-blocking.
            Err(Errno::AGAIN) => {
                let mut ready = [PollFd::from_borrowed_fd(descriptor.as_fd(), PollFlags::OUT)];
                // An error shows again at the next write.
                let _ = poll(&mut ready, None);
                0
            }
            Err(error) => return Err(error.into()),
        };
        written.fetch_add(count as u64, Ordering::Relaxed);
        IoSlice::advance_slices(&mut rest, count);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    fn bytes(pieces: &[&'static [u8]]) -> Vec<Bytes> {
        pieces
            .iter()
            .map(|piece| Bytes::from_static(piece))
            .collect()
    }

    #[tokio::test]
    async fn both_streams_keep_their_order_on_a_shared_terminal() {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::NONBLOCK,
            None,
        )
        .unwrap();
        let mut relay = Relay::start(ours.try_clone().unwrap(), ours).unwrap();
        rustix::fs::fcntl_setfl(&theirs, rustix::fs::OFlags::empty()).unwrap();
        relay
            .write(Stream::Stdout, bytes(&[b"a", b"b"]))
            .await
            .unwrap();
        relay.write(Stream::Stderr, bytes(&[b"c"])).await.unwrap();
        relay.write(Stream::Stdout, bytes(&[b"d"])).await.unwrap();
        assert!(relay.finish().await.iter().all(Option::is_none));
        assert_eq!(
            (relay.written(Stream::Stdout), relay.written(Stream::Stderr)),
            (3, 1)
        );
        drop(relay);
        let mut text = String::new();
        File::from(theirs).read_to_string(&mut text).unwrap();
        assert_eq!(text, "abcd");
    }

    #[tokio::test]
    async fn a_failure_of_one_stream_leaves_the_other() {
        let full = || OwnedFd::from(File::options().write(true).open("/dev/full").unwrap());
        let null = OwnedFd::from(File::options().write(true).open("/dev/null").unwrap());
        let mut relay = Relay::start(null, full()).unwrap();
        relay
            .write(Stream::Stderr, bytes(&[b"lost"]))
            .await
            .unwrap();
        relay
            .write(Stream::Stdout, bytes(&[b"kept"]))
            .await
            .unwrap();
        let [stdout, stderr] = relay.finish().await;
        assert!(stdout.is_none());
        assert_eq!(
            stderr.unwrap().raw_os_error(),
            Some(Errno::NOSPC.raw_os_error())
        );
        assert_eq!(
            (relay.written(Stream::Stdout), relay.written(Stream::Stderr)),
            (4, 0)
        );
    }
}
