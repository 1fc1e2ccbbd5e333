//! `--detach-keys`: leaving a terminal session without ending it.
//!
//! Lives here: the names of keys, and finding the sequence in what is typed. Never here: reading.
//!
//! Names and rules are those of github.com/moby/term (ascii.go, proxy.go), which kubectl uses.

use bytes::Bytes;

/// The keys, and how many of them were just typed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    typed: usize,
}

/// What to do with a piece of input.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Sifted {
    /// What goes to the remote side. Keys that may become the sequence are held back.
    pub(crate) pass: Bytes,
    /// Whether the sequence was typed; what came after it is dropped.
    pub(crate) detached: bool,
}

impl DetachKeys {
    /// Reads names of keys, separated by commas: a character, `ctrl-` and a character, or `DEL`.
    ///
    /// # Errors
    /// The first name that is none.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let keys = text.split(',').map(key).collect::<Result<_, _>>()?;
        Ok(Self { keys, typed: 0 })
    }

    /// Looks for the sequence in a piece of input.
    pub(crate) fn sift(&mut self, piece: Bytes) -> Sifted {
        if self.typed == 0 && !piece.contains(&self.keys[0]) {
            return Sifted {
                pass: piece,
                detached: false,
            };
        }
        let mut pass = Vec::with_capacity(self.typed + piece.len());
        for byte in piece {
            if byte != self.keys[self.typed] {
                pass.extend_from_slice(&self.keys[..self.typed]);
                self.typed = 0;
            }
            if byte != self.keys[self.typed] {
                pass.push(byte);
                continue;
            }
            self.typed += 1;
            if self.typed == self.keys.len() {
                return Sifted {
                    pass: pass.into(),
                    detached: true,
                };
            }
        }
        Sifted {
            pass: pass.into(),
            detached: false,
        }
    }
}

fn key(name: &str) -> Result<u8, String> {
    let unknown =
        || format!("unknown key {name:?}: a character, ctrl-a to ctrl-z, ctrl-@[\\]^_, or DEL");
    if name == "DEL" {
        return Ok(127);
    }
    if let [byte] = name.as_bytes() {
        return Ok(*byte);
    }
    match name.strip_prefix("ctrl-").map(str::as_bytes) {
        Some([letter @ b'a'..=b'z']) => Ok(letter - b'a' + 1),
        Some([b'@']) => Ok(0),
        Some([sign @ b'['..=b'_']) => Ok(sign - b'[' + 27),
        _ => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sift(keys: &str, pieces: &[&'static str]) -> (String, bool) {
        let mut keys = DetachKeys::parse(keys).unwrap();
        let mut all = Vec::new();
        for piece in pieces {
            let sifted = keys.sift(Bytes::from_static(piece.as_bytes()));
            all.extend_from_slice(&sifted.pass);
            if sifted.detached {
                return (String::from_utf8(all).unwrap(), true);
            }
        }
        (String::from_utf8(all).unwrap(), false)
    }

    #[test]
    fn keys_have_the_names_of_kubectl() {
        let keys = |text| DetachKeys::parse(text).map(|keys| keys.keys);
        assert_eq!(keys("ctrl-p,ctrl-q"), Ok(vec![16, 17]));
        assert_eq!(keys("ctrl-@,ctrl-_,a,DEL"), Ok(vec![0, 31, b'a', 127]));
        for wrong in ["", "ctrl-P", "ctrl-", "a,,b", "ab", "ctrl-aa"] {
            assert!(keys(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_sequence_is_found_wherever_it_is_cut() {
        assert_eq!(sift("ctrl-p,ctrl-q", &["ab\x10\x11c"]), ("ab".into(), true));
        assert_eq!(
            sift("ctrl-p,ctrl-q", &["a\x10", "\x11c"]),
            ("a".into(), true)
        );
        assert_eq!(sift("ctrl-a", &["\x01"]), (String::new(), true));
    }

    #[test]
    fn a_beginning_of_it_is_input_once_it_goes_on_otherwise() {
        assert_eq!(
            sift("ctrl-p,ctrl-q", &["a\x10", "b"]),
            ("a\x10b".into(), false)
        );
        assert_eq!(
            sift("ctrl-p,ctrl-q", &["\x10", "\x10", "\x11"]),
            ("\x10".into(), true)
        );
        assert_eq!(sift("ctrl-p,ctrl-q", &["a\x10"]), ("a".into(), false));
    }
}
