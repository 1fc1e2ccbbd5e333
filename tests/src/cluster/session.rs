//! One session of exec or attach after the 101: client to stdin, output to client.
//!
//! Lives here: the two directions and how they end. Never here: the handshake, or frames' bytes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::Mutex;

use super::connection::State;
use super::faults::{Milliseconds, Unread};
use super::inlet::{Frame, Inlet, TooLong};
use super::outlet::{Ended, Outlet, Pulse};
use super::process::{Process, Streams};
use super::program::{self, Content, Program};
use super::remote::Terminator;
use super::resize::Sizes;
use super::stdin::Stdin;
use super::subprotocol::Subprotocol;
use crate::status::Status;
use crate::wire::{CLOSE, PING, PONG};

/// What produces the output and the verdict.
pub(crate) enum Work {
    /// Output of a container's main process, already listened to.
    Attached(super::mains::Attachment),
    /// A process of this session's own; the words are for the verdict's prose.
    Process(Box<Process>, Vec<String>),
    /// No process.
    Program(Program),
    /// It could not start.
    Refused(Status),
}

/// What the path of a session makes different.
pub(crate) struct Manners {
    pub(crate) end: Terminator,
    /// The channel of the ready message.
    pub(crate) ready: u8,
}

/// Runs the session to its end; the process may live on.
pub(crate) async fn run(
    mut inlet: Inlet,
    outlet: Outlet,
    streams: Streams,
    manners: Manners,
    work: Work,
) {
    let connection = inlet.connection.clone();
    if outlet.faults.silent_after_101 {
        connection.stall();
        return connection.reaches(State::Over).await;
    }
    let faults = outlet.faults.clone();
    let (subprotocol, pulse) = (outlet.subprotocol, outlet.pulse());
    let outlet = Arc::new(Mutex::new(outlet));
    let (stdin, job) = begin(work, streams, outlet.clone());
    // What ends here is noticed by whoever uses the outlet next.
    let _ = outlet.lock().await.ready(manners.ready).await;
    let opening = open(outlet.clone(), Duration::from_millis(faults.pause_ms));
    // The job goes on when the client goes: processes outlive their sessions.
    super::task::spawn(async move {
        opening.await;
        job.await;
    });
    if let Some(limit) = faults.idle_cut_ms {
        let limit = Duration::from_millis(limit);
        super::task::spawn(cut_when_idle(outlet.clone(), pulse.clone(), limit));
    }
    let unread = faults.stdin_unread;
    let sizes = Sizes::default();
    let outlet_too = outlet.clone();
    let mut client = Client {
        stdin,
        stdin_ended: false,
        streams,
        subprotocol,
        outlet: outlet_too,
        pulse,
        unread,
        sizes,
    };
    match client.listen(&mut inlet).await {
        // The API server's own WebSocket says goodbye even to who has gone.
        End::Left if manners.end == Terminator::ApiServer => {
            let _ = tokio::time::timeout(LAST_WORDS, async { outlet.lock().await.end(1000).await })
                .await;
            connection.cut();
        }
        End::Left => {
            let mut connection = connection.clone();
            let _ = tokio::time::timeout(LAST_WORDS, connection.close()).await;
        }
        End::Over => connection.reaches(State::Over).await,
        End::Said(codes) => {
            let words = async {
                let mut outlet = outlet.lock().await;
                for code in &codes[1..] {
                    outlet.close_frame(&code.to_be_bytes()).await?;
                }
                outlet.end(codes[0]).await
            };
            let _ = tokio::time::timeout(LAST_WORDS, words).await;
            connection.cut();
        }
    }
}

/// Does what faults ask for before any output; the lock is free during the pause.
async fn open(outlet: Arc<Mutex<Outlet>>, pause: Duration) {
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
    // What ends here is noticed by whoever uses the outlet next.
    let _ = outlet.lock().await.prelude().await;
}

/// Sorts the work into what takes stdin and what makes output.
fn begin(
    work: Work,
    streams: Streams,
    outlet: Arc<Mutex<Outlet>>,
) -> (Stdin, std::pin::Pin<Box<dyn Future<Output = ()> + Send>>) {
    match work {
        Work::Refused(status) => (
            Stdin::Nowhere,
            Box::pin(async move { outlet.lock().await.conclude(&status).await }),
        ),
        Work::Attached(attachment) => {
            let (stdin, output) = attachment.split(streams);
            (stdin, Box::pin(output.copy_to(outlet)))
        }
        Work::Program(Program::True) => (
            Stdin::Nowhere,
            Box::pin(async move { outlet.lock().await.conclude(&Status::success()).await }),
        ),
        Work::Program(Program::Generate {
            content,
            total,
            frame,
        }) => (
            Stdin::Nowhere,
            Box::pin(generate(content, total, frame, outlet)),
        ),
        Work::Program(Program::Sink { limit }) => {
            let (stdin, count_rx) = Stdin::counting(limit);
            let job = async move {
                // Nobody waits for the count of a client that has gone.
                let Ok(count) = count_rx.await else { return };
                let mut outlet = outlet.lock().await;
                if outlet
                    .data(1, format!("{count}\n").as_bytes())
                    .await
                    .is_ok()
                {
                    outlet.conclude(&Status::success()).await;
                }
            };
            (stdin, Box::pin(job))
        }
        Work::Process(mut process, words) => {
            let stdin = Stdin::from(std::mem::replace(
                &mut process.input,
                super::process::Input::None,
            ));
            let terminal = stdin.terminal();
            let job = async move {
                let pumps =
                    std::mem::take(&mut process.outputs)
                        .into_iter()
                        .map(|(channel, source)| {
                            let wanted = if channel == 1 {
                                streams.stdout
                            } else {
                                streams.stderr
                            };
                            let outlet = wanted.then(|| outlet.clone());
                            let terminal = terminal.clone();
                            pump(channel, source, outlet, move || {
                                terminal
                                    .as_ref()
                                    .is_some_and(|terminal| terminal.is_detached())
                            })
                        });
                for pump in pumps.map(super::task::spawn).collect::<Vec<_>>() {
                    // A pump ends with its source; it does not panic.
                    let _ = pump.await;
                }
                let code = process.wait().await;
                let mut outlet = outlet.lock().await;
                let words = if outlet.subprotocol.translated {
                    &[][..]
                } else {
                    &words
                };
                let status = match code {
                    0 => Status::success(),
                    code => Status::exited(&code.to_string(), words),
                };
                outlet.conclude(&status).await;
            };
            (stdin, Box::pin(job))
        }
    }
}

/// Copies one output to its end; without a taker it is read all the same.
async fn pump(
    channel: u8,
    mut source: Box<dyn AsyncRead + Send + Unpin>,
    mut outlet: Option<Arc<Mutex<Outlet>>>,
    detached: impl Fn() -> bool + Send,
) {
    // More than the 64 KiB of a pipe: v4 passes on what was written.
    let mut buffer = vec![0; 100_001];
    loop {
        let count = source.read(&mut buffer).await.unwrap_or(0);
        if count == 0 {
            return;
        }
        if detached() {
            outlet = None;
        }
        if let Some(taker) = &outlet
            && taker
                .lock()
                .await
                .data(channel, &buffer[..count])
                .await
                .is_err()
        {
            outlet = None;
        }
    }
}

async fn generate(content: Content, total: u64, frame: usize, outlet: Arc<Mutex<Outlet>>) {
    let (frame, prepared) = {
        let outlet = outlet.lock().await;
        let subprotocol = outlet.subprotocol;
        (
            frame.min(subprotocol.longest_output()),
            !subprotocol.base64 && outlet.faults.leave_data_alone(),
        )
    };
    let mut position = 0;
    let mut bytes = Vec::new();
    while position < total {
        // The lock is free between two batches, so that pings are answered.
        let sent = if prepared {
            position = program::batch(&mut bytes, content, position, total, frame);
            outlet.lock().await.prepared(&bytes).await
        } else {
            let length = usize::try_from(total - position)
                .unwrap_or(usize::MAX)
                .min(frame);
            bytes.resize(length, 0);
            content.fill(&mut bytes, position);
            position += length as u64;
            outlet.lock().await.data(1, &bytes).await
        };
        if sent.is_err() {
            return;
        }
    }
    outlet.lock().await.conclude(&Status::success()).await;
}

/// Ends the session as the node's idle limit does; pings do not count as life.
async fn cut_when_idle(outlet: Arc<Mutex<Outlet>>, pulse: Arc<Pulse>, limit: Duration) {
    loop {
        let idle = pulse.idle();
        if idle >= limit {
            let mut outlet = outlet.lock().await;
            if !outlet.is_over() {
                // It ends either way.
                let _ = outlet.lose_upstream().await;
            }
            return;
        }
        tokio::time::sleep(limit - idle).await;
    }
}

/// They wait for the lock no longer than a blocked writer deserves.
const LAST_WORDS: Duration = Duration::from_secs(1);
const LONGEST_CONTROL: usize = 125;

/// How listening to the client came to an end.
enum End {
    /// The client has gone without a word.
    Left,
    /// We have ended the session ourselves.
    Over,
    /// Closing frames are due: the last code first, then those that go before it.
    Said(Vec<u16>),
}

/// The direction from the client.
struct Client {
    stdin: Stdin,
    stdin_ended: bool,
    streams: Streams,
    subprotocol: &'static Subprotocol,
    outlet: Arc<Mutex<Outlet>>,
    pulse: Arc<Pulse>,
    unread: Option<Unread>,
    sizes: Sizes,
}

impl Client {
    async fn listen(&mut self, inlet: &mut Inlet) -> End {
        let connection = inlet.connection.clone();
        loop {
            let handled = match inlet.frame() {
                Err(TooLong) => return End::Said(vec![1000]),
                Ok(Some(frame)) => {
                    tokio::select! {
                        biased;
                        () = connection.reaches(State::Stalled) => return End::Over,
                        end = self.frame(frame) => end,
                    }
                }
                Ok(None) => {
                    let filled: io::Result<usize> = tokio::select! {
                        biased;
                        () = connection.reaches(State::Stalled) => return End::Over,
                        filled = inlet.fill() => filled,
                    };
                    matches!(filled, Ok(0) | Err(_)).then_some(End::Left)
                }
            };
            if let Some(end) = handled {
                return end;
            }
        }
    }

    /// Handles one frame; each is a message of its own, even a fragment.
    // x/net websocket hybi.go reads frames, not messages.
    async fn frame(&mut self, frame: Frame<'_>) -> Option<End> {
        if frame.head.mask.is_none() {
            return Some(End::Said(vec![1000, 1002]));
        }
        match frame.head.opcode {
            PING => {
                // x/net keeps no more of it, and answers with that.
                let kept = &frame.payload[..frame.payload.len().min(LONGEST_CONTROL)];
                self.outlet.lock().await.pong(kept).await;
            }
            PONG => {}
            CLOSE => {
                // After our own Close the client's is only an echo.
                let over = self.outlet.lock().await.is_over();
                return (!over).then(|| End::Said(vec![1000]));
            }
            _ if self.subprotocol.base64 => {
                if let [digit, text @ ..] = frame.payload
                    && let Ok(data) = STANDARD.decode(text)
                {
                    return self.message(digit.wrapping_sub(b'0'), &data).await;
                }
            }
            _ => {
                if let [channel, data @ ..] = frame.payload {
                    return self.message(*channel, data).await;
                }
            }
        }
        None
    }

    async fn message(&mut self, channel: u8, data: &[u8]) -> Option<End> {
        match channel {
            // What comes after the end is dropped, on a terminal too.
            0 if self.streams.stdin && !self.stdin_ended => {
                self.pulse.beat();
                match self.unread.take() {
                    Some(Unread::Forever(true)) => std::future::pending().await,
                    Some(Unread::For(Milliseconds { ms })) => {
                        tokio::time::sleep(Duration::from_millis(ms)).await;
                    }
                    Some(Unread::Forever(false)) | None => {}
                }
                self.stdin.write(data).await;
            }
            4 if self.streams.tty => {
                self.pulse.beat();
                let terminal = self.stdin.terminal();
                for (width, height) in self.sizes.feed(data) {
                    if let Some(terminal) = &terminal {
                        terminal.resize(width, height);
                    }
                }
            }
            255 if self.subprotocol.translated => match data {
                [0] => {
                    self.stdin_ended = true;
                    self.stdin.end();
                }
                [4] => self.sizes.stop(),
                [1..=3] => {}
                _ => return Some(End::Said(vec![1000])),
            },
            _ => {}
        }
        None
    }
}

impl super::mains::Output {
    /// Copies the main process's output until it ends, or stdin's end detaches it.
    async fn copy_to(mut self, outlet: Arc<Mutex<Outlet>>) {
        while let Some((channel, bytes)) = self.next().await {
            if let Err(Ended) = outlet.lock().await.data(channel, &bytes).await {
                return;
            }
        }
        // The verdict of attach is about the stream, not about the container.
        outlet.lock().await.conclude(&Status::success()).await;
    }
}
