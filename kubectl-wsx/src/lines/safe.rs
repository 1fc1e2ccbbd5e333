//! Log data made safe for a terminal: colours pass, everything else that could steer it is shown.
//!
//! Lives here: one log's data on its way to a terminal. Never here: our own words
//! (`wsx_core::protocol::text`), whether there is a terminal.
//!
//! A log is cut anywhere: sequences and characters may begin in one piece and end in the next. What is
//! not known to be whole is held back, at most [`LONGEST`] bytes. No colour passes the end of its
//! line: it is taken back there, and set again before the next line of the same log.

use std::io::Write as _;
use std::str;

use wsx_core::protocol::text::escape;

/// What is known of one log's data so far.
#[derive(Debug, Default)]
pub(crate) struct Safe {
    /// The beginning of a sequence or of a character.
    held: Vec<u8>,
    /// The sequences that made the colours in force.
    colours: Vec<u8>,
    /// Whether the terminal shows these colours now.
    coloured: bool,
}

/// The longest sequence of colours that passes.
const LONGEST: usize = 64;
/// The most that is kept of sequences that were not taken back.
const MOST_COLOURS: usize = 256;
const PLAIN: &[u8] = b"\x1b[0m";

/// What stands at the beginning of some bytes.
enum Head {
    /// A sequence of colours, of so many bytes.
    Colours(usize),
    /// A character, of so many bytes.
    Character(usize),
    /// One byte that is shown as a number.
    Other,
    /// More bytes are needed to know.
    Unknown,
}

impl Safe {
    /// Adds to `out` what the terminal may see of the next bytes of the log.
    pub(crate) fn write(&mut self, data: &[u8], out: &mut Vec<u8>) {
        if self.held.is_empty() {
            self.pass(data, out);
        } else {
            let mut all = std::mem::take(&mut self.held);
            all.extend_from_slice(data);
            self.pass(&all, out);
        }
    }

    /// Ends what stands unfinished: nothing follows, or the data of another log.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        for byte in std::mem::take(&mut self.held) {
            match byte {
                b' '..=b'~' => out.push(byte),
                byte => show(byte, out),
            }
        }
        self.take_back(out);
    }

    fn pass(&mut self, mut data: &[u8], out: &mut Vec<u8>) {
        while let Some(&first) = data.first() {
            let plain = data.iter().take_while(|byte| is_plain(**byte)).count();
            if plain > 0 {
                self.colour(out);
                out.extend_from_slice(&data[..plain]);
                data = &data[plain..];
                continue;
            }
            let length = match head(data) {
                _ if first == b'\n' => {
                    self.take_back(out);
                    out.push(b'\n');
                    1
                }
                Head::Colours(length) => {
                    self.learn(&data[..length], out);
                    length
                }
                Head::Character(length) => {
                    self.colour(out);
                    character(&data[..length], out);
                    length
                }
                Head::Other => {
                    self.colour(out);
                    show(first, out);
                    1
                }
                Head::Unknown => {
                    self.held = data.to_vec();
                    return;
                }
            };
            data = &data[length..];
        }
    }

    /// Takes over a sequence of colours.
    fn learn(&mut self, sequence: &[u8], out: &mut Vec<u8>) {
        let first = sequence[2..sequence.len() - 1].split(|byte| matches!(byte, b';' | b':'));
        let first: Vec<_> = first.take(2).collect();
        let resets = first[0].iter().all(|digit| *digit == b'0');
        if resets {
            self.take_back(out);
            self.colours.clear();
        }
        if resets && first.len() == 1 {
            return;
        }
        if self.colours.len() + sequence.len() > MOST_COLOURS {
            self.colours.clear();
        }
        self.colours.extend_from_slice(sequence);
        if self.coloured {
            out.extend_from_slice(sequence);
        }
    }

    /// Sets the colours in force, before something is shown.
    fn colour(&mut self, out: &mut Vec<u8>) {
        if !self.coloured && !self.colours.is_empty() {
            out.extend_from_slice(&self.colours);
            self.coloured = true;
        }
    }

    fn take_back(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.coloured) {
            out.extend_from_slice(PLAIN);
        }
    }
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t')
}

fn head(data: &[u8]) -> Head {
    if data[0] == 0x1b {
        return sequence(data);
    }
    let some = data.get(..4).unwrap_or(data);
    let valid = match str::from_utf8(some) {
        Ok(text) => text,
        Err(error) if error.valid_up_to() > 0 => {
            str::from_utf8(&some[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(error) if error.error_len().is_none() => return Head::Unknown,
        Err(_) => return Head::Other,
    };
    let first = valid.chars().next();
    first.map_or(Head::Other, |first| Head::Character(first.len_utf8()))
}

/// Looks for `ESC [ digits ; digits m`.
fn sequence(data: &[u8]) -> Head {
    let Some(rest) = data[1..].strip_prefix(b"[") else {
        return if data.len() == 1 {
            Head::Unknown
        } else {
            Head::Other
        };
    };
    let is_digit = |byte: &&u8| matches!(byte, b'0'..=b'9' | b';' | b':');
    let digits = rest.iter().take_while(is_digit).count();
    match rest.get(digits) {
        _ if digits + 3 > LONGEST => Head::Other,
        Some(b'm') => Head::Colours(digits + 3),
        Some(_) => Head::Other,
        None => Head::Unknown,
    }
}

/// Shows a character: as it is, unless it is invisible and steers. Joiners belong to letters and signs.
fn character(bytes: &[u8], out: &mut Vec<u8>) {
    match str::from_utf8(bytes) {
        Ok("\u{200c}" | "\u{200d}") | Err(_) => out.extend_from_slice(bytes),
        Ok(text) => out.extend_from_slice(escape(text).as_bytes()),
    }
}

/// Shows a byte that is no character, or may not be one here.
fn show(byte: u8, out: &mut Vec<u8>) {
    // Writing to a vector cannot fail.
    let _ = match byte {
        0x80.. => write!(out, "\\x{byte:02x}"),
        _ => write!(out, "{}", escape(&char::from(byte).to_string())),
    };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn safe(pieces: &[&[u8]]) -> String {
        let (mut safe, mut out) = (Safe::default(), Vec::new());
        for piece in pieces {
            safe.write(piece, &mut out);
        }
        safe.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn colours_pass_and_nothing_else() {
        for (data, shown) in [
            ("plain\ttext\n", "plain\ttext\n"),
            ("\x1b[1;31mred\x1b[0m\n", "\x1b[1;31mred\x1b[0m\n"),
            ("\x1b[38:2::1:2:3mx\x1b[m", "\x1b[38:2::1:2:3mx\x1b[0m"),
            ("\x1b[2J\x1b[H", "\\u{1b}[2J\\u{1b}[H"),
            ("\x1b]0;title\x07", "\\u{1b}]0;title\\u{7}"),
            ("\x1b]52;c;aGk=\x1b\\", "\\u{1b}]52;c;aGk=\\u{1b}\\"),
            ("\x1b[?25l\x1b[>0m", "\\u{1b}[?25l\\u{1b}[>0m"),
            ("a\rb\x08c\x7f\0", "a\\rb\\u{8}c\\u{7f}\\u{0}"),
            ("\u{9b}2J\u{85}", "\\u{9b}2J\\u{85}"),
            ("a\u{202e}b\u{feff}", "a\\u{202e}b\\u{feff}"),
            (
                "日本語 🙂 👩\u{200d}🚀 می\u{200c}خواهم",
                "日本語 🙂 👩\u{200d}🚀 می\u{200c}خواهم",
            ),
        ] {
            assert_eq!(safe(&[data.as_bytes()]), shown, "{data:?}");
        }
    }

    #[test]
    fn what_is_no_text_is_shown_in_numbers() {
        assert_eq!(
            safe(&[b"\x9b2J\xff\xc3(\xe2\x82"]),
            "\\x9b2J\\xff\\xc3(\\xe2\\x82"
        );
    }

    #[test]
    fn a_colour_ends_with_its_line_and_comes_back_with_the_next() {
        assert_eq!(
            safe(&[b"\x1b[31ma\n\nb\x1b[0m\nc\n"]),
            "\x1b[31ma\x1b[0m\n\n\x1b[31mb\x1b[0m\nc\n"
        );
        assert_eq!(safe(&[b"\x1b[31ma"]), "\x1b[31ma\x1b[0m");
    }

    #[test]
    fn a_reset_with_new_colours_forgets_the_old_ones() {
        assert_eq!(
            safe(&[b"\x1b[31m\x1b[0;1ma\nb"]),
            "\x1b[0;1ma\x1b[0m\n\x1b[0;1mb\x1b[0m"
        );
    }

    #[test]
    fn a_sequence_that_is_too_long_is_none() {
        let long = format!("\x1b[{}m", "1;".repeat(LONGEST));
        assert!(safe(&[long.as_bytes()]).starts_with("\\u{1b}[1;"));
        let many = "\x1b[31m".repeat(1000) + "x\ny";
        assert!(safe(&[many.as_bytes()]).len() < 2 * MOST_COLOURS + 32);
    }

    /// What a terminal obeys: everything but text, tabs, line feeds and colours.
    fn steers(shown: &str) -> bool {
        let mut rest = shown;
        while let Some(at) = rest.find(|c: char| c.is_control() && !matches!(c, '\n' | '\t')) {
            let Some(sequence) = rest[at..].strip_prefix("\x1b[") else {
                return true;
            };
            let digits = |c: char| c.is_ascii_digit() || matches!(c, ';' | ':');
            let Some(after) = sequence.trim_start_matches(digits).strip_prefix('m') else {
                return true;
            };
            rest = after;
        }
        false
    }

    /// Whether a line feed stands where colours are on.
    fn colours_pass_a_line(shown: &str) -> bool {
        let end = |line: &str| {
            let last = line.rfind("\x1b[").map(|at| &line[at..]);
            last.is_some_and(|last| !last.starts_with("\x1b[0m"))
        };
        shown.split('\n').any(end)
    }

    fn nasty() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            Just(b"\x1b".to_vec()),
            Just(b"\x1b[".to_vec()),
            Just(b"\x1b[31m".to_vec()),
            Just(b"\x1b[0;4m".to_vec()),
            Just(b"\x1b[m".to_vec()),
            Just(b"\n".to_vec()),
            Just("\u{9b}é語🙂".as_bytes().to_vec()),
            Just(b"12;m".to_vec()),
            proptest::collection::vec(any::<u8>(), 1..4),
            "[a-z \t]{1,5}".prop_map(String::into_bytes),
        ];
        proptest::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn nothing_that_steers_gets_through(data in nasty()) {
            let shown = safe(&[&data]);
            prop_assert!(!steers(&shown), "{shown:?}");
            prop_assert!(!colours_pass_a_line(&shown), "{shown:?}");
        }

        #[test]
        fn cutting_changes_nothing(data in nasty(), step in 1usize..6) {
            let pieces: Vec<_> = data.chunks(step).collect();
            prop_assert_eq!(safe(&pieces), safe(&[&data]));
        }

        #[test]
        fn no_letter_is_lost(data in nasty()) {
            let letters = |text: &[u8]| text.iter().filter(|byte| matches!(byte, b'a'..=b'l' | b'n'..=b't' | b'v' | b'w' | b'y' | b'z')).count();
            let escapes = safe(&[&data]);
            prop_assert!(letters(escapes.as_bytes()) >= letters(&data));
        }
    }
}
