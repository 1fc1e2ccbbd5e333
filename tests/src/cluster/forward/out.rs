//! What goes out to the client of port-forward: WebSocket messages, cut as a real server cuts them.
//!
//! Lives here: the one writer of a session. Never here: SPDY, channels, or who writes.

use tokio::io::AsyncWriteExt as _;

use super::faults::{Faults, How};
use crate::cluster::connection::{Connection, State};
use crate::wire::{self, BINARY, CLOSE, CONTINUATION, FIN, PONG};

/// The writing side of a session.
pub(super) struct Out {
    connection: Connection,
    slice: Option<usize>,
    empty_messages: bool,
    /// Payload bytes that may still go, before the end that was asked for.
    left: Option<u64>,
    then: How,
    over: bool,
}

/// The session takes no more output.
#[derive(Debug)]
pub(super) enum Stop {
    /// It has ended.
    Ended,
    /// It has to be ended now, in this way.
    Cut(How),
}

impl Out {
    pub(super) fn new(connection: Connection, faults: &Faults) -> Self {
        Self {
            connection,
            slice: faults.slice,
            empty_messages: faults.empty_messages,
            left: faults.after_bytes,
            then: faults.then.clone(),
            over: false,
        }
    }

    /// Sends each part as a message of its own, or as many as the faults make of it.
    pub(super) async fn messages(&mut self, parts: &[&[u8]], opcode: u8) -> Result<(), Stop> {
        let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 4).sum());
        for part in parts {
            for piece in part.chunks(self.slice.unwrap_or(LONGEST).max(1)) {
                if self.empty_messages {
                    bytes.extend_from_slice(&wire::server_frame(FIN | opcode, &[]));
                }
                put_message(&mut bytes, opcode, piece);
            }
        }
        self.write(&bytes).await
    }

    /// Sends one message, however long.
    pub(super) async fn message(&mut self, payload: &[u8], opcode: u8) -> Result<(), Stop> {
        self.write(&wire::server_frame(FIN | opcode, payload)).await
    }

    /// One control frame of SPDY, in the pieces in which Go writes its fields.
    pub(super) async fn control(&mut self, frame: &[u8]) -> Result<(), Stop> {
        let (head, rest) = frame.split_at(frame.len().min(8));
        let (first, second) = head.split_at(head.len().min(2));
        let (second, third) = second.split_at(second.len().min(2));
        let (id, block) = rest.split_at(rest.len().min(4));
        self.messages(&[first, second, third, id, block], BINARY)
            .await
    }

    /// How many payload bytes may go now; what is over is cut off.
    pub(super) fn allowance(&mut self, wanted: usize) -> usize {
        let Some(left) = &mut self.left else {
            return wanted;
        };
        let fitting = usize::try_from(*left).unwrap_or(usize::MAX).min(wanted);
        *left -= fitting as u64;
        fitting
    }

    /// The end that is due, once all that may go has gone.
    pub(super) fn due(&self) -> Result<(), Stop> {
        match self.left {
            Some(0) => Err(Stop::Cut(self.then.clone())),
            _ => Ok(()),
        }
    }

    /// Answers a ping of the WebSocket.
    pub(super) async fn pong(&mut self, payload: &[u8]) {
        // A client that has gone needs no pong.
        let _ = self.write(&wire::server_frame(FIN | PONG, payload)).await;
    }

    /// Sends a closing frame, empty for [`NO_STATUS`], and ends the connection.
    pub(super) async fn close(&mut self, code: u16, reason: &str) {
        let payload = match code {
            NO_STATUS => Vec::new(),
            code => [&code.to_be_bytes(), reason.as_bytes()].concat(),
        };
        // It ends either way.
        let _ = self.write(&wire::server_frame(FIN | CLOSE, &payload)).await;
        self.over = true;
        self.connection.close().await;
    }

    /// Nothing more goes out but pongs and the closing frame.
    pub(super) fn stop(&mut self) {
        self.over = true;
    }

    /// Whether nothing more goes out.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let connection = self.connection.clone();
        let writing = async {
            self.connection.write_all(bytes).await?;
            self.connection.flush().await
        };
        let written = tokio::select! {
            written = writing => written.is_ok(),
            () = connection.reaches(State::Stalled) => false,
        };
        if written {
            Ok(())
        } else {
            self.over = true;
            Err(Stop::Ended)
        }
    }
}

/// One message in the frames of gorilla/websocket (conn.go, `messageWriter`), with Go's buffer of 4096 bytes.
fn put_message(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    // Past twice the buffer a payload goes out as it is, and an empty frame ends the message.
    let room = if payload.len() > 2 * BUFFER {
        payload.len()
    } else {
        BUFFER - LONGEST_HEAD
    };
    let mut opcode = opcode;
    let mut rest = payload;
    while rest.len() > room || rest.len() > BUFFER {
        let (piece, tail) = rest.split_at(room);
        wire::put_head(out, opcode, piece.len() as u64, None);
        out.extend_from_slice(piece);
        (opcode, rest) = (CONTINUATION, tail);
    }
    wire::put_head(out, FIN | opcode, rest.len() as u64, None);
    out.extend_from_slice(rest);
}

/// Stands for a closing frame without a code.
pub(super) const NO_STATUS: u16 = 1005;
const BUFFER: usize = 4096;
/// What gorilla keeps free for a head.
const LONGEST_HEAD: usize = 14;
/// What the API server reads from the node at a time.
const LONGEST: usize = 32 * 1024;
