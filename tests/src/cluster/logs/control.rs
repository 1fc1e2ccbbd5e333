//! What tests ask of a container's log, as lines of JSON on the cluster's own path.
//!
//! Lives here: the words, and their doing. Never here: HTTP around them. `tests/README.md` has the table.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::file::Record;
use super::site::{Cut, Upgrades};
use super::stamp::{self, Nanoseconds};
use super::status;
use crate::cluster::pods::{self, Order};
use crate::cluster::world::World;
use crate::cluster::{life, program};

/// One line; what stands first here is done first.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Operation {
    create: Option<Create>,
    clock: Option<Clock>,
    /// Bytes; 0 is never.
    rotate_at: Option<usize>,
    rate: Option<u64>,
    lines: Option<String>,
    numbers: Option<Numbers>,
    write: Vec<Entry>,
    raw: Option<String>,
    rotate: bool,
    delete: bool,
    labels: Option<Map<String, Value>>,
    replace: bool,
    restart: bool,
    exit: Option<i64>,
    waiting: Option<String>,
    refuse_ws: Option<Refuse>,
    cut_after_bytes: Option<u64>,
    then: Option<String>,
    cut: Option<String>,
    watch: Option<String>,
    await_follows: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    #[serde(default)]
    labels: Map<String, Value>,
    #[serde(default)]
    containers: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Numbers {
    from: u64,
    count: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    ts: Option<Time>,
    #[serde(default = "stdout")]
    stream: String,
    /// Without: lines and long lines are cut as containerd cuts them.
    tag: Option<String>,
    #[serde(default)]
    text: String,
    hex: Option<String>,
    repeat: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Time {
    Nanoseconds(i64),
    Text(String),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Clock {
    Seconds(f64),
    Text(String),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Refuse {
    Flag(bool),
    Word(String),
}

/// Where an operation is done.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) pod: &'a str,
    pub(crate) container: &'a str,
}

impl At<'_> {
    fn place(self) -> String {
        format!("{}/{}/{}", self.namespace, self.pod, self.container)
    }
}

/// Does what one line says; the answer tells how many replies were cut.
pub(crate) async fn perform(world: &World, at: At<'_>, line: &str) -> Result<Value, String> {
    let operation: Operation = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let site = world.logs.site(&at.place());
    if let Some(wanted) = &operation.create {
        create(world, at, wanted);
    }
    if let Some(clock) = &operation.clock {
        let seconds = match clock {
            Clock::Seconds(seconds) => Some(*seconds),
            Clock::Text(text) => text.strip_suffix('s').and_then(|text| text.parse().ok()),
        };
        let seconds = seconds.ok_or("clock: seconds, as -5 or \"-5s\"")?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a clock that is off by years is no test"
        )]
        site.set_clock((seconds * 1e9) as i64 as Nanoseconds);
    }
    if let Some(size) = operation.rotate_at {
        site.set_rotate_at(Some(size).filter(|size| *size > 0));
    }
    if let Some(rate) = operation.rate {
        site.set_rate(rate);
    }
    write(world, at, &operation)?;
    change_pod(world, at, &operation)?;
    if let Some(refuse) = &operation.refuse_ws {
        site.set_upgrades(match refuse {
            Refuse::Flag(true) => Upgrades::Refused,
            Refuse::Flag(false) => Upgrades::Pass,
            Refuse::Word(word) if word == "strip" => Upgrades::Stripped,
            Refuse::Word(word) => return Err(format!("refuse_ws: {word:?}")),
        });
    }
    let how = |text: &str| Cut::parse(text).ok_or_else(|| format!("no such cut: {text:?}"));
    if let Some(after) = operation.cut_after_bytes {
        site.cut_next(after, how(operation.then.as_deref().unwrap_or("fin"))?);
    }
    let cut = match &operation.cut {
        Some(text) => site.cut(how(text)?).await,
        None => 0,
    };
    if let Some(text) = &operation.watch {
        world.pods.order(match &**text {
            "bookmark" => Order::Bookmark,
            "gone" => {
                world.pods.compact();
                Order::Error(410, "Expired", "too old resource version: 1 (2)")
            }
            "unauthorized" => Order::Error(401, "Unauthorized", "Unauthorized"),
            text => Order::Cut(how(text)?),
        });
    }
    if let Some(count) = operation.await_follows {
        let mut follows = site.follows();
        // The sender lives in the site.
        let _ = follows.wait_for(|now| *now == count).await;
    }
    Ok(json!({"cut": cut, "follows": *site.follows().borrow()}))
}

fn create(world: &World, at: At<'_>, create: &Create) {
    let mut containers: Vec<&str> = create.containers.iter().map(|name| &**name).collect();
    if containers.is_empty() {
        containers.push(at.container);
    }
    let before = before(world, at);
    world.pods.change(at.namespace, at.pod, |_, serial| {
        let mut pod = pods::fresh(at.namespace, at.pod, &containers);
        life::replace(&mut pod, serial);
        pod["metadata"]["labels"] = create.labels.clone().into();
        begin(world, &pod);
        Some(pod)
    });
    end(world, at, &before);
}

fn change_pod(world: &World, at: At<'_>, operation: &Operation) -> Result<(), String> {
    let At {
        namespace,
        pod: name,
        container,
    } = at;
    let unknown = || format!("no container {} that could do it", at.place());
    let before = before(world, at);
    let mut done = Some(());
    if operation.delete {
        world.pods.change(namespace, name, |_, _| None);
    } else if operation.labels.is_some()
        || operation.waiting.is_some()
        || operation.exit.is_some()
        || operation.restart
        || operation.replace
    {
        world.pods.change(namespace, name, |pod, serial| {
            let mut pod = pod.or_else(|| {
                done = None;
                None
            })?;
            if let Some(labels) = &operation.labels {
                pod["metadata"]["labels"] = labels.clone().into();
            }
            if operation.replace {
                life::replace(&mut pod, serial);
            }
            if operation.restart {
                done = done.and_then(|()| life::restart(&mut pod, container, serial));
            }
            if let Some(code) = operation.exit {
                done = done.and_then(|()| life::exit(&mut pod, container, code));
            }
            if let Some(reason) = &operation.waiting {
                let first = operation.create.is_some() || operation.replace;
                done = done.and_then(|()| life::wait(&mut pod, container, reason, first));
            }
            begin(world, &pod);
            Some(pod)
        });
    }
    done.ok_or_else(unknown)?;
    end(world, at, &before);
    Ok(())
}

/// Lets new runs have logs, before anybody hears of them; those before have theirs.
fn begin(world: &World, pod: &Value) {
    for (_, id) in running(pod) {
        world.logs.begin_once(&id);
    }
}

/// Runs that ended with a change of the pod end their logs; the pod tells first, so that who sees the end
/// of a log can already see why.
fn end(world: &World, at: At<'_>, before: &[String]) {
    let pod = world.pods.peek(at.namespace, at.pod).unwrap_or_default();
    let after: Vec<_> = running(&pod).collect();
    let ended = before.iter();
    for id in ended.filter(|id| after.iter().all(|(_, other)| other != *id)) {
        world.logs.run(id, "", false).set_running(false);
    }
}

/// The IDs of the containers that run now, whose logs are made where nobody has read them yet.
fn before(world: &World, at: At<'_>) -> Vec<String> {
    let pod = world.pods.peek(at.namespace, at.pod).unwrap_or_default();
    running(&pod)
        .map(|(name, id)| {
            let place = format!("{}/{}/{name}", at.namespace, at.pod);
            world.logs.run(&id, &place, true);
            id
        })
        .collect()
}

/// The names and IDs of a pod's running containers.
fn running(pod: &Value) -> impl Iterator<Item = (String, String)> + '_ {
    let names = pods::container_names(pod).into_iter();
    let running = names.filter(|name| pods::container(pod, name).running);
    running.filter_map(|name| {
        let id = status::run(pod, &name, false).ok()?;
        Some((name, id))
    })
}

fn write(world: &World, at: At<'_>, operation: &Operation) -> Result<(), String> {
    let writes = !operation.write.is_empty()
        || operation.raw.is_some()
        || operation.rotate
        || operation.lines.is_some()
        || operation.numbers.is_some();
    if !writes {
        return Ok(());
    }
    let site = world.logs.site(&at.place());
    let pod = world.pods.peek(at.namespace, at.pod).ok_or("no such pod")?;
    let id = status::run(&pod, at.container, false)?;
    let running = pods::container(&pod, at.container).running;
    let instance = world.logs.run(&id, &at.place(), running);
    if let Some(total) = &operation.lines {
        let total = program::number(total).ok_or("lines: bytes, as \"1G\"")?;
        instance.set_lines(Some(total));
    }
    let now = site.now();
    if let Some(Numbers { from, count }) = operation.numbers {
        // In blocks, so that a file is rotated on the way.
        for start in (from..from + count).step_by(BLOCK) {
            let end = (start + BLOCK as u64).min(from + count);
            let lines: Vec<String> = (start..end).map(|n| format!("{n:>99}")).collect();
            let records = lines.iter().zip(start - from..).map(|(line, nth)| Record {
                time: now + Nanoseconds::from(nth),
                stream: "stdout",
                tag: "F",
                content: line.as_bytes(),
            });
            site.write(&instance, &records.collect::<Vec<_>>());
        }
    }
    for (nth, entry) in operation.write.iter().enumerate() {
        let time = match &entry.ts {
            None => now + nth as Nanoseconds,
            Some(Time::Nanoseconds(time)) => (*time).into(),
            Some(Time::Text(text)) => {
                stamp::parse(text).ok_or_else(|| format!("ts: {text:?} is no RFC 3339"))?
            }
        };
        let content = match &entry.hex {
            Some(digits) => bytes(digits).ok_or("hex: pairs of digits")?,
            None => entry.text.clone().into_bytes(),
        };
        let content = content.repeat(entry.repeat.unwrap_or(1));
        let record = |(tag, content)| Record {
            time,
            stream: &entry.stream,
            tag,
            content,
        };
        let records: Vec<Record<'_>> = match &entry.tag {
            Some(tag) => vec![record((tag, &content))],
            None => as_containerd(&content).into_iter().map(record).collect(),
        };
        site.write(&instance, &records);
    }
    if let Some(raw) = &operation.raw {
        instance.append(raw.as_bytes());
    }
    if operation.rotate {
        instance.rotate();
    }
    Ok(())
}

/// Output in records: a line each, and long lines in parts.
fn as_containerd(content: &[u8]) -> Vec<(&'static str, &[u8])> {
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    let mut records = Vec::new();
    for line in content.split(|byte| *byte == b'\n') {
        let mut rest = line;
        while rest.len() > LONGEST {
            records.push(("P", &rest[..LONGEST]));
            rest = &rest[LONGEST..];
        }
        records.push(("F", rest));
    }
    records
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let pairs = (0..digits.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok())
        .collect()
}

fn stdout() -> String {
    "stdout".to_owned()
}

// containerd's max_container_log_line_size.
const LONGEST: usize = 16 * 1024;
const BLOCK: usize = 1000;
