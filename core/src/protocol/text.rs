//! Foreign text made safe for terminals, logs and messages.
//!
//! Lives here: the one function that escapes. Never here: colours, printing.

use std::fmt::Write as _;

/// Returns the text with everything that could steer a terminal made visible.
///
/// Escaped are C0 and C1 controls, DEL, carriage returns, bidirectional controls and invisible
/// separators (CVE-2021-25743 is the class); line feeds become `\n`. The result is one line.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            _ if is_steering(character) => {
                // Writing to a string cannot fail.
                let _ = write!(safe, "\\u{{{:x}}}", u32::from(character));
            }
            _ => safe.push(character),
        }
    }
    safe
}

/// Returns at most `limit` bytes of foreign bytes as safe text, and says how much was left out.
#[must_use]
pub fn excerpt(bytes: &[u8], limit: usize) -> String {
    let shown = bytes.get(..limit).unwrap_or(bytes);
    let text = escape(&String::from_utf8_lossy(shown));
    match bytes.len() - shown.len() {
        0 => text,
        more => format!("{text}… ({more} more bytes)"),
    }
}

fn is_steering(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_what_steers_a_terminal() {
        assert_eq!(
            escape("a\x1b[31m\u{9b}2J\r\n\u{202e}b"),
            "a\\u{1b}[31m\\u{9b}2J\\r\\n\\u{202e}b"
        );
    }

    #[test]
    fn says_how_much_an_excerpt_leaves_out() {
        assert_eq!(excerpt(b"abcdef", 4), "abcd… (2 more bytes)");
        assert_eq!(excerpt(b"abc", 4), "abc");
    }

    proptest! {
        #[test]
        fn nothing_that_steers_gets_through(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(!excerpt(&bytes, 150).chars().any(is_steering));
        }
    }
}
