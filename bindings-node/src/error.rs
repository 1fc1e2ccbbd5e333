//! Errors on their way to JavaScript, which makes a `WsxError` of them.

use serde_json::{Map, Value, json};
use wsx_core::{Error, ErrorKind, Report};

/// Makes an error whose message is JSON, with what the session knew.
pub(crate) fn rejected(error: &Error, report: Option<&Report>) -> napi::Error {
    napi::Error::from_reason(describe(error, report))
}

/// Says in JSON all that an error carries; what is not known is absent.
pub(crate) fn describe(error: &Error, report: Option<&Report>) -> String {
    let mut fields = Map::new();
    let mut add = |name: &str, value: Value| {
        if !value.is_null() {
            fields.insert(name.to_owned(), value);
        }
    };
    add("code", json!(error.kind().as_str()));
    add("message", json!(error.report()));
    add("why", json!(error.why()));
    add("remedies", json!(error.remedies()));
    add("mayHaveStarted", json!(error.kind().may_have_started()));
    add("httpStatus", json!(error.http_status()));
    add("reason", json!(error.reason()));
    add(
        "closeCode",
        json!(report.and_then(|report| report.close_code)),
    );
    add("stdoutBytes", json!(report.map(|report| report.stdout)));
    add("stderrBytes", json!(report.map(|report| report.stderr)));
    Value::Object(fields).to_string()
}

/// Makes the error of a caller's mistake.
pub(crate) fn invalid(message: impl Into<String>) -> napi::Error {
    rejected(&Error::new(ErrorKind::Invalid, message), None)
}

/// Makes the error of what the caller withdrew; JavaScript knows why, and says it better.
pub(crate) fn cancelled() -> napi::Error {
    rejected(&Error::new(ErrorKind::Closed, "cancelled"), None)
}
