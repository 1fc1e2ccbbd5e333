//! The logs of containers: what is asked, what there is, and how it goes out.
//!
//! Lives here: the answer to `GET …/log`, up to its first byte, and all logs of the cluster. Never here:
//! the reading of a file (`read`), the sending (`reply`).

pub(crate) mod control;
mod file;
mod handle;
mod lines;
mod options;
mod read;
mod reply;
mod site;
pub(crate) mod stamp;
mod status;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use self::file::{Instance, Record};
pub use self::handle::Log;
use self::options::Options;
use self::read::Pull;
pub(crate) use self::reply::Reply;
use self::reply::{CHUNKED, Carrier};
pub(crate) use self::reply::{CHUNKED_JSON, LAST_CHUNK, sever};
pub(crate) use self::site::Cut;
use self::site::{Site, Upgrades};
use super::http::{Request, Response};
use super::listener::Listener;
use super::remote::{self, Next, Terminator};
use super::version::Manner;
use super::world::World;
use super::{pods, program};
use crate::wire;

/// All logs.
#[derive(Default)]
pub(crate) struct Logs {
    /// By container ID; what was never written to has a log of its own kind, made when it is first read.
    runs: Mutex<HashMap<String, Arc<Instance>>>,
    /// By `namespace/pod/container`.
    sites: Mutex<HashMap<String, Arc<Site>>>,
}

/// Something that can be read.
pub(crate) enum Source {
    File(read::Reader),
    Lines(lines::Reader),
}

impl Source {
    fn pull(&mut self, out: &mut Vec<u8>) -> Pull {
        match self {
            Self::File(reader) => reader.pull(out),
            Self::Lines(reader) => reader.pull(out),
        }
    }

    fn instance(&self) -> &Instance {
        match self {
            Self::File(reader) => reader.instance(),
            Self::Lines(reader) => reader.instance(),
        }
    }
}

impl Logs {
    /// The log of a run; `place` is `namespace/pod/container`.
    pub(crate) fn run(&self, id: &str, place: &str, running: bool) -> Arc<Instance> {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || Arc::new(first_log(place, running));
        runs.entry(id.to_owned()).or_insert_with(made).clone()
    }

    /// Begins the log of a run, with nothing in it, unless there is one.
    pub(crate) fn begin_once(&self, id: &str) {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || Arc::new(Instance::new(true));
        runs.entry(id.to_owned()).or_insert_with(made);
    }

    /// What is arranged for a container's log.
    pub(crate) fn site(&self, place: &str) -> Arc<Site> {
        let mut sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = place
            .strip_prefix("default/writer-0/r")
            .and_then(|rate| rate.parse().ok());
        let made = || Arc::new(Site::new(rate.unwrap_or_default()));
        sites.entry(place.to_owned()).or_insert_with(made).clone()
    }
}

/// Answers `GET …/log` for somebody who may.
pub(crate) fn answer(
    world: &World,
    listener: &Listener,
    request: &Request,
    user: &str,
    (namespace, name): (&str, &str),
) -> Next {
    match begin(world, listener, request, user, (namespace, name)) {
        Ok(next) => next,
        Err(refusal) => Next::Answer(Box::new(refusal)),
    }
}

fn begin(
    world: &World,
    listener: &Listener,
    request: &Request,
    user: &str,
    (namespace, name): (&str, &str),
) -> Result<Next, Response> {
    if request.header("Upgrade").is_some()
        && let Some(next) = remote::strange(world, listener)
    {
        return Ok(next);
    }
    let mut websocket = request.wants_websocket();
    if websocket {
        let known = world.pods.peek(namespace, name).unwrap_or_default();
        let container = pods::choose_container(&known, request.parameter("container"));
        let place = format!("{namespace}/{name}/{}", container.unwrap_or_default());
        match world.logs.site(&place).upgrades() {
            Upgrades::Pass => {}
            Upgrades::Refused => return Err(intermediary()),
            Upgrades::Stripped => websocket = false,
        }
    }
    let splits = match listener.manner {
        Manner::SplitLogs => Some(true),
        _ => listener.version.knows_log_streams().then_some(false),
    };
    let options = Options::parse(request, name, splits)?;
    let pod = world.pods.peek(namespace, name);
    let pod = pod.ok_or_else(|| Response::not_found("", "pods", name))?;
    let container = pods::choose_container(&pod, request.parameter("container"))
        .map_err(|text| Response::bad_request(&text))?;
    match name {
        "lost-kubelet-0" => {
            let message =
                "error dialing backend: dial tcp 10.0.0.9:10250: connect: connection refused";
            return Err(Response::refusal(500, "", message, &Value::Null));
        }
        "nolog-0" => {
            let message = format!(
                "pods \"nolog-0\" is forbidden: User \"{user}\" cannot get resource \"pods/log\" in \
                 API group \"\" in the namespace \"{namespace}\""
            );
            let details = json!({"name": name, "kind": "pods"});
            return Err(Response::refusal(403, "Forbidden", &message, &details));
        }
        _ => {}
    }
    let id = status::run(&pod, &container, options.previous)
        .map_err(|text| Response::bad_request(&text))?;
    let running = !options.previous && pods::container(&pod, &container).running;

    let (carrier, head) = if websocket {
        let line = remote::first_line(request);
        let chosen =
            match remote::handshake(request, choose(line.as_deref()), Terminator::ApiServer) {
                Ok(chosen) => chosen,
                Err(bytes) => return Ok(Next::Last(bytes)),
            };
        let key = request.header("Sec-WebSocket-Key").unwrap_or_default();
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: {chosen}\r\n\r\n",
            wire::accept(key)
        );
        let base64 = chosen == BASE64;
        (Carrier::WebSocket { base64 }, head.into_bytes())
    } else {
        (Carrier::Chunked, CHUNKED.to_vec())
    };
    let place = format!("{namespace}/{name}/{container}");
    let site = world.logs.site(&place);
    let instance = world.logs.run(&id, &place, running);
    let now = site.now();
    let follow = options.follow;
    let source = match instance.lines() {
        Some(total) => Source::Lines(lines::Reader::open(instance.clone(), total, options, now)),
        None => Source::File(read::Reader::open(instance.clone(), options, now)),
    };
    let reply = Reply::new(carrier, head, source, &instance, &site, follow);
    Ok(Next::Log(Box::new(reply)))
}

/// What answers in front of the API server.
fn intermediary() -> Response {
    let mut page = Response::text(403, "<html><body><h1>403 Forbidden</h1></body></html>\n");
    page.content_type = "text/html".to_owned();
    page
}

/// The first of the client's names that the server knows.
fn choose(line: Option<&str>) -> Option<&'static str> {
    let line = line.unwrap_or_default();
    let mut names = line.split(',').map(str::trim);
    names.find_map(|name| KNOWN.iter().find(|known| **known == name).copied())
}

/// The log of a container that nobody wrote to.
fn first_log(place: &str, running: bool) -> Instance {
    let container = place.rsplit('/').next().unwrap_or_default();
    let instance = Instance::new(running);
    let total = place
        .strip_prefix("default/lines-0/")
        .and_then(program::number);
    if place.starts_with("default/writer-0/") || total.is_some() {
        instance.set_lines(total);
        return instance;
    }
    let lines: Vec<String> = match place {
        "default/done-0/app" => vec!["done".to_owned()],
        _ => (1..=LINES)
            .map(|line| format!("{container} line {line}"))
            .collect(),
    };
    let records = lines.iter().zip(1..).map(|(line, number)| Record {
        time: STARTED + number * MILLISECOND,
        stream: "stdout",
        tag: "F",
        content: line.as_bytes(),
    });
    instance.write(&records.collect::<Vec<_>>());
    instance
}

const BASE64: &str = "base64.binary.k8s.io";
const KNOWN: [&str; 3] = ["", "binary.k8s.io", BASE64];
const LINES: usize = 100;
const MILLISECOND: stamp::Nanoseconds = 1_000_000;
/// When the containers started: 2026-11-01T08:00:05Z.
const STARTED: stamp::Nanoseconds = 1_793_520_005 * stamp::SECOND;
