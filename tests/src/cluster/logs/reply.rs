//! One reply with a log: chunks or WebSocket messages, until the log or somebody ends it.
//!
//! Lives here: framing, following, cuts. Never here: what is in the log.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::AsyncWriteExt as _;

use super::Source;
use super::file::Instance;
use super::read::Pull;
use super::site::{Cut, Follow, Site};
use crate::cluster::connection::{Connection, State};
use crate::cluster::inlet::{Inlet, TooLong};
use crate::wire::{self, BINARY, CLOSE, FIN, PING, TEXT};

/// How a log travels.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Carrier {
    Chunked,
    WebSocket { base64: bool },
}

/// A reply that may begin.
pub(crate) struct Reply {
    carrier: Carrier,
    head: Vec<u8>,
    source: Source,
    /// Where it follows.
    follow: Option<Follow>,
    /// The cut after so many bytes of the log.
    limit: Option<(u64, Cut)>,
}

/// Why a wait was over.
enum Event {
    Changed,
    Cut(Cut),
    /// The client said this, in closing frames, or left.
    Left(Vec<u16>),
    Ping(Vec<u8>),
    Sent(io::Result<()>),
}

impl Reply {
    pub(crate) fn new(
        carrier: Carrier,
        head: Vec<u8>,
        source: Source,
        instance: &Arc<Instance>,
        site: &Arc<Site>,
        follow: bool,
    ) -> Self {
        Self {
            carrier,
            head,
            source,
            follow: follow.then(|| site.follow(instance)),
            limit: site.take_cut(),
        }
    }

    /// Sends all there is; true when the connection can carry another request.
    pub(crate) async fn run(mut self, inlet: &mut Inlet) -> io::Result<bool> {
        let mut out = std::mem::take(&mut self.head);
        // "Connected": the empty message that the API server sends before it reads the log.
        if self.carrier != Carrier::Chunked {
            self.carrier.message(&[], &mut out);
        }
        let mut changes = self.source.instance().changes();
        let mut plain = Vec::new();
        let mut cut = None;
        let mut deadline = None;
        loop {
            changes.borrow_and_update();
            plain.clear();
            let pull = self.source.pull(&mut plain);
            if let Some((left, how)) = &mut self.limit {
                if plain.len() as u64 >= *left {
                    plain.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                    cut = Some(how.clone());
                    deadline = Some(tokio::time::Instant::now());
                }
                *left -= plain.len() as u64;
            }
            self.carrier.put(&plain, &mut out);
            let mut pongs = Vec::new();
            {
                let mut connection = inlet.connection.clone();
                let mut sending = std::pin::pin!(send(&mut connection, &out));
                loop {
                    let patience = deadline.map(|at| at + PATIENCE);
                    let event = tokio::select! {
                        result = &mut sending => Event::Sent(result),
                        event = self.carrier.listen(inlet) => event,
                        how = cut_of(&mut self.follow), if cut.is_none() => Event::Cut(how),
                        () = until(patience) => Event::Sent(Ok(())),
                    };
                    match event {
                        Event::Sent(result) => {
                            result?;
                            break;
                        }
                        Event::Cut(how) => {
                            cut = Some(how);
                            deadline = Some(tokio::time::Instant::now());
                        }
                        Event::Ping(pong) => pongs.extend(pong),
                        Event::Left(codes) => return self.leave(inlet, &codes).await,
                        Event::Changed => {}
                    }
                }
            }
            out.clear();
            out.append(&mut pongs);
            // What was written before the cut goes out first, where that does not take for ever.
            let flows = pull == Pull::Data && matches!(self.source, Source::File(_));
            let limited = self.limit.as_ref().is_some_and(|(left, _)| *left == 0);
            let late = deadline.is_some_and(|at| at.elapsed() >= PATIENCE);
            if (!flows || limited || late)
                && let Some(how) = cut.take()
            {
                return self.carrier.sever(inlet, how, self.follow).await;
            }
            if pull == Pull::End {
                return self.carrier.sever(inlet, Cut::Eof, self.follow).await;
            }
            if pull == Pull::Wait && out.is_empty() {
                let event = tokio::select! {
                    event = self.carrier.listen(inlet) => event,
                    how = cut_of(&mut self.follow) => Event::Cut(how),
                    _ = changes.changed() => Event::Changed,
                };
                match event {
                    Event::Cut(how) => {
                        cut = Some(how);
                        deadline = Some(tokio::time::Instant::now());
                    }
                    Event::Ping(pong) => out = pong,
                    Event::Left(codes) => return self.leave(inlet, &codes).await,
                    Event::Changed | Event::Sent(_) => {}
                }
            }
        }
    }

    /// The client has gone, or said goodbye: x/net answers with its own closing frame.
    async fn leave(&self, inlet: &Inlet, codes: &[u16]) -> io::Result<bool> {
        let mut connection = inlet.connection.clone();
        if self.carrier != Carrier::Chunked {
            let mut words = Vec::new();
            for code in codes.iter().rev() {
                words.extend(wire::server_frame(FIN | CLOSE, &code.to_be_bytes()));
            }
            // Who has gone does not hear it.
            let words = send(&mut connection, &words);
            let _ = tokio::time::timeout(PATIENCE, words).await;
        }
        connection.close().await;
        Ok(false)
    }
}

impl Carrier {
    /// Puts a piece of the log in chunks or messages.
    fn put(self, plain: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Chunked => {
                for chunk in plain.chunks(CHUNK) {
                    out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    out.extend_from_slice(chunk);
                    out.extend_from_slice(b"\r\n");
                }
            }
            Self::WebSocket { .. } => {
                for message in plain.chunks(MESSAGE) {
                    self.message(message, out);
                }
            }
        }
    }

    fn message(self, bytes: &[u8], out: &mut Vec<u8>) {
        if self == (Self::WebSocket { base64: true }) {
            let text = STANDARD.encode(bytes);
            out.extend(wire::server_frame(FIN | TEXT, text.as_bytes()));
        } else {
            wire::put_head(out, FIN | BINARY, bytes.len() as u64, None);
            out.extend_from_slice(bytes);
        }
    }

    /// Waits for the client to say something that matters.
    ///
    /// # Cancel safety
    /// What has come stays in the inlet.
    async fn listen(self, inlet: &mut Inlet) -> Event {
        loop {
            if self != Self::Chunked {
                match inlet.frame() {
                    Err(TooLong) => return Event::Left(vec![1000]),
                    Ok(Some(frame)) if frame.head.mask.is_none() => {
                        return Event::Left(vec![1000, 1002]);
                    }
                    Ok(Some(frame)) if frame.head.opcode == CLOSE => {
                        return Event::Left(vec![1000]);
                    }
                    Ok(Some(frame)) if frame.head.opcode == PING => {
                        let kept = &frame.payload[..frame.payload.len().min(125)];
                        return Event::Ping(wire::server_frame(FIN | wire::PONG, kept));
                    }
                    // What the client says else is not listened to.
                    Ok(Some(_)) => continue,
                    Ok(None) => {}
                }
            }
            if let Ok(0) | Err(_) = inlet.fill().await {
                return Event::Left(vec![1000]);
            }
        }
    }

    /// Ends the reply, which follows no more once that is done; true when the connection can carry another
    /// request.
    async fn sever(self, inlet: &mut Inlet, how: Cut, follow: Option<Follow>) -> io::Result<bool> {
        let mut connection = inlet.connection.clone();
        match (how, self) {
            (Cut::Eof, Self::Chunked) => {
                send(&mut connection, LAST_CHUNK).await?;
                return Ok(true);
            }
            (Cut::Close(..), Self::Chunked) => {
                send(&mut connection, LAST_CHUNK).await?;
                connection.close().await;
            }
            (Cut::Eof, Self::WebSocket { .. }) => {
                let frame = wire::server_frame(FIN | CLOSE, &1000_u16.to_be_bytes());
                send(&mut connection, &frame).await?;
                connection.close().await;
            }
            (Cut::Close(code, reason), Self::WebSocket { .. }) => {
                let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
                let frame = wire::server_frame(FIN | CLOSE, &payload);
                send(&mut connection, &frame).await?;
                connection.close().await;
            }
            (Cut::Fin, _) => {
                connection.finish().await;
                drop(follow);
                // The client's own end, so that no reset overtakes what it has not read yet.
                let leaving = async { while let Ok(1..) = inlet.fill().await {} };
                let _ = tokio::time::timeout(PATIENCE, leaving).await;
            }
            (Cut::Rst, _) => connection.reset(),
            (Cut::Stall, _) => {
                connection.stall();
                drop(follow);
                connection.reaches(State::Over).await;
                // Only a cluster that ends resolves this.
                std::future::pending::<()>().await;
            }
        }
        Ok(false)
    }
}

/// Ends a reply in chunks; true when the connection can carry another request.
pub(crate) async fn sever(inlet: &mut Inlet, how: Cut) -> io::Result<bool> {
    Carrier::Chunked.sever(inlet, how, None).await
}

async fn send(connection: &mut Connection, bytes: &[u8]) -> io::Result<()> {
    connection.write_all(bytes).await?;
    connection.flush().await
}

/// The next cut of a reply that follows.
async fn cut_of(follow: &mut Option<Follow>) -> Cut {
    match follow {
        Some(follow) => match follow.cut_rx.recv().await {
            Ok(how) => how,
            Err(_) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

async fn until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The head of a log over HTTP.
pub(super) const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nCache-Control: no-cache, private\r\n\
     Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n";
/// The head of a watch.
pub(crate) const CHUNKED_JSON: &[u8] = b"HTTP/1.1 200 OK\r\nCache-Control: no-cache, private\r\n\
     Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// io.Copy of the API server.
const CHUNK: usize = 32 * 1024;
// k8s.io/streaming wsstream/stream.go: messageCopy.
const MESSAGE: usize = 2048;
/// How long a client that does not read keeps a cut waiting.
const PATIENCE: Duration = Duration::from_secs(1);
