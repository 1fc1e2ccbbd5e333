//! One client with an open stream, from its start until it ends or is no longer watched.

use std::io::Read;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::PATIENCE;

/// What a command prints when it has come to the moment of the loss.
pub(super) const MARK: &[u8] = b"MARK\n";

/// A running client.
pub(super) struct Stream {
    child: Child,
    /// Open to the end: what is left of the input is not what ends the command.
    _stdin: ChildStdin,
    marked: Receiver<()>,
    stdout: Receiver<Vec<u8>>,
    stderr: Receiver<Vec<u8>>,
}

/// How a client ended.
pub(super) struct End {
    /// Nothing when it was still waiting.
    pub(super) code: Option<i32>,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: String,
}

impl Stream {
    pub(super) fn start(command: &mut Command) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (marked, stdout) = follow(child.stdout.take().unwrap());
        let (_, stderr) = follow(child.stderr.take().unwrap());
        Self {
            _stdin: child.stdin.take().unwrap(),
            child,
            marked,
            stdout,
            stderr,
        }
    }

    /// Waits until the mark has arrived.
    pub(super) fn reach_the_mark(&mut self) {
        let Err(problem) = self.marked.recv_timeout(PATIENCE) else {
            return;
        };
        self.child.kill().unwrap();
        let stderr = self.stderr.recv().unwrap();
        panic!("no mark: {problem}: {}", String::from_utf8_lossy(&stderr));
    }

    /// Waits for the end, at most this long; then ends it.
    pub(super) fn end(mut self, by: Instant) -> End {
        // Both outputs end with the process: no client here leaves a child behind.
        let left = by.saturating_duration_since(Instant::now());
        let ended = match self.stdout.recv_timeout(left.max(Duration::from_millis(1))) {
            Ok(stdout) => Some(stdout),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("standard output cannot be read"),
        };
        let waits = ended.is_none();
        if waits {
            self.child.kill().unwrap();
        }
        let status = self.child.wait().unwrap();
        End {
            code: if waits {
                None
            } else {
                Some(status.code().expect("no signal"))
            },
            stdout: ended.unwrap_or_else(|| self.stdout.recv().unwrap()),
            stderr: String::from_utf8_lossy(&self.stderr.recv().unwrap()).into_owned(),
        }
    }
}

/// Tells when the mark has come, and gives everything at the end.
fn follow(mut source: impl Read + Send + 'static) -> (Receiver<()>, Receiver<Vec<u8>>) {
    let (marked_tx, marked_rx) = mpsc::sync_channel(1);
    let (all_tx, all_rx) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let mut marked_tx = Some(marked_tx);
        let (mut all, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            let count = source.read(&mut piece).unwrap();
            all.extend_from_slice(&piece[..count]);
            if all.windows(MARK.len()).any(|word| word == MARK)
                && let Some(marked_tx) = marked_tx.take()
            {
                let _ = marked_tx.send(());
            }
            if count == 0 {
                break;
            }
        }
        drop(marked_tx);
        all_tx.send(all)
    });
    (marked_rx, all_rx)
}
