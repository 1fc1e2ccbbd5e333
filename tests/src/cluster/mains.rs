//! The main processes of containers, which attach shares among its clients.
//!
//! Lives here: starting them on first use, and their one output for many. Never here: frames.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::io::AsyncReadExt as _;
use tokio::sync::{Mutex as AsyncMutex, broadcast, watch};

use super::pods::{Container, Pods};
use super::process::{Input, Node, Place, Streams};
use super::stdin::Stdin;
use super::terminal::Terminal;

/// The main processes that run.
#[derive(Default)]
pub(crate) struct Mains {
    running: Mutex<HashMap<String, Arc<Main>>>,
}

/// One main process.
struct Main {
    stdin: AsyncMutex<Stdin>,
    terminal: Option<Arc<Terminal>>,
    stdin_once: bool,
    reads: bool,
    /// main process --output, then `None`--> everybody attached
    output_tx: broadcast::Sender<Option<(u8, Bytes)>>,
}

/// One client of a main process, listening from now on.
pub(crate) struct Attachment {
    main: Arc<Main>,
    output_rx: broadcast::Receiver<Option<(u8, Bytes)>>,
}

/// The way in.
pub(crate) struct Feed {
    main: Arc<Main>,
    /// end of stdin --true--> this client's output
    detached_tx: watch::Sender<bool>,
}

/// The way out.
pub(crate) struct Output {
    output_rx: broadcast::Receiver<Option<(u8, Bytes)>>,
    detached_rx: watch::Receiver<bool>,
    streams: Streams,
}

impl Mains {
    /// Attaches to a container's main process, and starts it when it does not run.
    pub(crate) fn attach(
        self: &Arc<Self>,
        place: &Place,
        container: &Container,
        node: &Arc<Node>,
        pods: &Arc<Pods>,
    ) -> Result<Attachment, String> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(main) = running.get(&place.key()) {
            return Ok(main.attachment());
        }
        let streams = Streams {
            stdin: container.stdin,
            stdout: true,
            stderr: true,
            tty: container.tty,
        };
        let mut process = node.start(place, &command(place), streams)?;
        let stdin = Stdin::from(std::mem::replace(&mut process.input, Input::None));
        let main = Arc::new(Main {
            terminal: stdin.terminal(),
            stdin: AsyncMutex::new(stdin),
            stdin_once: container.stdin_once,
            reads: container.stdin,
            output_tx: broadcast::Sender::new(BACKLOG),
        });
        let attachment = main.attachment();
        running.insert(place.key(), main.clone());

        let (mains, pods, place) = (self.clone(), pods.clone(), place.clone());
        super::task::spawn(async move {
            let mut pumps = Vec::new();
            for (channel, mut source) in std::mem::take(&mut process.outputs) {
                let output_tx = main.output_tx.clone();
                pumps.push(super::task::spawn(async move {
                    let mut buffer = vec![0; 32 * 1024];
                    while let Ok(count @ 1..) = source.read(&mut buffer).await {
                        // Without anybody attached the output is nobody's.
                        let _ = output_tx
                            .send(Some((channel, Bytes::copy_from_slice(&buffer[..count]))));
                    }
                }));
            }
            for pump in pumps {
                // A pump ends with its source; it does not panic.
                let _ = pump.await;
            }
            let code = process.wait().await;
            pods.ended(&place.namespace, &place.pod, &place.container, code);
            mains
                .running
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&place.key());
            let _ = main.output_tx.send(None);
        });
        Ok(attachment)
    }
}

impl Main {
    fn attachment(self: &Arc<Self>) -> Attachment {
        Attachment {
            main: self.clone(),
            output_rx: self.output_tx.subscribe(),
        }
    }
}

impl Attachment {
    /// The two directions of the attachment.
    pub(crate) fn split(self, streams: Streams) -> (Stdin, Output) {
        let (detached_tx, detached_rx) = watch::channel(false);
        let output = Output {
            output_rx: self.output_rx,
            detached_rx,
            streams,
        };
        (
            Stdin::Main(Feed {
                main: self.main,
                detached_tx,
            }),
            output,
        )
    }
}

impl Feed {
    /// Hands bytes to the main process; one that never reads stdin takes none, for ever.
    pub(crate) async fn write(&self, data: &[u8]) {
        // containerd does not read what is sent to a container without `stdin: true`.
        if !self.main.reads {
            std::future::pending::<()>().await;
        }
        self.main.stdin.lock().await.write(data).await;
    }

    /// The client's stdin ends: for good where `stdinOnce` says so, else it detaches.
    pub(crate) fn end(&self) {
        if self.main.stdin_once
            && self.main.terminal.is_none()
            && let Ok(mut stdin) = self.main.stdin.try_lock()
        {
            stdin.end();
            return;
        }
        self.detached_tx.send_replace(true);
    }

    /// The terminal of the main process, when it has one.
    pub(crate) fn terminal(&self) -> Option<Arc<Terminal>> {
        self.main.terminal.clone()
    }
}

impl Output {
    /// The next output this client asked for, or `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<(u8, Bytes)> {
        loop {
            let received = tokio::select! {
                biased;
                Ok(_) = self.detached_rx.wait_for(|detached| *detached) => return None,
                received = self.output_rx.recv() => received,
            };
            match received {
                Ok(Some((1, bytes))) if self.streams.stdout => return Some((1, bytes)),
                Ok(Some((2, bytes))) if self.streams.stderr => return Some((2, bytes)),
                // Not asked for, or more than a client that does not read can be kept for.
                Ok(Some(_)) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Ok(None) | Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

fn command(place: &Place) -> Vec<String> {
    let script = match &*place.pod {
        "stdin-0" | "tty-0" => "exec cat",
        "ends-0" => "read line; echo \"got $line\"; echo oops >&2; exit 3",
        _ => "n=0; while :; do n=$((n+1)); echo \"tick $n\"; sleep 0.05; done",
    };
    ["sh", "-c", script].map(str::to_owned).to_vec()
}

const BACKLOG: usize = 4096;
