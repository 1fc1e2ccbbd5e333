//! What comes in from the client of port-forward, message by message.
//!
//! Lives here: frames of the WebSocket, and faults of reading. Never here: what a message means.

use std::time::Duration;

use tokio::sync::{Mutex, oneshot};

use super::faults::{Faults, How};
use super::out::{NO_STATUS, Out};
use crate::cluster::connection::State;
use crate::cluster::inlet::{Frame, Inlet, TooLong};
use crate::wire::{CLOSE, PING, PONG};

/// Who takes the messages.
pub(super) trait Taker: Send {
    /// Takes the payload of one frame; the answer may end the session.
    fn take(&mut self, opcode: u8, payload: &[u8]) -> impl Future<Output = Option<End>> + Send;
}

/// How listening came to an end.
#[derive(Debug)]
pub(super) enum End {
    /// In a way that was asked for.
    Cut(How),
    /// The client has gone without a word.
    Left,
    /// A closing frame is due.
    Said(u16),
    /// Somebody has stalled or cut the connection.
    Stopped,
    /// The node has gone: silence until the client speaks.
    Upstream,
}

/// Listens until something ends the session.
///
/// # Cancel safety
/// Dropped between two frames it has lost none; one that was being taken is lost.
pub(super) async fn listen(
    inlet: &mut Inlet,
    out: &Mutex<Out>,
    faults: &Faults,
    taker: &mut impl Taker,
) -> End {
    let connection = inlet.connection.clone();
    let mut received = 0;
    loop {
        if faults.unread_after.is_some_and(|limit| received >= limit) {
            connection.reaches(State::Stalled).await;
            return End::Stopped;
        }
        if faults.after_received.is_some_and(|limit| received >= limit) {
            return End::Cut(faults.then.clone());
        }
        let ended = match inlet.frame() {
            Err(TooLong) => Some(End::Said(1000)),
            Ok(Some(frame)) => {
                let data = !matches!(frame.head.opcode, PING | PONG | CLOSE);
                received += if data { frame.head.length } else { 0 };
                tokio::select! {
                    biased;
                    () = connection.reaches(State::Stalled) => Some(End::Stopped),
                    end = one(frame, out, faults, taker) => end,
                }
            }
            Ok(None) => {
                if faults.read_pause_ms > 0 {
                    tokio::time::sleep(Duration::from_millis(faults.read_pause_ms)).await;
                }
                tokio::select! {
                    biased;
                    () = connection.reaches(State::Stalled) => Some(End::Stopped),
                    filled = inlet.fill() => match filled {
                        Ok(1..) => None,
                        Ok(0) | Err(_) => Some(End::Left),
                    },
                }
            }
        };
        if let Some(end) = ended {
            return end;
        }
    }
}

async fn one(
    frame: Frame<'_>,
    out: &Mutex<Out>,
    faults: &Faults,
    taker: &mut impl Taker,
) -> Option<End> {
    if frame.head.mask.is_none() {
        return Some(End::Said(1002));
    }
    match frame.head.opcode {
        PING => {
            if !faults.no_ws_pong {
                out.lock().await.pong(frame.payload).await;
            }
            None
        }
        PONG => None,
        CLOSE => {
            let code = frame.payload.first_chunk();
            let code = code.map_or(NO_STATUS, |code| u16::from_be_bytes(*code));
            Some(End::Said(code))
        }
        opcode => taker.take(opcode, frame.payload).await,
    }
}

/// Ends a session; who ordered it hears when it is done, not when the client has gone too.
pub(super) async fn finish(
    end: End,
    done_tx: Option<oneshot::Sender<()>>,
    inlet: &mut Inlet,
    out: &Mutex<Out>,
    faults: &Faults,
) {
    let mut concluding = std::pin::pin!(conclude(end, inlet, out, faults));
    // One look is enough to do what was ordered; the rest is waiting for the client.
    let over = std::future::poll_fn(|context| {
        std::task::Poll::Ready(concluding.as_mut().poll(context).is_ready())
    });
    let over = over.await;
    if let Some(done_tx) = done_tx {
        // Who ordered it may have gone.
        let _ = done_tx.send(());
    }
    if !over {
        concluding.await;
    }
}

/// Does what an end asks for, to the end of the connection.
async fn conclude(mut end: End, inlet: &mut Inlet, out: &Mutex<Out>, faults: &Faults) {
    let connection = inlet.connection.clone();
    loop {
        end = match end {
            End::Cut(How::Close(code, reason)) => {
                return words(out, &connection, code, &reason).await;
            }
            End::Cut(How::Fin) => {
                out.lock().await.stop();
                connection.finish().await;
                // What still comes is read, so that no reset overtakes what was sent.
                while inlet.skip(1).await.is_ok() {}
                return connection.cut();
            }
            End::Cut(How::Rst) => return connection.reset(),
            End::Cut(How::Stall) => {
                connection.stall();
                return connection.reaches(State::Over).await;
            }
            End::Cut(How::Goaway | How::Upstream) | End::Upstream => {
                out.lock().await.stop();
                // apiserver streamtunnel.go: Close waits for a lock that the blocked Read holds.
                listen(inlet, out, faults, &mut Release).await
            }
            End::Left => return words(out, &connection, 1000, "").await,
            End::Said(code) => return words(out, &connection, code, "").await,
            End::Stopped => return connection.reaches(State::Over).await,
        };
    }
}

/// Any message lets the API server notice that the node has gone.
struct Release;

impl Taker for Release {
    async fn take(&mut self, _: u8, _: &[u8]) -> Option<End> {
        Some(End::Said(1000))
    }
}

async fn words(
    out: &Mutex<Out>,
    connection: &crate::cluster::connection::Connection,
    code: u16,
    reason: &str,
) {
    let words = async { out.lock().await.close(code, reason).await };
    let _ = tokio::time::timeout(LAST_WORDS, words).await;
    connection.cut();
}

/// They wait for a blocked writer no longer.
const LAST_WORDS: Duration = Duration::from_secs(1);
