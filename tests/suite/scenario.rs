//! One case of `tests/scenarios/process.json` or `attach.json`: what is asked, and what must come of
//! it.
//!
//! Lives here: reading the file, comparing. Never here: how a lane runs a case. The command line's
//! lane (`kubectl-wsx/tests/live/scenarios.rs`) includes this file.

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value};

/// How long a case may take. The default limits are longer: one that is not passed on is noticed.
pub(crate) const LIMIT: Duration = Duration::from_secs(8);

/// What a lane saw. `facts` holds `code` or `kind`, and of the others of `expect` what the lane can
/// tell, each with `null` where there is none.
pub(crate) struct Ended {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) facts: Map<String, Value>,
}

/// Reads a file below `tests`.
pub(crate) fn read(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests")
        .join(file);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Returns the cases of a file that are meant for this kind of cluster: `embedded` or `real`.
pub(crate) fn cases(file: &str, kind: &str) -> Vec<Value> {
    let file = read(&format!("scenarios/{file}"));
    let all = file["cases"].as_array().unwrap().iter();
    all.filter(|case| case.get("only").is_none_or(|only| only == kind))
        .cloned()
        .collect()
}

/// Returns what is done: `exec` or `attach`.
pub(crate) fn verb(case: &Value) -> &str {
    case.get("verb")
        .map_or("exec", |verb| verb.as_str().unwrap())
}

/// Returns the words of the command; attach has none.
pub(crate) fn command(case: &Value) -> Vec<String> {
    let words = case.get("command").and_then(Value::as_array);
    words
        .into_iter()
        .flatten()
        .map(|word| String::from_utf8(bytes(word)).unwrap())
        .collect()
}

/// Returns the input, where stdin is asked for.
pub(crate) fn input(case: &Value) -> Option<Vec<u8>> {
    case.get("input").map(bytes)
}

/// Returns the pairs of `connect` or `options`.
pub(crate) fn pairs<'a>(case: &'a Value, name: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let pairs = case.get(name).and_then(Value::as_object);
    pairs
        .into_iter()
        .flatten()
        .map(|(name, value)| (&**name, value))
}

/// Text, `{"hex": digits}` or `{"repeat": [text, times]}`.
fn bytes(value: &Value) -> Vec<u8> {
    if let Some(text) = value.as_str() {
        return text.as_bytes().to_vec();
    }
    if let Some(repeat) = value.get("repeat") {
        let times = repeat[1].as_u64().unwrap() as usize;
        return repeat[0].as_str().unwrap().repeat(times).into_bytes();
    }
    let digits = value["hex"].as_str().unwrap();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

/// What `expect` may name.
pub(crate) const EXPECT: [&str; 10] = [
    "stdout",
    "stderr",
    "code",
    "kind",
    "confidence",
    "protocol",
    "close_code",
    "http_status",
    "reason",
    "has_terminal",
];

/// Returns what is not as expected, one line each. A name that nobody compares is a difference, too.
pub(crate) fn differences(case: &Value, ended: &Ended) -> Vec<String> {
    let expect = case["expect"].as_object().unwrap();
    let unknown = expect.keys().filter(|name| !EXPECT.contains(&&***name));
    let mut wrong: Vec<_> = unknown
        .map(|name| format!("nobody compares {name}"))
        .collect();
    for (name, data) in [("stdout", &ended.stdout), ("stderr", &ended.stderr)] {
        wrong.extend(expect.get(name).map_or_else(
            || (!data.is_empty()).then(|| format!("{name}: {}, expected nothing", shown(data))),
            |wanted| {
                (!is(wanted, data)).then(|| format!("{name}: {}, expected {wanted}", shown(data)))
            },
        ));
    }
    for name in ["code", "kind"] {
        let (wanted, found) = (expect.get(name), ended.facts.get(name));
        if wanted != found {
            wrong.push(format!("{name}: {found:?}, expected {wanted:?}"));
        }
    }
    for (name, found) in &ended.facts {
        if let Some(wanted) = expect.get(name)
            && wanted != found
            && !matches!(&**name, "code" | "kind")
        {
            wrong.push(format!("{name}: {found}, expected {wanted}"));
        }
    }
    let name = case["name"].as_str().unwrap();
    wrong.iter().map(|what| format!("{name}: {what}")).collect()
}

fn is(wanted: &Value, data: &[u8]) -> bool {
    match wanted.get("sha256") {
        Some(digits) => {
            let digest = ring::digest::digest(&ring::digest::SHA256, data);
            let hex: String = digest
                .as_ref()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            wanted["bytes"] == data.len() && *digits == hex
        }
        None if wanted.is_null() => true,
        None => match wanted.get("begin") {
            Some(begin) => data.starts_with(&bytes(begin)),
            None => bytes(wanted) == data,
        },
    }
}

fn shown(data: &[u8]) -> String {
    let start = String::from_utf8_lossy(&data[..data.len().min(200)]);
    format!("{} bytes {start:?}", data.len())
}
