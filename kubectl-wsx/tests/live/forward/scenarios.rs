//! `tests/scenarios/forward.json` through the real binary, by `-o json`.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::{Map, Value, json};
use wsx_tests::cluster::Cluster;

use super::{End, Forwarding, connect, read_all};
use crate::flags::flag;
use crate::scenario::{cases, pairs, read};
use crate::support::{cluster, pattern, wsx};

/// How many cases run at once: most of them wait.
const AT_ONCE: usize = 6;

#[test]
fn every_forward_goes_as_the_list_says() {
    let api = read("vectors/api.json");
    let mut wrong = Vec::new();
    for some in cases("forward.json", "embedded").chunks(AT_ONCE) {
        std::thread::scope(|scope| {
            let api = &api;
            let threads: Vec<_> = some
                .iter()
                .map(|case| {
                    // A case that panics names itself below; the others go on.
                    let run = AssertUnwindSafe(move || run_case(api, case));
                    (&case["name"], scope.spawn(move || catch_unwind(run)))
                })
                .collect();
            for (name, thread) in threads {
                match thread.join().unwrap() {
                    Ok(None) => {}
                    Ok(Some(what)) => wrong.push(format!("{name}: {what}")),
                    Err(_) => wrong.push(format!("{name}: see above")),
                }
            }
        });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Runs a case; what it tells, and the connections by their names.
struct Scene {
    forward: Forwarding,
    /// All events so far.
    events: Vec<Value>,
    /// Each with its number.
    open: BTreeMap<String, (TcpStream, u64)>,
    locals: Vec<u16>,
}

/// Runs a case and returns what is not as expected.
fn run_case(api: &Value, case: &Value) -> Option<String> {
    let cluster = cluster();
    for step in list(case, "before") {
        perform(&cluster, step);
    }
    let forward = Forwarding::start(&mut wsx(&cluster, arguments(api, case)));
    let expect = &case["expect"];
    if let Some(kind) = expect["kind"].as_str() {
        let run = forward.finish();
        let wrong = !exits(kind).contains(&run.code.unwrap_or(-1)) || !run.stdout.is_empty();
        return wrong.then(|| format!("exit {:?}: {}", run.code, run.stderr));
    }
    let mut scene = Scene {
        forward,
        events: Vec::new(),
        open: BTreeMap::new(),
        locals: Vec::new(),
    };
    let ready = scene.event("ready");
    let ports = ready["ports"].as_array().unwrap();
    let number = |port: &Value, name: &str| port[name].as_u64().unwrap() as u16;
    scene.locals = ports.iter().map(|port| number(port, "local")).collect();
    let remotes: Vec<_> = ports.iter().map(|port| number(port, "remote")).collect();
    if json!(remotes) != expect["remotes"] {
        return Some(format!("remotes {remotes:?}"));
    }
    for step in list(case, "steps") {
        if let Some(what) = scene.step(&cluster, step) {
            return Some(format!("{step}: {what}"));
        }
    }
    let code = match expect.get("ends") {
        Some(_) => 255,
        None => {
            scene.forward.signal("INT");
            0
        }
    };
    let run = scene.forward.finish();
    let rest = String::from_utf8(run.stdout).unwrap();
    let rest = rest.lines().map(|line| serde_json::from_str(line).unwrap());
    scene.events.extend(rest);
    let kinds: Vec<_> = scene
        .events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .filter(|kind| !["opened", "closed"].contains(kind))
        .collect();
    let events = expect.get("events").cloned();
    let wanted = events.unwrap_or_else(|| json!(["ready"]));
    if run.code != Some(code) || json!(kinds) != wanted {
        return Some(format!(
            "exit {:?}, events {kinds:?}: {}",
            run.code, run.stderr
        ));
    }
    None
}

impl Scene {
    /// Does a step and returns what is not as it says.
    fn step(&mut self, cluster: &Cluster, step: &Value) -> Option<String> {
        let name = |key: &str| step.get(key).and_then(Value::as_str);
        if step.get("pod").is_some() {
            perform(cluster, step);
        } else if let Some(name) = name("open") {
            let place = step["port"].as_u64().unwrap() as usize;
            let stream = connect(self.locals[place]);
            let number = self.event("opened")["connection"].as_u64().unwrap();
            self.open.insert(name.to_owned(), (stream, number));
        } else if let Some(name) = name("send") {
            self.open[name]
                .0
                .try_clone()
                .unwrap()
                .write_all(&bytes(&step["data"]))
                .unwrap();
        } else if let Some(name) = name("read") {
            let wanted = bytes(&step["data"]);
            let mut data = vec![0; wanted.len()];
            let read = self.open[name].0.try_clone().unwrap().read_exact(&mut data);
            return (read.is_err() || data != wanted).then(|| format!("{read:?}"));
        } else if let Some(name) = name("end") {
            self.open[name].0.shutdown(Shutdown::Write).unwrap();
        } else if let Some(name) = name("drop") {
            self.open.remove(name);
        } else if let Some(kind) = name("event") {
            self.event(kind);
        } else if let Some(name) = name("rest") {
            let (mut stream, number) = self.open.remove(name).unwrap();
            let (data, end) = read_all(&mut stream);
            drop(stream);
            let is = if end == End::Fin { "fin" } else { "reset" };
            let other = !step["data"].is_null() && data != bytes(&step["data"]);
            let closed = self.closed(number);
            if other || step["is"] != is || closed["error"]["kind"] != step["kind"] {
                return Some(format!("{} bytes, {is}, {closed}", data.len()));
            }
        } else {
            return Some("no step".to_owned());
        }
        None
    }

    /// The next event of this kind.
    fn event(&mut self, kind: &str) -> Value {
        loop {
            let event: Value = serde_json::from_str(&self.forward.line()).unwrap();
            self.events.push(event.clone());
            if event["event"] == kind {
                return event;
            }
        }
    }

    /// What is told of the end of a connection, maybe before.
    fn closed(&mut self, number: u64) -> Value {
        let is_it = |event: &&Value| event["event"] == "closed" && event["connection"] == number;
        loop {
            if let Some(event) = self.events.iter().find(is_it) {
                return event.clone();
            }
            self.event("closed");
        }
    }
}

fn list<'a>(case: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    case.get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// Does an operation on a pod.
fn perform(cluster: &Cluster, step: &Value) {
    let (namespace, pod) = step["pod"].as_str().unwrap().split_once('/').unwrap();
    cluster.forward(namespace, pod).run(step["do"].clone());
}

fn bytes(data: &Value) -> Vec<u8> {
    if let Some(text) = data.as_str() {
        return text.as_bytes().to_vec();
    }
    if let Some(size) = data["pattern"].as_u64() {
        return pattern(size as usize);
    }
    let digits = data["hex"].as_str().unwrap();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
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

/// Returns the flags, the target and its ports.
fn arguments(api: &Value, case: &Value) -> Vec<String> {
    let word = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            let words = list.iter().filter_map(Value::as_str);
            words.collect::<Vec<_>>().join(",")
        }
        value => value.to_string(),
    };
    let mut line = vec!["port-forward".to_owned(), "--output=json".to_owned()];
    let context = case.get("context");
    line.extend(context.map(|context| format!("--context={}", word(context))));
    if case.pointer("/options/address").is_none() {
        line.push("--address=127.0.0.1".to_owned());
    }
    let empty = Value::Object(Map::new());
    let limits = case.get("options").unwrap_or(&empty);
    for (table, given) in [
        ("port_forward", pairs(case, "options")),
        ("timeouts", pairs(limits, "timeouts")),
    ] {
        for (name, value) in given.filter(|(name, _)| *name != "timeouts") {
            let mut options = api["options"][table].as_array().unwrap().iter();
            let flag = flag(options.find(|option| option["name"] == name).unwrap()).unwrap();
            let is_duration = table == "timeouts" || matches!(name, "hold" | "wait");
            line.push(match value {
                value if is_duration => format!("{flag}={}ms", value.as_f64().unwrap() * 1000.0),
                value => format!("{flag}={}", word(value)),
            });
        }
    }
    line.push(word(&case["target"]));
    line.extend(list(case, "ports").map(word));
    line
}
