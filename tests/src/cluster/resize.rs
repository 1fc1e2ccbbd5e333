//! Window sizes: the stream of JSON objects on channel 4.
//!
//! Lives here: one decoder over all messages. Never here: terminals.

use serde_json::{Map, Value};

/// The decoder.
#[derive(Debug, Default)]
pub(crate) struct Sizes {
    waiting: Vec<u8>,
    stopped: bool,
}

impl Sizes {
    /// Takes a message and gives the sizes that are complete now, as (width, height).
    // cri-streaming remotecommand: one json.Decoder; its first error ends resizing, silently.
    pub(crate) fn feed(&mut self, data: &[u8]) -> Vec<(u16, u16)> {
        let mut sizes = Vec::new();
        if self.stopped {
            return sizes;
        }
        self.waiting.extend_from_slice(data);
        let mut values =
            serde_json::Deserializer::from_slice(&self.waiting).into_iter::<Map<String, Value>>();
        let mut read = 0;
        while let Some(value) = values.next().filter(|_| !self.stopped) {
            match value {
                Ok(object) => {
                    read = values.byte_offset();
                    match (side(&object, "width"), side(&object, "height")) {
                        (Some(width), Some(height)) => sizes.push((width, height)),
                        _ => self.stopped = true,
                    }
                }
                // The rest of an object is yet to come.
                Err(error) if error.is_eof() => break,
                Err(_) => self.stopped = true,
            }
        }
        self.waiting.drain(..read);
        self.stopped |= self.waiting.len() > LONGEST;
        sizes
    }

    /// Hears no more.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
    }
}

/// A number under a key in any case; 0 when absent, as Go leaves it.
fn side(object: &Map<String, Value>, name: &str) -> Option<u16> {
    match object
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
    {
        None => Some(0),
        Some((_, value)) => u16::try_from(value.as_u64()?).ok(),
    }
}

const LONGEST: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_may_share_messages_and_span_them() {
        let mut sizes = Sizes::default();
        assert_eq!(
            sizes.feed(b"{\"Width\":80,\"Height\":24}\n{\"wid"),
            [(80, 24)]
        );
        assert_eq!(
            sizes.feed(b"th\":3,\"HEIGHT\":4}{\"Width\":5}"),
            [(3, 4), (5, 0)]
        );
    }

    #[test]
    fn the_first_error_ends_resizing() {
        for broken in [&b"nonsense"[..], b"{\"Width\":70000}", b"[1]"] {
            let mut sizes = Sizes::default();
            assert_eq!(sizes.feed(broken), []);
            assert_eq!(sizes.feed(b"{\"Width\":1,\"Height\":2}"), []);
        }
    }
}
