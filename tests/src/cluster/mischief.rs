//! Faults on the way out: frames nobody should send, and ends nobody should make.
//!
//! Lives here: the doing of what `faults` names, once the 101 is out. Never here: the vocabulary.

use super::faults::{CloseFault, StatusWord, Then, ThenWord};
use super::outlet::{Ended, Outlet, Phase};
use crate::wire::{self, CONTINUATION, FIN, PING};

impl Outlet {
    /// Sends what comes between the ready message and the output.
    pub(super) async fn prelude(&mut self) -> Result<(), Ended> {
        let faults = self.faults.clone();
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
        if faults.after_bytes == Some(0) {
            return self.cut().await;
        }
        Ok(())
    }

    /// Does what `then` says at the cut.
    pub(super) async fn cut(&mut self) -> Result<(), Ended> {
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

    pub(super) async fn close_with(&mut self, payload: &[u8]) -> Result<(), Ended> {
        self.close_frame(payload).await?;
        self.phase = Phase::Over;
        self.connection.close().await;
        Err(Ended)
    }

    pub(super) fn fragments(&self, opcode: u8, message: &[u8], pieces: usize) -> Vec<u8> {
        let mut chunks: Vec<&[u8]> = message
            .chunks(message.len().div_ceil(pieces).max(1))
            .collect();
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
}
