//! v4 channels: one WebSocket for ports that are named beforehand.
//!
//! Lives here: the two channels of each port. Never here: pods (`sandbox`).

use std::io;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::{Mutex, mpsc};

use super::faults::{Faults, How};
use super::listen::{self, End, Taker};
use super::out::{Out, Stop};
use super::sandbox::{Sandbox, Sink};
use super::site::Session;
use crate::cluster::inlet::Inlet;
use crate::cluster::task;
use crate::wire::{BINARY, TEXT};

/// What the tasks of one session share.
struct Channels {
    sandbox: Sandbox,
    faults: Faults,
    base64: bool,
    out: Mutex<Out>,
    /// whoever has to end the session --how--> its main task
    cut_tx: mpsc::Sender<How>,
}

/// Runs a session to its end.
// cri-streaming portforward/websocket.go.
pub(super) async fn run(
    mut inlet: Inlet,
    mut session: Session,
    sandbox: Sandbox,
    faults: Faults,
    (base64, ports): (bool, Vec<u16>),
) {
    let (cut_tx, mut cut_rx) = mpsc::channel(1);
    let out = Mutex::new(Out::new(inlet.connection.clone(), &faults));
    let channels = Arc::new(Channels {
        sandbox,
        faults,
        base64,
        out,
        cut_tx,
    });
    let mut inputs = Vec::new();
    let mut jobs = tokio::task::JoinSet::new();
    for (channel, port) in (0_u8..).step_by(2).zip(&ports) {
        let prefix = port.to_le_bytes();
        for channel in [channel, channel + 1] {
            // What ends here is noticed by whoever reads.
            let _ = channels.send(channel, &prefix, false).await;
        }
        let (input_tx, input_rx) = mpsc::channel(1);
        inputs.push(input_tx);
        let (channels, port) = (channels.clone(), *port);
        let job = task::spawn(async move { channels.port(channel, port, input_rx).await });
        jobs.spawn(job);
    }
    let mut taker = Inputs { inputs, base64 };
    let mut done_tx = None;
    let end = tokio::select! {
        biased;
        order = session.orders_rx.recv() => match order {
            Some((how, tx)) => {
                done_tx = Some(tx);
                End::Cut(how)
            }
            None => End::Stopped,
        },
        how = cut_rx.recv() => how.map_or(End::Stopped, End::Cut),
        () = channels.sandbox.follow() => End::Stopped,
        () = async { while jobs.join_next().await.is_some() {} } => End::Said(1000),
        end = listen::listen(&mut inlet, &channels.out, &channels.faults, &mut taker) => end,
    };
    drop(taker);
    let end = match end {
        // The node's own end, and the API server has no part in it.
        End::Upstream | End::Cut(How::Goaway | How::Upstream) => End::Cut(How::Fin),
        // x/net says 1000, whatever the client said.
        End::Said(_) => End::Said(1000),
        end => end,
    };
    if !matches!(end, End::Said(_) | End::Cut(How::Close(..))) {
        channels.out.lock().await.stop();
    }
    listen::finish(end, done_tx, &mut inlet, &channels.out, &channels.faults).await;
}

impl Channels {
    /// One port, from its connection to the end of it.
    async fn port(&self, channel: u8, port: u16, from_client: mpsc::Receiver<Vec<u8>>) {
        let sink = Data {
            channels: self,
            channel,
        };
        if let Err(text) = self.sandbox.forward(port, from_client, &sink).await {
            // Who has gone hears nothing.
            let _ = self.send(channel + 1, text.as_bytes(), false).await;
        }
    }

    async fn send(&self, channel: u8, bytes: &[u8], counted: bool) -> Result<(), Stop> {
        let mut out = self.out.lock().await;
        if out.is_over() {
            return Err(Stop::Ended);
        }
        let count = if counted {
            out.allowance(bytes.len())
        } else {
            bytes.len()
        };
        let (message, opcode) = if self.base64 {
            let mut text = String::from(char::from(b'0' + channel));
            STANDARD.encode_string(&bytes[..count], &mut text);
            (text.into_bytes(), TEXT)
        } else {
            ([&[channel], &bytes[..count]].concat(), BINARY)
        };
        out.message(&message, opcode).await?;
        let due = if counted { out.due() } else { Ok(()) };
        if let Err(Stop::Cut(how)) = &due {
            out.stop();
            // One is enough.
            let _ = self.cut_tx.try_send(how.clone());
        }
        due
    }
}

/// The way from a pod to the client: one data channel.
struct Data<'a> {
    channels: &'a Channels,
    channel: u8,
}

impl Sink for Data<'_> {
    async fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let sent = self.channels.send(self.channel, bytes, true).await;
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// A channel has no end of its own.
    async fn finish(&self) {}
}

/// The way from the client: data by channel.
struct Inputs {
    inputs: Vec<mpsc::Sender<Vec<u8>>>,
    base64: bool,
}

impl Taker for Inputs {
    /// Each frame is a message of its own, even a fragment (x/net websocket hybi.go).
    async fn take(&mut self, _: u8, payload: &[u8]) -> Option<End> {
        let [channel, data @ ..] = payload else {
            return None;
        };
        let (channel, data) = if self.base64 {
            (channel.wrapping_sub(b'0'), STANDARD.decode(data).ok()?)
        } else {
            (*channel, data.to_vec())
        };
        let input = self.inputs.get(usize::from(channel / 2))?;
        if channel.is_multiple_of(2) && !data.is_empty() {
            // A port that has ended takes no more, and nobody is told.
            let _ = input.send(data).await;
        }
        None
    }
}
