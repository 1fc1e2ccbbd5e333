//! SPDY/3.1 in a WebSocket: the API server's tunnel and the runtime's streams behind it.
//!
//! Lives here: what each frame does, and pairs of streams. Never here: bytes (`frame`), pods (`sandbox`).

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex, Notify, mpsc};

use super::faults::{Faults, How, Moment, Say, Word};
use super::frame::{self, Broken, Frame, Reader, Writer};
use super::listen::{self, End, Taker};
use super::out::{Out, Stop};
use super::sandbox::{Sandbox, Sink};
use super::site::Session;
use super::streams::{Stream, Streams};
use crate::cluster::inlet::Inlet;
use crate::cluster::task;
use crate::wire::{BINARY, TEXT};

/// What the tasks of one tunnel share.
struct Tunnel {
    sandbox: Sandbox,
    faults: Faults,
    out: Mutex<Out>,
    writer: Mutex<Writer>,
    streams: Streams,
    pairs: std::sync::Mutex<HashMap<String, Pair>>,
    /// The odd frames that are still to be said.
    say: std::sync::Mutex<Option<Say>>,
    /// Error streams whose reply waits for their partner's, and data streams that were replied to first.
    swapped: std::sync::Mutex<BTreeSet<u32>>,
    /// whoever has to end the session --how--> its main task
    cut_tx: mpsc::Sender<How>,
}

/// The two streams of one connection, as far as they have come.
#[derive(Default)]
struct Pair {
    data: Option<Arc<Stream>>,
    error: Option<Arc<Stream>>,
    complete: Arc<Notify>,
}

/// Runs a tunnel to its end.
pub(super) async fn run(mut inlet: Inlet, mut session: Session, sandbox: Sandbox, faults: Faults) {
    let (cut_tx, mut cut_rx) = mpsc::channel(1);
    let tunnel = Arc::new(Tunnel {
        sandbox,
        out: Mutex::new(Out::new(inlet.connection.clone(), &faults)),
        writer: Mutex::new(Writer::new()),
        streams: Streams::default(),
        pairs: std::sync::Mutex::default(),
        say: std::sync::Mutex::new(faults.say.clone()),
        swapped: std::sync::Mutex::default(),
        cut_tx,
        faults,
    });
    tunnel.say(Moment::Open, 0).await;
    let mut frames = Frames::new(&tunnel);
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
        () = tunnel.sandbox.follow() => End::Stopped,
        end = listen::listen(&mut inlet, &tunnel.out, &tunnel.faults, &mut frames) => end,
    };
    let last = frames.last;
    drop(frames);
    tunnel.streams.clear();
    if matches!(end, End::Cut(How::Goaway)) {
        let _ = tunnel.out.lock().await.control(&frame::goaway(last)).await;
    }
    tunnel.out.lock().await.stop();
    listen::finish(end, done_tx, &mut inlet, &tunnel.out, &tunnel.faults).await;
}

/// Frames out of messages, to the workers.
struct Frames {
    tunnel: Arc<Tunnel>,
    reader: Reader,
    /// reader --frames of some streams, in order--> worker
    workers: Vec<mpsc::Sender<Frame>>,
    round_robin: usize,
    /// Ids below are taken.
    next: u32,
    last: u32,
}

impl Frames {
    fn new(tunnel: &Arc<Tunnel>) -> Self {
        let workers = (0..WORKERS).map(|_| {
            let (frames_tx, mut frames_rx) = mpsc::channel(QUEUE);
            let tunnel = tunnel.clone();
            task::spawn(async move {
                while let Some(frame) = frames_rx.recv().await {
                    tunnel.frame(frame).await;
                }
            });
            frames_tx
        });
        Self {
            tunnel: tunnel.clone(),
            reader: Reader::new(),
            workers: workers.collect(),
            round_robin: 0,
            next: 1,
            last: 0,
        }
    }

    /// The worker of a frame, as spdystream shares them out.
    fn worker(&mut self, frame: &Frame) -> usize {
        match frame {
            Frame::SynStream { id, .. } | Frame::Data { id, .. } | Frame::RstStream { id } => {
                (*id % WORKERS) as usize
            }
            Frame::Ping { .. } | Frame::GoAway | Frame::Skipped => {
                self.round_robin = (self.round_robin + 1) % self.workers.len();
                self.round_robin
            }
        }
    }
}

impl Taker for Frames {
    async fn take(&mut self, opcode: u8, payload: &[u8]) -> Option<End> {
        if opcode == TEXT {
            return Some(End::Said(1000));
        }
        self.reader.feed(payload);
        loop {
            let frame = match self.reader.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => return None,
                // The reader of the streams stops, and the node with it.
                Err(Broken(_)) => return Some(End::Upstream),
            };
            let site = self.tunnel.sandbox.site.clone();
            if frame == Frame::GoAway {
                site.count(|counts| counts.goaways += 1);
                return Some(End::Upstream);
            }
            let worker = self.worker(&frame);
            if let Frame::SynStream { id, fin, headers } = &frame {
                if *id < self.next {
                    self.tunnel.reset(*id, PROTOCOL_ERROR).await;
                    continue;
                }
                self.next = id + 2;
                self.last = *id;
                self.tunnel.streams.add(*id, *fin, headers.clone());
                site.count(|counts| counts.streams += 1);
            }
            // A worker lives as long as its queue.
            let _ = self.workers[worker].send(frame).await;
        }
    }
}

impl Tunnel {
    /// Does what one frame asks for.
    async fn frame(self: &Arc<Self>, frame: Frame) {
        match frame {
            Frame::SynStream { id, .. } => {
                if let Some(stream) = self.streams.find(id) {
                    self.begin(stream).await;
                }
            }
            Frame::Data { id, fin, bytes } => {
                let Some(stream) = self.streams.find(id) else {
                    return;
                };
                if !bytes.is_empty() {
                    stream.deliver(bytes).await;
                }
                if fin {
                    self.streams.client_finished(&stream);
                }
            }
            Frame::RstStream { id } => {
                self.sandbox.site.count(|counts| counts.resets += 1);
                if let Some(stream) = self.streams.find(id) {
                    self.streams.client_reset(&stream);
                }
            }
            Frame::Ping { id } => {
                self.sandbox.site.count(|counts| counts.pings += 1);
                // The parity of the client's pings; ours were never sent.
                if id % 2 == 1 && !self.faults.no_pong {
                    self.control(&frame::ping(id)).await;
                }
            }
            Frame::GoAway | Frame::Skipped => {}
        }
    }

    /// A new stream: checks its headers, answers, and looks for its partner.
    // cri-streaming portforward/httpstream.go.
    async fn begin(self: &Arc<Self>, stream: Arc<Stream>) {
        let port = stream.header("port").parse::<u16>();
        let kind = stream.header("streamtype").to_owned();
        let valid = port.is_ok_and(|port| port > 0) && ["data", "error"].contains(&&*kind);
        if !valid || self.faults.refuse_streams {
            if self.streams.reset(&stream) {
                self.reset(stream.id, CANCEL).await;
            }
            return;
        }
        if self.faults.no_reply {
            return;
        }
        stream.reply();
        self.answer(stream.id, kind == "error").await;
        self.say(Moment::Reply, stream.id).await;

        let request = match (stream.header("requestid"), &*kind) {
            ("", "error") => stream.id.to_string(),
            ("", _) => stream.id.wrapping_sub(2).to_string(),
            (request, _) => request.to_owned(),
        };
        let (outcome, error, first) = {
            let mut pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
            let first = !pairs.contains_key(&request);
            let pair = pairs.entry(request.clone()).or_default();
            let place = if kind == "error" {
                &mut pair.error
            } else {
                &mut pair.data
            };
            let taken = place.is_some();
            if !taken {
                *place = Some(stream);
            }
            let error = pair.error.clone();
            let outcome = match (taken, pair.data.clone(), pair.error.clone()) {
                (true, _, _) => Err(format!(
                    "error processing stream for request {request}: {kind} stream already assigned"
                )),
                (false, Some(data), Some(error)) => Ok(Some((data, error))),
                (false, _, _) => Ok(None),
            };
            let complete = pair.complete.clone();
            if matches!(outcome, Ok(Some(_))) {
                complete.notify_one();
                pairs.remove(&request);
            }
            (outcome, error, first.then_some(complete))
        };
        if let Some(complete) = first {
            let tunnel = self.clone();
            task::spawn(async move { tunnel.monitor(request, complete).await });
        }
        match outcome {
            Ok(None) => {}
            Ok(Some((data, error))) => {
                let tunnel = self.clone();
                task::spawn(async move { tunnel.forward(data, error).await });
            }
            Err(text) => {
                if let Some(error) = error {
                    // Who has gone hears nothing.
                    let _ = self.data(error.id, false, text.as_bytes()).await;
                }
            }
        }
    }

    /// Replies; with `swap_replies` to an error stream only after its data stream, whose worker may be
    /// ahead or behind.
    async fn answer(&self, id: u32, is_error: bool) {
        if !self.faults.swap_replies {
            return self.reply(id).await;
        }
        let (partner, held) = match is_error {
            true => (id + 2, id),
            false => (id.wrapping_sub(2), id.wrapping_sub(2)),
        };
        if !is_error {
            self.reply(id).await;
        }
        let both = {
            let mut swapped = self.swapped.lock().unwrap_or_else(PoisonError::into_inner);
            swapped.remove(&partner) || !swapped.insert(id)
        };
        if both {
            self.reply(held).await;
        }
    }

    /// Waits for the second stream of a pair, not for ever.
    async fn monitor(self: Arc<Self>, request: String, complete: Arc<Notify>) {
        let limit = self.faults.creation_timeout_ms.unwrap_or(30_000);
        let limit = Duration::from_millis(limit);
        if tokio::time::timeout(limit, complete.notified())
            .await
            .is_ok()
        {
            return;
        }
        let pair = {
            let mut pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
            pairs.remove(&request)
        };
        if let Some(error) = pair.and_then(|pair| pair.error) {
            let text =
                format!("(conn=0xc000123456, request={request}) timed out waiting for streams");
            // Who has gone hears nothing.
            let _ = self.data(error.id, false, text.as_bytes()).await;
        }
    }

    /// One connection with the pod, from its streams to their ends.
    async fn forward(self: Arc<Self>, data: Arc<Stream>, error: Arc<Stream>) {
        let Some(from_client) = data.data() else {
            return;
        };
        let port = data.header("port").parse().unwrap_or_default();
        let sink = Half {
            tunnel: &self,
            stream: &data,
        };
        let done = self.sandbox.forward(port, from_client, &sink).await;
        if let Err(text) = done {
            // Who has gone hears nothing.
            let _ = self.data(error.id, false, text.as_bytes()).await;
            for stream in [&data, &error] {
                if self.streams.reset(stream) {
                    self.reset(stream.id, CANCEL).await;
                }
            }
        }
        self.finish(&error).await;
        self.finish(&data).await;
    }

    async fn finish(&self, stream: &Stream) {
        if self.streams.finish(stream) {
            // Who has gone needs no end.
            let _ = self.data(stream.id, true, &[]).await;
        }
    }

    /// Sends one data frame, as far as the faults let it go.
    async fn data(&self, id: u32, fin: bool, bytes: &[u8]) -> Result<(), Stop> {
        let mut out = self.out.lock().await;
        if out.is_over() {
            return Err(Stop::Ended);
        }
        let count = out.allowance(bytes.len());
        let head = frame::data_head(id, fin, count);
        let (first, second) = head.split_at(4);
        let sent = out
            .messages(&[first, second, &bytes[..count]], BINARY)
            .await;
        let sent = sent.and_then(|()| out.due());
        if let Err(Stop::Cut(how)) = &sent {
            out.stop();
            // One is enough.
            let _ = self.cut_tx.try_send(how.clone());
        }
        sent
    }

    async fn reply(&self, id: u32) {
        // Both locks, so that blocks go out in the order in which they were deflated.
        let mut writer = self.writer.lock().await;
        let frame = writer.reply(id);
        self.control(&frame).await;
    }

    async fn reset(&self, id: u32, status: u32) {
        self.control(&frame::reset(id, status)).await;
    }

    async fn control(&self, frame: &[u8]) {
        let mut out = self.out.lock().await;
        if !out.is_over() {
            // What ends here is noticed by whoever reads.
            let _ = out.control(frame).await;
        }
    }

    /// Says the odd frames that are due now; `id` is the stream they are about.
    async fn say(&self, now: Moment, id: u32) {
        if self.faults.say_at != now {
            return;
        }
        let say = self
            .say
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let (bytes, opcode) = match say {
            None => return,
            Some(Say::Bytes(bytes)) => (bytes, BINARY),
            Some(Say::Word(word)) => {
                let opcode = if word == Word::TextMessage {
                    TEXT
                } else {
                    BINARY
                };
                (word.bytes(id), opcode)
            }
        };
        // What ends here is noticed by whoever reads.
        let _ = self.out.lock().await.messages(&[&bytes], opcode).await;
    }
}

/// The way from a pod to the client: one data stream.
struct Half<'a> {
    tunnel: &'a Tunnel,
    stream: &'a Stream,
}

impl Sink for Half<'_> {
    async fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let sent = self.tunnel.data(self.stream.id, false, bytes).await;
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        self.tunnel.say(Moment::Data, self.stream.id).await;
        Ok(())
    }

    async fn finish(&self) {
        self.tunnel.finish(self.stream).await;
    }
}

// spdystream connection.go.
const WORKERS: u32 = 5;
const QUEUE: usize = 50;
const PROTOCOL_ERROR: u32 = 1;
const CANCEL: u32 = 5;
