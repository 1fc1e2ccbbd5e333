//! Where the client's stdin goes.
//!
//! Lives here: the takers, and what the end of stdin means to each. Never here: frames.

use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;
use tokio::process::ChildStdin;
use tokio::sync::oneshot;

use super::mains::Feed;
use super::process::Input;
use super::terminal::Terminal;

/// A taker of stdin.
pub(crate) enum Stdin {
    /// Counts bytes; the total goes to whoever waits for it.
    Counter {
        count: u64,
        limit: u64,
        total_tx: Option<oneshot::Sender<u64>>,
    },
    /// The main process of a container.
    Main(Feed),
    /// Nobody; bytes are dropped.
    Nowhere,
    /// A process that reads from a pipe.
    Pipe(ChildStdin),
    /// A process on a terminal.
    Terminal(Arc<Terminal>),
}

impl Stdin {
    /// A counter, and where its total arrives.
    pub(crate) fn counting(limit: u64) -> (Self, oneshot::Receiver<u64>) {
        // counter --total, once--> the job that prints it
        let (total_tx, total_rx) = oneshot::channel();
        let mut counter = Self::Counter {
            count: 0,
            limit,
            total_tx: Some(total_tx),
        };
        if limit == 0 {
            counter.end();
        }
        (counter, total_rx)
    }

    /// Hands bytes over, waiting until they are taken.
    ///
    /// A process that has closed its stdin loses them silently, as with the real server.
    pub(crate) async fn write(&mut self, data: &[u8]) {
        match self {
            Self::Counter { count, limit, .. } => {
                *count += data.len() as u64;
                if count >= limit {
                    self.end();
                }
            }
            // A main process has a `Stdin` of its own, hence the box.
            Self::Main(feed) => Box::pin(feed.write(data)).await,
            Self::Nowhere => {}
            Self::Pipe(pipe) => {
                if pipe.write_all(data).await.is_err() {
                    *self = Self::Nowhere;
                }
            }
            Self::Terminal(terminal) => {
                // The process has gone when this fails.
                let _ = terminal.write_all(data).await;
            }
        }
    }

    /// Ends stdin.
    pub(crate) fn end(&mut self) {
        match self {
            Self::Counter {
                count, total_tx, ..
            } => {
                if let Some(total_tx) = total_tx.take() {
                    // The job waits for it unless the session is over.
                    let _ = total_tx.send(*count);
                }
            }
            Self::Main(feed) => feed.end(),
            Self::Nowhere => {}
            Self::Pipe(_) => *self = Self::Nowhere,
            Self::Terminal(terminal) => terminal.detach(),
        }
    }

    /// The terminal, when there is one.
    pub(crate) fn terminal(&self) -> Option<Arc<Terminal>> {
        match self {
            Self::Main(feed) => feed.terminal(),
            Self::Terminal(terminal) => Some(terminal.clone()),
            Self::Counter { .. } | Self::Nowhere | Self::Pipe(_) => None,
        }
    }
}

impl From<Input> for Stdin {
    fn from(input: Input) -> Self {
        match input {
            Input::None => Self::Nowhere,
            Input::Pipe(pipe) => Self::Pipe(pipe),
            Input::Terminal(terminal) => Self::Terminal(terminal),
        }
    }
}
