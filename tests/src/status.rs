//! Kubernetes Status objects as Go writes them: the order of the keys, and the letters it escapes.
//!
//! Lives here: text, recorded from Kubernetes 1.36.3 (`scenarios/raw.recorded.json`). Never here: who
//! says it when.

use serde_json::Value;

/// What channel 3 says about a process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Status {
    failure: Option<Failure>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Failure {
    message: String,
    reason: &'static str,
    /// The list of causes, as text.
    causes: Option<String>,
    code: Option<u16>,
}

impl Status {
    /// The command ended with 0.
    #[must_use]
    pub fn success() -> Self {
        Self { failure: None }
    }

    /// The command ended with something else; `code` is text, so that it may be wrong.
    ///
    /// The prose is the translator's (v5) without a command, and containerd's (v4) with one.
    #[must_use]
    pub fn exited(code: &str, command: &[String]) -> Self {
        let prose = match command {
            [] => format!("command terminated with exit code {code}"),
            words => format!(
                "error executing command [{}], exit code {code}",
                words.join(" ")
            ),
        };
        Self::failed(Failure {
            message: format!("command terminated with non-zero exit code: {prose}"),
            reason: "NonZeroExitCode",
            causes: Some(format!(
                r#"[{{"reason":"ExitCode","message":{}}}]"#,
                quoted(code)
            )),
            code: None,
        })
    }

    /// What the runtime could not do, in its own words.
    #[must_use]
    pub fn not_done(text: &str) -> Self {
        Self::failed(Failure {
            message: format!("Internal error occurred: {text}"),
            reason: "InternalError",
            causes: None,
            code: Some(500),
        })
    }

    /// An error that came to the translator, which wraps it once more.
    #[must_use]
    pub fn translated(error: &str) -> Self {
        Self::failed(Failure {
            message: format!("Internal error occurred: {error}"),
            reason: "InternalError",
            causes: Some(format!(r#"[{{"message":{}}}]"#, quoted(error))),
            code: Some(500),
        })
    }

    fn failed(failure: Failure) -> Self {
        Self {
            failure: Some(failure),
        }
    }

    /// What older subprotocols say instead: nothing after a success.
    #[must_use]
    pub fn failure_text(&self) -> Option<&str> {
        self.failure.as_ref().map(|failure| &*failure.message)
    }

    /// The object; the translator writes `metadata`, cri-streaming does not.
    #[must_use]
    pub fn object(&self, metadata: bool) -> String {
        let metadata = if metadata { r#""metadata":{},"# } else { "" };
        let Some(failure) = &self.failure else {
            return format!(r#"{{{metadata}"status":"Success"}}"#);
        };
        let mut text = format!(
            r#"{{{metadata}"status":"Failure","message":{},"reason":"{}""#,
            quoted(&failure.message),
            failure.reason
        );
        if let Some(causes) = &failure.causes {
            text.push_str(&format!(r#","details":{{"causes":{causes}}}"#));
        }
        if let Some(code) = failure.code {
            text.push_str(&format!(r#","code":{code}"#));
        }
        text + "}"
    }
}

/// The body of a refusal by the API server; `details` may be null, a reason may be empty.
#[must_use]
pub fn refusal(code: u16, reason: &str, message: &str, details: &Value) -> String {
    let mut text = format!(
        r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":{}"#,
        quoted(message)
    );
    if !reason.is_empty() {
        text.push_str(&format!(r#","reason":{}"#, quoted(reason)));
    }
    if let Some(details) = details.as_object() {
        let known = ["name", "group", "kind"].map(|key| (key, details.get(key)));
        let known = known.iter().filter_map(|(key, value)| {
            let text = value.as_ref()?.as_str()?;
            Some(format!(r#""{key}":{}"#, quoted(text)))
        });
        let mut known: Vec<String> = known.collect();
        if let Some(causes) = details.get("causes").and_then(Value::as_array) {
            let causes: Vec<String> = causes.iter().map(cause).collect();
            known.push(format!(r#""causes":[{}]"#, causes.join(",")));
        }
        text.push_str(&format!(r#","details":{{{}}}"#, known.join(",")));
    }
    text + &format!(",\"code\":{code}}}\n")
}

fn cause(cause: &Value) -> String {
    let known = ["reason", "message", "field"].iter().filter_map(|key| {
        let text = cause.get(key)?.as_str()?;
        Some(format!(r#""{key}":{}"#, quoted(text)))
    });
    format!("{{{}}}", known.collect::<Vec<_>>().join(","))
}

/// A text as Go's encoding/json writes it: what could end a script in HTML is escaped.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..' ' => {
                out.push_str(&format!("\\u{:04x}", u32::from(letter)));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_escaped_as_by_go() {
        assert_eq!(
            quoted("a<b>&\"\\\n\u{1}ü"),
            r#""a\u003cb\u003e\u0026\"\\\n\u0001ü""#
        );
    }
}
