//! What goes out to the client of exec or attach: messages, the Status, the end.
//!
//! Lives here: framing of a session's output, and the faults that spoil it. Never here: processes.

use std::sync::{Mutex as StdMutex, PoisonError};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use super::connection::{Connection, State};
use super::faults::{CloseFault, Faults, StatusFault, StatusWord, Then, ThenWord};
use super::subprotocol::{StatusForm, Subprotocol};
use crate::wire::{self, BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, RSV1, TEXT};

/// The writing side of a session.
pub(crate) struct Outlet {
    connection: Connection,
    pub(crate) subprotocol: &'static Subprotocol,
    pub(crate) faults: Faults,
    phase: Phase,
    sent: u64,
    held: Vec<(u8, Vec<u8>)>,
    last_data: StdMutex<Instant>,
}

/// The session takes no more output.
#[derive(Debug)]
pub(crate) struct Ended;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Open,
    /// No more data, but pings are answered.
    Hanging,
    /// Nothing at all any more.
    Over,
}

impl Outlet {
    pub(crate) fn new(
        connection: Connection,
        subprotocol: &'static Subprotocol,
        faults: Faults,
    ) -> Self {
        let last_data = StdMutex::new(Instant::now());
        Self { connection, subprotocol, faults, phase: Phase::Open, sent: 0, held: Vec::new(), last_data }
    }

    /// Sends the empty message that says "accepted", and what faults ask for before any output.
    pub(crate) async fn open(&mut self, ready: u8) -> Result<(), Ended> {
        if !self.faults.no_ready {
            let message = self.tagged(ready, &[]);
            self.write(&wire::server_frame(FIN | self.opcode(), &message)).await?;
        }
        self.prelude().await?;
        if self.faults.after_bytes == Some(0) {
            return self.cut().await;
        }
        Ok(())
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
        let left = self.faults.after_bytes.map_or(u64::MAX, |limit| limit.saturating_sub(self.sent));
        let fitting = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        for chunk in bytes[..fitting].chunks(self.subprotocol.longest_output()) {
            self.message(channel, chunk).await?;
        }
        self.sent += fitting as u64;
        if self.faults.after_bytes.is_some_and(|limit| self.sent >= limit) {
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

    /// Notes that the client has sent data, which re-arms the idle limit.
    pub(crate) fn touch(&self) {
        *self.last_data.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// When data last went in either direction.
    pub(crate) fn last_data(&self) -> Instant {
        *self.last_data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the Status and ends the session, or does what faults make of that.
    pub(crate) async fn conclude(&mut self, status: &Value) {
        if self.phase == Phase::Open {
            // A client that has gone misses the verdict; nothing is left to do for it.
            let _ = self.verdict(status).await;
        }
    }

    /// Ends the session as a lost node does: Success on v5, a bare end below.
    pub(crate) async fn lose_upstream(&mut self) -> Result<(), Ended> {
        if self.subprotocol.translated {
            self.status_messages(&wire::success().to_string()).await?;
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
        if !self.faults.keep_tcp_open {
            self.connection.close().await;
        }
        Err(Ended)
    }

    /// Sends one closing frame, and leaves the connection as it is.
    pub(crate) async fn close_frame(&mut self, payload: &[u8]) -> Result<(), Ended> {
        self.write(&wire::server_frame(FIN | CLOSE, payload)).await
    }

    async fn verdict(&mut self, status: &Value) -> Result<(), Ended> {
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

    async fn status(&mut self, status: &Value) -> Result<(), Ended> {
        if let Some(length) = self.faults.status_flood {
            let block = vec![b' '; 32 * 1024];
            let mut left = length;
            while left > 0 {
                self.message(3, &block[..left.min(block.len())]).await?;
                left -= left.min(block.len());
            }
        }
        let status = match &self.faults.status {
            Some(StatusFault::Exit(fault)) => wire::exited(&fault.exit, &[]),
            _ => status.clone(),
        };
        let text = match (&self.faults.status, self.subprotocol.status) {
            (Some(StatusFault::Raw(fault)), _) => fault.raw.clone(),
            (Some(StatusFault::Word(StatusWord::Garbage)), _) => "\u{1}not a Status".to_owned(),
            (Some(StatusFault::Word(StatusWord::EmptyObject)), _) => "{}".to_owned(),
            (_, StatusForm::Json) => self.shaped(status).to_string(),
            (_, StatusForm::FailureText) if status["status"] == "Success" => return Ok(()),
            (_, StatusForm::FailureText) => status["message"].as_str().unwrap_or_default().to_owned(),
        };
        self.status_messages(&text).await
    }

    fn shaped(&self, mut status: Value) -> Value {
        if self.faults.no_metadata && let Some(fields) = status.as_object_mut() {
            fields.remove("metadata");
        }
        status
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

    /// Frames that come between the ready message and the output.
    async fn prelude(&mut self) -> Result<(), Ended> {
        let faults = self.faults.clone();
        if faults.pause_ms > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(faults.pause_ms)).await;
        }
        if faults.ping_flood > 0 {
            let flood = wire::server_frame(FIN | PING, b"flood").repeat(faults.ping_flood);
            self.write(&flood).await?;
        }
        if faults.empty_messages > 0 {
            let empty = wire::server_frame(FIN | self.opcode(), b"").repeat(faults.empty_messages);
            self.write(&empty).await?;
        }
        if let Some(length) = faults.unknown_channel {
            self.message(9, &vec![b'?'; length]).await?;
        }
        for (wanted, first, payload) in [
            (faults.bad_opcode, FIN | 0xB, &b"\x01x"[..]),
            (faults.long_control, FIN | PING, &[b'p'; 126][..]),
            (faults.continuation_first, FIN | CONTINUATION, &b"\x01x"[..]),
        ] {
            if wanted {
                self.write(&wire::server_frame(first, payload)).await?;
            }
        }
        for (length, sent) in [
            (faults.giant_frame.map(|length| length + 1), true),
            (faults.declared_length.map(|length| length.0), false),
        ] {
            if let Some(length) = length {
                let mut head = Vec::new();
                wire::put_head(&mut head, FIN | self.opcode(), length, None);
                head.extend_from_slice(&self.tagged(1, &[]));
                self.write(&head).await?;
                let block = vec![b'g'; 1 << 20];
                let mut left = if sent { length - 1 } else { 0 };
                while left > 0 {
                    let step = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
                    self.write(&block[..step]).await?;
                    left -= step as u64;
                }
            }
        }
        Ok(())
    }

    /// Does what `then` says at the cut.
    async fn cut(&mut self) -> Result<(), Ended> {
        match self.faults.then.clone() {
            None if self.faults.status_is(StatusWord::LostUpstream) => self.lose_upstream().await,
            None | Some(Then::Word(ThenWord::Fin)) => self.finish().await,
            Some(Then::Word(ThenWord::CloseNoStatus)) => self.end(1000).await,
            Some(Then::Word(ThenWord::Hang)) => {
                self.phase = Phase::Hanging;
                Err(Ended)
            }
            Some(Then::Word(ThenWord::Rst)) => {
                self.phase = Phase::Over;
                self.connection.reset();
                Err(Ended)
            }
            Some(Then::Word(ThenWord::Stall)) => {
                self.phase = Phase::Over;
                self.connection.stall();
                Err(Ended)
            }
            Some(Then::Close(CloseFault { close, reason })) => {
                let payload = [&close.to_be_bytes(), reason.as_bytes()].concat();
                self.close_with(&payload).await
            }
            Some(Then::Raw(raw)) => self.close_with(&raw.close_raw.0).await,
        }
    }

    async fn close_with(&mut self, payload: &[u8]) -> Result<(), Ended> {
        self.close_frame(payload).await?;
        self.phase = Phase::Over;
        self.connection.close().await;
        Err(Ended)
    }

    async fn finish(&mut self) -> Result<(), Ended> {
        self.phase = Phase::Over;
        self.connection.finish().await;
        Err(Ended)
    }

    /// Whether the last word has been spoken.
    pub(crate) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    async fn message(&mut self, channel: u8, bytes: &[u8]) -> Result<(), Ended> {
        self.touch();
        let message = self.tagged(channel, bytes);
        let mut opcode = self.opcode();
        let mut bits = 0;
        if channel != 3 {
            opcode = if self.faults.text_frame { TEXT } else { opcode };
            bits = if self.faults.rsv { RSV1 } else { 0 };
            if self.faults.masked {
                return self.write(&wire::client_frame(FIN | opcode, &message)).await;
            }
        }
        let Some(pieces) = self.faults.fragment else {
            return self.write(&wire::server_frame(FIN | bits | opcode, &message)).await;
        };
        let frames = self.fragments(opcode, &message, pieces.max(1));
        self.write(&frames).await
    }

    fn fragments(&self, opcode: u8, message: &[u8], pieces: usize) -> Vec<u8> {
        let mut chunks: Vec<&[u8]> = message.chunks(message.len().div_ceil(pieces).max(1)).collect();
        if self.faults.fragment_empty_first {
            chunks.insert(0, &[]);
        }
        let last = chunks.len() - 1;
        let mut out = Vec::new();
        for (index, chunk) in chunks.into_iter().enumerate() {
            let first = if index == 0 { opcode } else { CONTINUATION };
            let fin = if index == last { FIN } else { 0 };
            out.extend_from_slice(&wire::server_frame(fin | first, chunk));
            if index != last {
                out.extend_from_slice(&wire::server_frame(FIN | PING, b"between"));
                if self.faults.fragment_interrupted {
                    out.extend_from_slice(&wire::server_frame(FIN | opcode, message));
                }
            }
        }
        out
    }

    fn tagged(&self, channel: u8, bytes: &[u8]) -> Vec<u8> {
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

    fn opcode(&self) -> u8 {
        if self.subprotocol.base64 { TEXT } else { BINARY }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Ended> {
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
