//! The log of a container over WebSocket: messages without channels, and nothing to say back.
//!
//! Lives here: from messages to bytes. Never here: lines, what the end means.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};

use super::{Machine, Outgoing};
use crate::protocol::error::ProtocolError;
use crate::protocol::logs::request::LogSubprotocol;
use crate::protocol::websocket::{FRAME_LIMIT, MessageKind, Piece};

/// A caller has nothing to say: the server reads what comes and drops it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Command {}

/// The reading side of a log. Its events are bytes of the log, never empty, cut anywhere.
#[derive(Debug)]
pub struct Log {
    subprotocol: LogSubprotocol,
    /// What came of a text message: each is base64 of its own.
    text: BytesMut,
    event: Option<Bytes>,
}

impl Log {
    /// Begins after the handshake.
    #[must_use]
    pub fn new(subprotocol: LogSubprotocol) -> Self {
        Self {
            subprotocol,
            text: BytesMut::new(),
            event: None,
        }
    }

    const fn expected(&self) -> MessageKind {
        match self.subprotocol {
            LogSubprotocol::Base64Binary => MessageKind::Text,
            LogSubprotocol::Binary => MessageKind::Binary,
        }
    }
}

impl Machine for Log {
    type Command = Command;
    type Event = Bytes;

    fn command(&mut self, command: Command) {
        match command {}
    }

    fn receive(&mut self, piece: Piece) -> Result<(), ProtocolError> {
        let expected = self.expected();
        if piece.kind != expected {
            return Err(ProtocolError::UnexpectedMessageKind {
                expected: expected.as_str(),
                actual: piece.kind.as_str(),
            });
        }
        let data = match expected {
            MessageKind::Binary => piece.data,
            MessageKind::Text => {
                self.text.extend_from_slice(&piece.data);
                if !piece.last {
                    let (length, limit) = (self.text.len() as u64, FRAME_LIMIT);
                    return match length > limit {
                        true => Err(ProtocolError::FrameTooLarge { length, limit }),
                        false => Ok(()),
                    };
                }
                let text = self.text.split();
                STANDARD
                    .decode(&text)
                    .map_err(|error| ProtocolError::BadBase64 {
                        channel: 0,
                        offset: match error {
                            base64::DecodeError::InvalidByte(offset, _) => offset,
                            _ => text.len(),
                        },
                    })?
                    .into()
            }
        };
        // The first message is empty: it says that the log is about to be read.
        self.event = (!data.is_empty()).then_some(data);
        Ok(())
    }

    fn poll_transmit(&mut self) -> Option<Outgoing> {
        None
    }

    fn poll_event(&mut self) -> Option<Bytes> {
        self.event.take()
    }

    /// Nothing but a Close says how a log ended.
    fn is_settled(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(log: &mut Log, pieces: &[Piece]) -> Vec<Bytes> {
        let take = |piece: &Piece| {
            log.receive(piece.clone()).unwrap();
            log.poll_event()
        };
        pieces.iter().filter_map(take).collect()
    }

    #[test]
    fn binary_messages_are_the_bytes() {
        let messages = ["", "a\n\u{e4}", "b"];
        let pieces = messages.map(|text| Piece::whole(MessageKind::Binary, text.into()));
        let mut log = Log::new(LogSubprotocol::Binary);
        assert_eq!(events(&mut log, &pieces), ["a\n\u{e4}", "b"]);
    }

    #[test]
    fn each_text_message_is_base64_of_its_own_however_it_is_cut() {
        let part = |data: &'static str, first, last| Piece {
            first,
            last,
            ..Piece::whole(MessageKind::Text, data.into())
        };
        let pieces = [
            part("", true, true),
            part("YQ", true, false),
            part("==", false, true),
            part("YmM=", true, true),
        ];
        let mut log = Log::new(LogSubprotocol::Base64Binary);
        assert_eq!(events(&mut log, &pieces), ["a", "bc"]);
    }

    #[test]
    fn what_was_not_agreed_is_refused() {
        let text = |data: &'static str| Piece::whole(MessageKind::Text, data.into());
        assert!(
            Log::new(LogSubprotocol::Binary)
                .receive(text("YQ=="))
                .is_err()
        );
        assert!(
            Log::new(LogSubprotocol::Base64Binary)
                .receive(text("YQ"))
                .is_err()
        );
    }
}
