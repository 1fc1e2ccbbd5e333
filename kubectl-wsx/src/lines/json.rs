//! `-o json`: every line and every event as one object on a line of its own, for all verbs.
//!
//! Lives here: the forms of `docs/events.schema.json`. Their text is safe for a terminal: all that
//! could steer one is escaped, as JSON allows. Never here: which lines are shown.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use wsx_core::protocol::text::escape;
use wsx_core::{LogEvent, LogLine, LogSource};

use super::event::{fields, kind, names};
use super::time::rfc3339;

/// The version of the shapes.
const VERSION: u8 = 1;

/// Returns whose log it is, as fields that stand in the middle of an object.
pub(super) fn head(source: &LogSource) -> Vec<u8> {
    let mut head = Vec::new();
    for (name, value) in names(source) {
        // Writing to a vector cannot fail.
        let _ = write!(head, ",\"{name}\":");
        string(value, &mut head);
    }
    head
}

/// Adds a line, or a piece of one; `content` is its text without timestamp and line feed.
pub(super) fn line(line: &LogLine, head: &[u8], content: &[u8], out: &mut Vec<u8>) {
    let _ = write!(out, "{{\"v\":{VERSION}");
    if let Some(time) = line.timestamp {
        let _ = write!(out, ",\"time\":\"{}\"", rfc3339(time));
    }
    out.extend_from_slice(head);
    match std::str::from_utf8(content) {
        Ok(text) => {
            out.extend_from_slice(b",\"line\":");
            string(text, out);
        }
        Err(_) => {
            let _ = write!(out, ",\"base64\":\"{}\"", STANDARD.encode(content));
        }
    }
    if !line.begins {
        out.extend_from_slice(b",\"begins\":false");
    }
    if !line.data.ends_with(b"\n") {
        out.extend_from_slice(b",\"ends\":false");
    }
    out.extend_from_slice(b"}\n");
}

/// Adds an event of a log.
pub(super) fn log_event(event: &LogEvent, head: &[u8], out: &mut Vec<u8>) {
    put_event(kind(event), head, fields(event), out);
    out.push(b'\n');
}

/// Returns an event as an object, without a line feed.
pub(crate) fn event(kind: &str, fields: impl IntoIterator<Item = (&'static str, Value)>) -> String {
    let mut out = Vec::new();
    put_event(kind, &[], fields, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Returns a value as text, with everything escaped that steers a terminal.
pub(crate) fn text(value: &Value) -> String {
    let mut out = Vec::new();
    put(value, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn put_event(
    kind: &str,
    head: &[u8],
    fields: impl IntoIterator<Item = (&'static str, Value)>,
    out: &mut Vec<u8>,
) {
    let _ = write!(out, "{{\"v\":{VERSION},\"event\":\"{kind}\"");
    out.extend_from_slice(head);
    for (name, value) in fields {
        let _ = write!(out, ",\"{name}\":");
        put(&value, out);
    }
    out.push(b'}');
}

/// Adds a value whose strings may be foreign; names of fields are ours.
fn put(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::String(text) => string(text, out),
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                out.push(if index == 0 { b'[' } else { b',' });
                put(value, out);
            }
            out.extend_from_slice(if values.is_empty() { b"[]" } else { b"]" });
        }
        Value::Object(fields) => {
            for (index, (name, value)) in fields.iter().enumerate() {
                let _ = write!(out, "{}\"{name}\":", if index == 0 { '{' } else { ',' });
                put(value, out);
            }
            out.push(b'}');
        }
        value => {
            let _ = write!(out, "{value}");
        }
    }
}

/// Adds a string with everything escaped that is not to be seen, or steers a terminal.
fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    while !rest.is_empty() {
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        let plain = rest.bytes().take_while(|byte| is_plain(byte)).count();
        let (run, after) = rest.split_at(plain);
        out.extend_from_slice(run.as_bytes());
        let mut characters = after.chars();
        if let Some(character) = characters.next() {
            put_character(character, out);
        }
        rest = characters.as_str();
    }
    out.push(b'"');
}

fn put_character(character: char, out: &mut Vec<u8>) {
    let mut buffer = [0; 4];
    let text = &*character.encode_utf8(&mut buffer);
    let _ = match character {
        '"' | '\\' => write!(out, "\\{character}"),
        '\n' => write!(out, "\\n"),
        '\r' => write!(out, "\\r"),
        '\t' => write!(out, "\\t"),
        _ if escape(text) == text => write!(out, "{character}"),
        _ => {
            let mut units = [0; 2];
            let mut units = character.encode_utf16(&mut units).iter();
            units.try_for_each(|unit| write!(out, "\\u{unit:04x}"))
        }
    };
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn shown(data: &'static [u8], begins: bool) -> Value {
        let source = Arc::new(LogSource::new("default", "web-0", "app"));
        let one = LogLine::new(data.into(), Some(1), begins, Arc::clone(&source));
        let content = data.strip_suffix(b"\n").unwrap_or(data);
        let mut out = Vec::new();
        line(&one, &head(&source), content, &mut out);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn a_line_is_text_or_base64() {
        let common = json!({
            "v": 1, "time": "1970-01-01T00:00:00.000000001Z",
            "namespace": "default", "pod": "web-0", "container": "app",
        });
        let with = |more: Value| {
            let mut all = common.as_object().unwrap().clone();
            all.extend(more.as_object().unwrap().clone());
            Value::Object(all)
        };
        assert_eq!(
            shown(b"a \"b\"\\\0\n", true),
            with(json!({"line": "a \"b\"\\\0"}))
        );
        assert_eq!(shown(b"\n", true), with(json!({"line": ""})));
        assert_eq!(shown(b"\xff\n", true), with(json!({"base64": "/w=="})));
        assert_eq!(
            shown(b"middle", false),
            with(json!({"line": "middle", "begins": false, "ends": false}))
        );
    }

    #[test]
    fn a_container_that_is_not_known_is_absent() {
        assert_eq!(
            head(&LogSource::new("n", "p", "")),
            b",\"namespace\":\"n\",\"pod\":\"p\""
        );
    }

    proptest! {
        #[test]
        fn every_text_comes_back_and_steers_nothing(text in any::<String>()) {
            let mut out = Vec::new();
            string(&text, &mut out);
            let shown = String::from_utf8(out).unwrap();
            prop_assert_eq!(&escape(&shown), &shown);
            prop_assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
        }
    }
}
