//! `tests/scenarios/logs.json` through the real binary, by `-o json`: lines and events come together.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use wsx_tests::cluster::Cluster;

use crate::flags::flag;
use crate::scenario::{cases, pairs, read};
use crate::support::{cluster, finish, wsx};

/// How long a case may take.
const LIMIT: Duration = Duration::from_secs(15);
/// How many cases run at once: most of them wait.
const AT_ONCE: usize = 6;

#[test]
fn every_log_comes_as_the_list_says() {
    let api = read("vectors/api.json");
    let mut wrong = Vec::new();
    for some in cases("logs.json", "embedded").chunks(AT_ONCE) {
        std::thread::scope(|scope| {
            let api = &api;
            let run = |case| scope.spawn(move || differences(api, case));
            let threads: Vec<_> = some.iter().map(run).collect();
            wrong.extend(threads.into_iter().flat_map(|one| one.join().unwrap()));
        });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What came of a case.
#[derive(Default)]
struct Came {
    data: Vec<u8>,
    events: Vec<String>,
}

/// Runs a case and returns what is not as expected, one line each.
fn differences(api: &Value, case: &Value) -> Vec<String> {
    let cluster = cluster();
    perform(&cluster, case.get("before"), |_| ());
    let begin = Instant::now();
    let mut command = wsx(&cluster, arguments(api, case));
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let objects = objects(&mut child);
    let mut came = Came::default();
    perform(&cluster, case.get("steps"), |text| {
        while !came.data.ends_with(text.as_bytes()) {
            match objects.recv_timeout(LIMIT) {
                Ok(object) => came.take(&object),
                Err(error) => {
                    child.kill().unwrap();
                    panic!(
                        "{}: no {text:?}: {error}; events {:?}",
                        case["name"], came.events
                    )
                }
            }
        }
    });
    let closes = case.get("close").is_some();
    if closes {
        child.kill().unwrap();
    }
    objects.iter().for_each(|object| came.take(&object));
    let run = finish(child);
    let expect = case["expect"].as_object().unwrap();
    let exit = match expect.get("kind") {
        _ if closes => None,
        None => Some(vec![0]),
        Some(kind) => Some(exits(kind.as_str().unwrap())),
    };
    let mut wrong = Vec::new();
    if exit.is_some_and(|exits| !exits.contains(&run.code.unwrap_or(-1))) {
        wrong.push(format!("exit {:?}: {}", run.code, run.stderr));
    }
    wrong.extend(came.differences(case));
    if begin.elapsed() > LIMIT {
        wrong.push(format!("took {:?}", begin.elapsed()));
    }
    wrong
        .iter()
        .map(|what| format!("{}: {what}", case["name"]))
        .collect()
}

/// Does the steps, and calls `wait` for texts that are awaited.
fn perform(cluster: &Cluster, steps: Option<&Value>, mut wait: impl FnMut(&str)) {
    for step in steps.and_then(Value::as_array).into_iter().flatten() {
        if let Some(text) = step.get("await") {
            wait(text.as_str().unwrap());
            continue;
        }
        let mut names = step["log"].as_str().unwrap().split('/');
        let mut name = || names.next().unwrap();
        let log = cluster.log(name(), name(), name());
        log.run(step["do"].clone());
    }
}

/// The codes of a kind; a mistake that the command line itself finds is 2.
fn exits(kind: &str) -> Vec<i32> {
    let table = read("vectors/error.json");
    let mut cases = table["cases"].as_array().unwrap().iter();
    let case = cases.find(|case| case["input"] == kind).unwrap();
    let code = case["output"]["exit"].as_i64().unwrap() as i32;
    let usage = (kind == "invalid").then_some(2);
    [code].into_iter().chain(usage).collect()
}

fn objects(child: &mut Child) -> mpsc::Receiver<Value> {
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let (object_tx, objects) = mpsc::sync_channel(0);
    std::thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            // A line that a kill cut is none.
            let Ok(object) = serde_json::from_str(&line) else {
                return;
            };
            if object_tx.send(object).is_err() {
                return;
            }
        }
    });
    objects
}

impl Came {
    fn take(&mut self, object: &Value) {
        if let Some(event) = object.get("event") {
            self.events.push(event.as_str().unwrap().to_owned());
            return;
        }
        match object.get("line") {
            Some(line) => self
                .data
                .extend_from_slice(line.as_str().unwrap().as_bytes()),
            None => self.data.extend(base64(object["base64"].as_str().unwrap())),
        }
        if object.get("ends").is_none() {
            self.data.push(b'\n');
        }
    }

    fn differences(mut self, case: &Value) -> Vec<String> {
        let expect = &case["expect"];
        self.events.retain(|kind| kind != "waiting");
        if case.get("any_order").is_some() {
            self.events.sort_unstable();
            let mut lines: Vec<_> = self.data.split_inclusive(|byte| *byte == b'\n').collect();
            lines.sort_unstable();
            self.data = lines.concat();
        }
        // JSON has the times apart.
        let timestamps = case.pointer("/options/timestamps").is_some();
        let mut wrong = Vec::new();
        if !timestamps && !is(&expect["data"], &self.data) {
            let start = String::from_utf8_lossy(&self.data[..self.data.len().min(200)]);
            wrong.push(format!("data: {} bytes {start:?}", self.data.len()));
        }
        let events = expect.get("events").cloned().unwrap_or_else(|| json!([]));
        if json!(self.events) != events {
            wrong.push(format!("events: {:?}, expected {events}", self.events));
        }
        wrong
    }
}

fn is(wanted: &Value, data: &[u8]) -> bool {
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    match wanted {
        Value::Null => data.is_empty(),
        Value::String(text) => text.as_bytes() == data,
        wanted => match wanted.get("hex") {
            Some(digits) => hex(data) == *digits,
            None => {
                let lines = data.iter().filter(|byte| **byte == b'\n').count();
                let digest = ring::digest::digest(&ring::digest::SHA256, data);
                wanted["lines"] == lines && wanted["sha256"] == hex(digest.as_ref())
            }
        },
    }
}

fn base64(text: &str) -> Vec<u8> {
    let mut command = Command::new("base64");
    let child = command
        .arg("-d")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = child.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    child.wait_with_output().unwrap().stdout
}

/// Returns the flags and the target.
fn arguments(api: &Value, case: &Value) -> Vec<String> {
    let word = |value: &Value| match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    let mut line: Vec<_> = ["logs", "--quiet", "--output=json"]
        .map(str::to_owned)
        .into();
    line.extend(
        case.get("context")
            .map(|context| format!("--context={}", word(context))),
    );
    let empty = Value::Object(Map::new());
    let limits = case.get("options").unwrap_or(&empty);
    for (table, given) in [
        ("logs", pairs(case, "options")),
        ("timeouts", pairs(limits, "timeouts")),
    ] {
        for (name, value) in given.filter(|(name, _)| *name != "timeouts") {
            let mut options = api["options"][table].as_array().unwrap().iter();
            let flag = flag(options.find(|option| option["name"] == name).unwrap()).unwrap();
            let is_duration = table == "timeouts" || matches!(name, "since" | "sort_window");
            line.push(match value {
                Value::Bool(on) => format!("{flag}={}", *on != flag.starts_with("--no-")),
                value if is_duration => format!("{flag}={}ms", value.as_f64().unwrap() * 1000.0),
                value => format!("{flag}={}", word(value)),
            });
        }
    }
    // kubectl's ten lines of a selector are the command line's own.
    if case.pointer("/options/selector").is_some() && case.pointer("/options/tail_lines").is_none()
    {
        line.push("--tail=-1".to_owned());
    }
    line.extend(case.get("target").map(word));
    line
}
