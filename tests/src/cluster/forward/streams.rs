//! The streams of one tunnel, as Kubernetes' SPDY library keeps them.
//!
//! Lives here: which are open, in which direction, and who reads them. Never here: frames' bytes, pods.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, watch};

/// The streams that are not forgotten.
#[derive(Default)]
pub(super) struct Streams {
    open: Mutex<HashMap<u32, Arc<Stream>>>,
}

/// One stream that the client has opened.
pub(super) struct Stream {
    pub(super) id: u32,
    headers: Vec<(String, String)>,
    state: Mutex<State>,
    /// whoever ends the client's direction --()--> a worker that waits for room
    closed_tx: watch::Sender<bool>,
}

struct State {
    /// worker --data--> whoever copies it to the pod; gone once the client has ended or reset
    data_tx: Option<mpsc::Sender<Vec<u8>>>,
    data_rx: Option<mpsc::Receiver<Vec<u8>>>,
    replied: bool,
    /// Whether we have ended our direction, or either side has reset.
    finished: bool,
}

impl Streams {
    /// Remembers a stream that the client has opened.
    pub(super) fn add(&self, id: u32, fin: bool, headers: Vec<(String, String)>) {
        // Go hands over without a buffer; one place makes the difference of one frame.
        let (data_tx, data_rx) = mpsc::channel(1);
        let stream = Stream {
            id,
            headers,
            state: Mutex::new(State {
                data_tx: (!fin).then_some(data_tx),
                data_rx: Some(data_rx),
                replied: false,
                finished: false,
            }),
            closed_tx: watch::Sender::new(fin),
        };
        self.lock().insert(id, Arc::new(stream));
    }

    pub(super) fn find(&self, id: u32) -> Option<Arc<Stream>> {
        self.lock().get(&id).cloned()
    }

    pub(super) fn remove(&self, id: u32) {
        self.lock().remove(&id);
    }

    /// Forgets all; who reads them sees their end.
    pub(super) fn clear(&self) {
        for (_, stream) in self.lock().drain() {
            stream.close();
        }
    }

    /// The client has ended its direction.
    pub(super) fn client_finished(&self, stream: &Stream) {
        stream.close();
        let over = stream.state().finished;
        if over {
            self.remove(stream.id);
        }
    }

    /// The client has reset the stream.
    pub(super) fn client_reset(&self, stream: &Stream) {
        self.remove(stream.id);
        stream.close();
        stream.state().finished = true;
    }

    /// Notes that we end our direction; false when it has ended before.
    pub(super) fn finish(&self, stream: &Stream) -> bool {
        let mut state = stream.state();
        let first = !std::mem::replace(&mut state.finished, true);
        let over = state.data_tx.is_none();
        drop(state);
        if over {
            self.remove(stream.id);
        }
        first
    }

    /// Notes that we reset the stream; false when our direction has ended before, and nothing is said.
    pub(super) fn reset(&self, stream: &Stream) -> bool {
        self.remove(stream.id);
        stream.close();
        let mut state = stream.state();
        !std::mem::replace(&mut state.finished, true)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Arc<Stream>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    /// A header of the SYN_STREAM; empty when it is not there.
    pub(super) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|header| header.0 == name);
        found.map_or("", |header| &header.1)
    }

    /// Notes that the SYN_REPLY goes out.
    pub(super) fn reply(&self) {
        self.state().replied = true;
    }

    /// Hands data to whoever reads the stream, waiting for room; nobody's is dropped.
    pub(super) async fn deliver(&self, bytes: Vec<u8>) {
        let data_tx = {
            let state = self.state();
            if state.replied {
                state.data_tx.clone()
            } else {
                None
            }
        };
        let mut closed_rx = self.closed_tx.subscribe();
        if let Some(data_tx) = data_tx {
            tokio::select! {
                biased;
                // A reader that has gone takes no more.
                _ = data_tx.send(bytes) => {}
                // The sender lives in `self`.
                _ = closed_rx.wait_for(|closed| *closed) => {}
            }
        }
    }

    /// The client sends no more.
    fn close(&self) {
        self.state().data_tx = None;
        self.closed_tx.send_replace(true);
    }

    /// The data that the client sends; once.
    pub(super) fn data(&self) -> Option<mpsc::Receiver<Vec<u8>>> {
        self.state().data_rx.take()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
