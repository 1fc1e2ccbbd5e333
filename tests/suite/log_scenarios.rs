//! `tests/scenarios/logs.json` through the core. The command line, Python and Node run the same list.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;
use wsx_core::{
    Client, Config, Error, ErrorKind, LogEnd, LogEvent, LogItem, LogProtocol, LogSubprotocol, Logs,
    LogsOptions,
};
use wsx_tests::cluster::Cluster;

use crate::scenario::{cases, pairs, read};

/// How long a case may take.
const LIMIT: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_log_is_read_as_the_list_says() {
    let mut wrong = Vec::new();
    // Most of them wait.
    for some in cases("logs.json", "embedded").chunks(6) {
        let mut all = JoinSet::new();
        for case in some {
            let case = case.clone();
            all.spawn(async move {
                let cluster = Cluster::start().await.unwrap();
                let seen = match timeout(LIMIT, run(&case, &cluster)).await {
                    Ok(seen) => seen,
                    Err(_) => json!({"over": "not in time"}),
                };
                differences(&case, &seen)
            });
        }
        wrong.extend(all.join_all().await.concat());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_difference_is_noticed() {
    let expect = json!({"data": "a\nb\n", "events": ["gap"], "end": "ended", "exit_code": 3});
    let case = json!({"name": "x", "expect": expect});
    let seen = |name: &str, other: Value| {
        let mut seen = expect.clone();
        seen["data"] = json!([b"a\nb\n"[..]]);
        if name == "data" {
            seen[name] = json!([other.as_str().unwrap().as_bytes()]);
        } else {
            seen[name] = other;
        }
        differences(&case, &seen).len()
    };
    assert_eq!(seen("kind", Value::Null), 0);
    for (name, other) in [
        ("data", json!("b\na\n")),
        ("events", json!([])),
        ("end", json!("complete")),
        ("exit_code", Value::Null),
        ("kind", json!("lost")),
    ] {
        assert_eq!(seen(name, other), 1, "{name}");
    }
}

/// Runs a case; returns what came in the words of `expect`, data as a list of lines of bytes.
async fn run(case: &Value, cluster: &Cluster) -> Value {
    for step in steps(case, "before") {
        perform(cluster, step).await;
    }
    let mut seen = Seen::default();
    let end = match open(case, cluster).await {
        Ok(mut logs) => {
            for step in steps(case, "steps") {
                match step.get("await") {
                    Some(text) => {
                        let text = text.as_str().unwrap().as_bytes();
                        seen.until(&mut logs, text).await;
                    }
                    None => perform(cluster, step).await,
                }
            }
            if case.get("close").is_some() {
                return seen.told(None);
            }
            seen.until(&mut logs, b"\0no log ends so").await;
            logs.wait().await
        }
        Err(error) => Err(error),
    };
    seen.told(Some(end))
}

fn steps<'a>(case: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    case.get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// Does an operation on the embedded cluster.
async fn perform(cluster: &Cluster, step: &Value) {
    let place = step["log"].as_str().unwrap().split('/').collect::<Vec<_>>();
    let log = cluster.log(place[0], place[1], place[2]);
    let operation = step["do"].clone();
    let done = tokio::task::spawn_blocking(move || log.run(operation));
    done.await.unwrap();
}

async fn open(case: &Value, cluster: &Cluster) -> Result<Logs, Error> {
    let mut config = Config::default().kubeconfig(cluster.kubeconfig().to_owned());
    if let Some(context) = case.get("context") {
        config = config.context(context.as_str().unwrap().to_owned());
    }
    let options = options(case)?;
    let client = Client::connect(config).await?;
    client
        .logs(case.get("target").and_then(Value::as_str), options)
        .await
}

fn options(case: &Value) -> Result<LogsOptions, Error> {
    let mut options = LogsOptions::default();
    for (name, value) in pairs(case, "options") {
        let text = || value.as_str().unwrap().to_owned();
        let flag = || value.as_bool().unwrap();
        options = match name {
            "all_containers" => options.all_containers(flag()),
            "all_namespaces" => options.all_namespaces(flag()),
            "all_pods" => options.all_pods(flag()),
            "container" => options.container(text()),
            "follow" => options.follow(flag()),
            "forever" => options.forever(flag()),
            "ignore_errors" => options.ignore_errors(flag()),
            "limit_bytes" => options.limit_bytes(value.as_u64()),
            "max_log_requests" => options.max_log_requests(value.as_u64().unwrap() as usize),
            "namespace" => options.namespace(text()),
            "previous" => options.previous(flag()),
            "protocol" => options.protocol(protocol(&text())?),
            "resume" => options.resume(flag()),
            "selector" => options.selector(text()),
            "since" => options.since(seconds(value)),
            "since_time" => options.since_time(text()),
            "sort_window" => options.sort_window(seconds(value)),
            "tail_lines" => options.tail_lines(value.as_u64()),
            "timeouts" => options,
            "timestamps" => options.timestamps(flag()),
            name => panic!("nobody knows the option {name}"),
        };
    }
    let timeouts = case.get("options").unwrap_or(&Value::Null);
    for (name, value) in pairs(timeouts, "timeouts") {
        let limits = options.limits;
        options = match name {
            "connect" => options.limits(limits.connect(seconds(value))),
            "keepalive" => options.limits(limits.keepalive(seconds(value))),
            "keepalive_timeout" => options.limits(limits.keepalive_timeout(seconds(value))),
            "pod_running" => options.pod_running_timeout(seconds(value)),
            name => panic!("nobody knows the time limit {name}"),
        };
    }
    Ok(options)
}

fn seconds(value: &Value) -> Duration {
    Duration::from_secs_f64(value.as_f64().unwrap())
}

fn protocol(name: &str) -> Result<LogProtocol, Error> {
    let unknown = || Error::new(ErrorKind::Invalid, "no protocol of a log");
    Ok(match name {
        "auto" => LogProtocol::Auto,
        "http" => LogProtocol::Http,
        name => LogProtocol::Only(LogSubprotocol::parse(name).ok_or_else(unknown)?),
    })
}

#[derive(Default)]
struct Seen {
    data: Vec<u8>,
    events: Vec<&'static str>,
}

impl Seen {
    /// Reads until what has come ends with this, or to the end.
    async fn until(&mut self, logs: &mut Logs, text: &[u8]) {
        let mut batch = Vec::new();
        while !self.data.ends_with(text) && logs.next_batch(&mut batch).await {
            for item in batch.drain(..) {
                match item {
                    LogItem::Line(line) => self.data.extend_from_slice(&line.data),
                    LogItem::Event(_, event) => self.events.extend(kind(&event)),
                    item => panic!("{item:?}"),
                }
            }
        }
    }

    fn told(self, end: Option<Result<LogEnd, Error>>) -> Value {
        let lines: Vec<_> = self.data.split_inclusive(|byte| *byte == b'\n').collect();
        let mut told = json!({"data": lines, "events": self.events});
        match end {
            Some(Ok(LogEnd::Complete)) => told["end"] = "complete".into(),
            Some(Ok(LogEnd::Ended { exit_code })) => {
                (told["end"], told["exit_code"]) = ("ended".into(), exit_code.into());
            }
            Some(Ok(end)) => panic!("{end:?}"),
            Some(Err(error)) => told["kind"] = error.kind().as_str().into(),
            None => {}
        }
        told
    }
}

/// The word for an event; waiting is not counted.
fn kind(event: &LogEvent) -> Option<&'static str> {
    Some(match event {
        LogEvent::Ended { .. } => "ended",
        LogEvent::Failed { .. } => "failed",
        LogEvent::Gap { .. } => "gap",
        LogEvent::Reconnected { .. } => "reconnected",
        LogEvent::Replaced { .. } => "replaced",
        LogEvent::Restarted { .. } => "restarted",
        LogEvent::Started => "started",
        LogEvent::Waiting { .. } => return None,
        event => panic!("{event:?}"),
    })
}

/// Returns what is not as expected, one line each.
fn differences(case: &Value, seen: &Value) -> Vec<String> {
    let expect = case["expect"].as_object().unwrap();
    let sorted = case.get("any_order").is_some();
    let mut wrong = Vec::new();
    let mut lines: Vec<Vec<u8>> = serde_json::from_value(seen["data"].clone()).unwrap_or_default();
    let mut events: Vec<String> =
        serde_json::from_value(seen["events"].clone()).unwrap_or_default();
    if sorted {
        lines.sort();
        events.sort();
    }
    let data = lines.concat();
    let wanted = expect.get("data").unwrap_or(&Value::Null);
    if !is(wanted, &data, lines.len()) {
        let shown = String::from_utf8_lossy(&data[..data.len().min(200)]).into_owned();
        wrong.push(format!("data: {shown:?}, expected {wanted}"));
    }
    let none = json!([]);
    let wanted = expect.get("events").unwrap_or(&none);
    if *wanted != json!(events) {
        wrong.push(format!("events: {events:?}, expected {wanted}"));
    }
    for name in ["end", "exit_code", "kind", "over"] {
        let (wanted, found) = (expect.get(name), seen.get(name));
        let found = found.filter(|found| !found.is_null());
        let compared = name != "exit_code" || wanted.is_some();
        if compared && wanted.filter(|wanted| !wanted.is_null()) != found {
            wrong.push(format!("{name}: {found:?}, expected {wanted:?}"));
        }
    }
    let known = ["data", "events", "end", "exit_code", "kind"];
    let unknown = expect.keys().filter(|name| !known.contains(&&***name));
    wrong.extend(unknown.map(|name| format!("nobody compares {name}")));
    wrong
        .iter()
        .map(|what| format!("{}: {what}", case["name"]))
        .collect()
}

/// Text, `{"hex": digits}`, `{"lines": count, "sha256": digits}`; absent is nothing.
fn is(wanted: &Value, data: &[u8], lines: usize) -> bool {
    if let Some(text) = wanted.as_str() {
        return text.as_bytes() == data;
    }
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    if let Some(digits) = wanted.get("hex") {
        return *digits == hex(data);
    }
    if let Some(digits) = wanted.get("sha256") {
        let digest = ring::digest::digest(&ring::digest::SHA256, data);
        return wanted["lines"] == lines && *digits == hex(digest.as_ref());
    }
    wanted.is_null() && data.is_empty()
}

/// A misspelt name would be a check that never fails.
#[test]
fn every_name_in_the_list_is_known() {
    for case in cases("logs.json", "embedded") {
        let known = [
            "name",
            "context",
            "target",
            "options",
            "before",
            "steps",
            "close",
            "any_order",
            "expect",
        ];
        let mut names = case.as_object().unwrap().keys();
        assert!(
            names.all(|name| known.contains(&&**name)),
            "{}",
            case["name"]
        );
        let _ = options(&case);
    }
    assert!(read("scenarios/logs.json")["rules"].is_object());
}
