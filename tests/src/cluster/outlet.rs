//! What goes out to the client of exec or attach: messages, the Status, the end.
//!
//! Lives here: framing of a session's output and of its end. Never here: processes, or what spoils the
//! session (`mischief`).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::AsyncWriteExt as _;

use super::connection::{Connection, State};
use super::faults::{Faults, StatusFault, StatusWord};
use super::subprotocol::{StatusForm, Subprotocol};
use crate::status::Status;
use crate::wire::{self, BINARY, CLOSE, FIN, PONG, RSV1, TEXT};

/// The writing side of a session.
pub(crate) struct Outlet {
    pub(super) connection: Connection,
    pub(crate) subprotocol: &'static Subprotocol,
    pub(crate) faults: Faults,
    pub(super) phase: Phase,
    sent: u64,
    held: Vec<(u8, Vec<u8>)>,
    pulse: Arc<Pulse>,
}

/// When data last went in either direction; pings and pongs are none.
pub(crate) struct Pulse(Mutex<Instant>);

/// The session takes no more output.
#[derive(Debug)]
pub(crate) struct Ended;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    Open,
    /// No more data, but pings are answered.
    Hanging,
    /// Nothing at all any more.
    Over,
}

impl Pulse {
    /// Notes that data has gone.
    pub(crate) fn beat(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// How long no data has gone.
    pub(crate) fn idle(&self) -> Duration {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elapsed()
    }
}

impl Outlet {
    pub(crate) fn new(
        connection: Connection,
        subprotocol: &'static Subprotocol,
        faults: Faults,
    ) -> Self {
        let pulse = Arc::new(Pulse(Mutex::new(Instant::now())));
        Self {
            connection,
            subprotocol,
            faults,
            phase: Phase::Open,
            sent: 0,
            held: Vec::new(),
            pulse,
        }
    }

    /// The pulse, for the other direction to feel and to drive.
    pub(crate) fn pulse(&self) -> Arc<Pulse> {
        self.pulse.clone()
    }

    /// Sends the empty message that says "accepted".
    pub(crate) async fn ready(&mut self, channel: u8) -> Result<(), Ended> {
        if self.faults.no_ready {
            return Ok(());
        }
        let message = self.tagged(channel, &[]);
        self.write(&wire::server_frame(FIN | self.opcode(), &message))
            .await
    }

    /// Sends output, in messages no longer than the subprotocol has them.
    pub(crate) async fn data(&mut self, channel: u8, bytes: &[u8]) -> Result<(), Ended> {
        if self.phase != Phase::Open {
            return Err(Ended);
        }
        if self.faults.holds(channel) {
            self.held.push((channel, bytes.to_vec()));
            return Ok(());
        }
        let left = self
            .faults
            .after_bytes
            .map_or(u64::MAX, |limit| limit.saturating_sub(self.sent));
        let fitting = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        for chunk in bytes[..fitting].chunks(self.subprotocol.longest_output()) {
            self.message(channel, chunk).await?;
        }
        self.sent += fitting as u64;
        if self
            .faults
            .after_bytes
            .is_some_and(|limit| self.sent >= limit)
        {
            return self.cut().await;
        }
        Ok(())
    }

    /// Sends frames that were prepared elsewhere.
    pub(crate) async fn prepared(&mut self, frames: &[u8]) -> Result<(), Ended> {
        if self.phase != Phase::Open {
            return Err(Ended);
        }
        self.write(frames).await
    }

    /// Answers a ping.
    pub(crate) async fn pong(&mut self, payload: &[u8]) {
        if self.phase != Phase::Over {
            // A client that has gone needs no pong.
            let _ = self.write(&wire::server_frame(FIN | PONG, payload)).await;
        }
    }

    /// Sends the Status and ends the session, or does what faults make of that.
    pub(crate) async fn conclude(&mut self, status: &Status) {
        if self.phase == Phase::Open {
            // A client that has gone misses the verdict; nothing is left to do for it.
            let _ = self.verdict(status).await;
        }
    }

    /// Ends the session as a lost node does: Success on v5, a bare end below.
    pub(crate) async fn lose_upstream(&mut self) -> Result<(), Ended> {
        if self.subprotocol.translated {
            self.status_messages(&Status::success().object(true))
                .await?;
            self.end(1000).await
        } else {
            self.finish().await
        }
    }

    /// Sends a closing frame and ends TCP at once.
    pub(crate) async fn end(&mut self, code: u16) -> Result<(), Ended> {
        if self.phase == Phase::Over {
            return Err(Ended);
        }
        self.close_frame(&code.to_be_bytes()).await?;
        if self.faults.two_closes {
            self.close_frame(&code.to_be_bytes()).await?;
        }
        self.phase = Phase::Over;
        if self.faults.linger {
            // The client learns of the end all the same; a connection that is gone needs none.
            let _ = self.connection.shutdown().await;
        } else if !self.faults.keep_tcp_open {
            self.connection.close().await;
        }
        Err(Ended)
    }

    /// Sends one closing frame, and leaves the connection as it is.
    pub(crate) async fn close_frame(&mut self, payload: &[u8]) -> Result<(), Ended> {
        self.write(&wire::server_frame(FIN | CLOSE, payload)).await
    }

    async fn verdict(&mut self, status: &Status) -> Result<(), Ended> {
        let held = std::mem::take(&mut self.held);
        let early = self.faults.status_is(StatusWord::BeforeOutput);
        if early {
            self.status(status).await?;
        }
        for (channel, bytes) in held {
            for chunk in bytes.chunks(self.subprotocol.longest_output()) {
                self.message(channel, chunk).await?;
            }
        }
        if self.faults.status_is(StatusWord::LostUpstream) {
            return self.lose_upstream().await;
        }
        if !early {
            self.status(status).await?;
        }
        self.end(1000).await
    }

    async fn status(&mut self, status: &Status) -> Result<(), Ended> {
        if let Some(length) = self.faults.status_flood {
            let block = vec![b' '; 32 * 1024];
            let mut left = length;
            while left > 0 {
                self.message(3, &block[..left.min(block.len())]).await?;
                left -= left.min(block.len());
            }
        }
        let status = match &self.faults.status {
            Some(StatusFault::Exit(fault)) => Status::exited(&fault.exit, &[]),
            _ => status.clone(),
        };
        let text = match (&self.faults.status, self.subprotocol.status) {
            (Some(StatusFault::Raw(fault)), _) => fault.raw.clone(),
            (Some(StatusFault::Word(StatusWord::Garbage)), _) => "\u{1}not a Status".to_owned(),
            (Some(StatusFault::Word(StatusWord::EmptyObject)), _) => "{}".to_owned(),
            (_, StatusForm::Json) => {
                status.object(self.subprotocol.translated && !self.faults.no_metadata)
            }
            (_, StatusForm::FailureText) => match status.failure_text() {
                Some(text) => text.to_owned(),
                None => return Ok(()),
            },
        };
        self.status_messages(&text).await
    }

    async fn status_messages(&mut self, text: &str) -> Result<(), Ended> {
        let bytes = text.as_bytes();
        let size = match &self.faults.status {
            Some(StatusFault::Word(StatusWord::Missing)) => return Ok(()),
            Some(StatusFault::Word(StatusWord::Split)) => bytes.len().div_ceil(2),
            Some(StatusFault::Word(StatusWord::Bytewise)) => 1,
            _ => bytes.len(),
        };
        for piece in bytes.chunks(size.max(1)) {
            self.message(3, piece).await?;
        }
        Ok(())
    }

    pub(super) async fn finish(&mut self) -> Result<(), Ended> {
        self.phase = Phase::Over;
        self.connection.finish().await;
        Err(Ended)
    }

    /// Whether the last word has been spoken.
    pub(crate) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    pub(super) async fn message(&mut self, channel: u8, bytes: &[u8]) -> Result<(), Ended> {
        self.pulse.beat();
        let message = self.tagged(channel, bytes);
        let mut opcode = self.opcode();
        let mut bits = 0;
        if channel != 3 {
            opcode = if self.faults.text_frame { TEXT } else { opcode };
            bits = if self.faults.rsv { RSV1 } else { 0 };
            if self.faults.masked {
                return self
                    .write(&wire::client_frame(FIN | opcode, &message))
                    .await;
            }
        }
        let Some(pieces) = self.faults.fragment else {
            return self
                .write(&wire::server_frame(FIN | bits | opcode, &message))
                .await;
        };
        let frames = self.fragments(opcode, &message, pieces.max(1));
        self.write(&frames).await
    }

    pub(super) fn tagged(&self, channel: u8, bytes: &[u8]) -> Vec<u8> {
        if self.subprotocol.base64 {
            let mut text = String::from(char::from(b'0' + channel));
            STANDARD.encode_string(bytes, &mut text);
            return text.into_bytes();
        }
        let mut message = Vec::with_capacity(bytes.len() + 1);
        message.push(channel);
        message.extend_from_slice(bytes);
        message
    }

    pub(super) fn opcode(&self) -> u8 {
        if self.subprotocol.base64 {
            TEXT
        } else {
            BINARY
        }
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        let connection = self.connection.clone();
        let slice = self.faults.slice.unwrap_or(usize::MAX).max(1);
        let writing = async {
            for piece in bytes.chunks(slice) {
                self.connection.write_all(piece).await?;
                self.connection.flush().await?;
            }
            std::io::Result::Ok(())
        };
        let written = tokio::select! {
            written = writing => written.is_ok(),
            () = connection.reaches(State::Over) => false,
        };
        if written {
            Ok(())
        } else {
            self.phase = Phase::Over;
            connection.cut();
            Err(Ended)
        }
    }
}
