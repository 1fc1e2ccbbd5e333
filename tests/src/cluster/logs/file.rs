//! The log of one run of a container: a file as the container runtime writes it, and its rotation.
//!
//! Lives here: `TIME STREAM TAG CONTENT` as bytes, which file is the current one. Never here: readers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::stamp::{self, Nanoseconds};

/// One file; whoever has it open keeps it, as on a disk.
#[derive(Default)]
pub(crate) struct File(Mutex<Vec<u8>>);

impl File {
    /// The bytes, held still.
    pub(crate) fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The log of one run: of one container ID.
pub(crate) struct Instance {
    inner: Mutex<Inner>,
    /// whoever writes, rotates or ends the run --()--> those who follow
    changed_tx: watch::Sender<()>,
}

#[derive(Clone)]
struct Inner {
    file: Arc<File>,
    running: bool,
    /// Bytes of numbered lines, which stand for the file.
    lines: Option<u64>,
}

/// One record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) time: Nanoseconds,
    pub(crate) stream: &'a str,
    pub(crate) tag: &'a str,
    pub(crate) content: &'a [u8],
}

impl Instance {
    pub(crate) fn new(running: bool) -> Self {
        let file = Arc::default();
        Self {
            inner: Mutex::new(Inner {
                file,
                running,
                lines: None,
            }),
            changed_tx: watch::Sender::new(()),
        }
    }

    /// Whether the container runs, then the current file: in this order, so that an end means all is there.
    pub(crate) fn look(&self) -> (bool, Arc<File>) {
        let inner = self.inner().clone();
        (inner.running, inner.file)
    }

    /// How many bytes of numbered lines stand for the file, if they do.
    pub(crate) fn lines(&self) -> Option<u64> {
        self.inner().lines
    }

    /// Lets so many bytes of numbered lines stand for the file.
    pub(crate) fn set_lines(&self, total: Option<u64>) {
        self.inner().lines = total;
    }

    /// Told after every change.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed_tx.subscribe()
    }

    /// Appends records in one go.
    pub(crate) fn write(&self, records: &[Record<'_>]) {
        let mut bytes = Vec::new();
        for record in records {
            // Written with Go's RFC3339Nano; the runtime's zone is UTC here.
            bytes.extend_from_slice(stamp::nano(record.time).as_bytes());
            for word in [record.stream, record.tag] {
                bytes.push(b' ');
                bytes.extend_from_slice(word.as_bytes());
            }
            bytes.push(b' ');
            bytes.extend_from_slice(record.content);
            bytes.push(b'\n');
        }
        self.append(&bytes);
    }

    /// Appends bytes as they are, so that a record may stay unfinished.
    pub(crate) fn append(&self, bytes: &[u8]) {
        let inner = self.inner();
        inner.file.bytes().extend_from_slice(bytes);
        drop(inner);
        self.changed_tx.send_replace(());
    }

    /// Goes on in a new file.
    pub(crate) fn rotate(&self) {
        self.inner().file = Arc::default();
        self.changed_tx.send_replace(());
    }

    /// Whether the container runs from now on.
    pub(crate) fn set_running(&self, running: bool) {
        self.inner().running = running;
        self.changed_tx.send_replace(());
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
