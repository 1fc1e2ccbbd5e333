//! A kubelet of a few lines: what it serves is a list of records, what it does next a script.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::time::timeout;

use super::server::{Reply, Server, header};
use super::*;
use crate::protocol::logs::LogsOptions;
use crate::protocol::logs::request::LogSubprotocol;
use crate::session::logs::{LogEvent, LogItem, Logs};

/// What a request that follows comes to, after so many bytes of what it asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    /// The connection is dropped.
    Cut(usize),
    /// A clean end while the container runs.
    Polite(usize),
    /// A clean end, and so many more lines are there by then.
    Grow(usize),
    /// Nothing more comes.
    Hang,
    /// A clean end, with the container.
    End,
    /// A clean end, with the container, which is started once more.
    Restart,
}

pub(super) struct State {
    pub(super) lines: Vec<String>,
    old: Vec<String>,
    restarts: u32,
    /// So many answers still show a restart less.
    pub(super) stale: u32,
    running: bool,
    script: VecDeque<Act>,
    /// False: answered with 403; absent: the header is removed on the way.
    pub(super) upgrades: Option<bool>,
}

/// A cluster with one pod.
#[derive(Clone)]
pub(super) struct Kubelet(pub(super) Arc<Mutex<State>>, pub(super) Arc<AtomicUsize>);

pub(super) fn line(number: usize) -> String {
    format!("2026-11-21T12:00:00.{number:09}Z line {number} \u{e4}\u{20ac}\n")
}

pub(super) fn lines(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(line).collect()
}

/// The content of lines, without their time.
pub(super) fn text(numbers: std::ops::Range<usize>) -> String {
    lines(numbers).iter().map(|line| &line[31..]).collect()
}

pub(super) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode, 126];
    frame.extend((payload.len() as u16).to_be_bytes());
    frame.extend(payload);
    frame
}

impl Kubelet {
    pub(super) fn new(written: usize, script: &[Act]) -> Self {
        let state = State {
            lines: lines(0..written),
            old: Vec::new(),
            restarts: 0,
            stale: 0,
            running: true,
            script: script.iter().copied().collect(),
            upgrades: Some(true),
        };
        Self(Arc::new(Mutex::new(state)), Arc::default())
    }

    pub(super) async fn serve(&self) -> (Server, Home) {
        let kubelet = self.clone();
        let server = Server::start(move |head| kubelet.answer(head)).await;
        let home = Home::new(&server.url(), "", "");
        (server, home)
    }

    pub(super) fn answer(&self, head: &str) -> Reply {
        let mut state = self.0.lock().unwrap();
        let target = head.split(' ').nth(1).unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let option = |name: &str| {
            let mut all = query.split('&').filter_map(|pair| pair.split_once('='));
            all.find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        if !path.ends_with("/log") {
            let mut pod = state.pod();
            if state.restarts > 0 && state.stale > 0 {
                state.stale -= 1;
                pod["status"]["containerStatuses"][0]["restartCount"] = (state.restarts - 1).into();
            }
            return Reply::json(&pod);
        }
        let all = match option("previous") {
            Some(_) => &state.old,
            None => &state.lines,
        };
        let tail = option("tailLines").map_or(usize::MAX, |tail| tail.parse().unwrap());
        let mut body = all[all.len().saturating_sub(tail)..].concat();
        if option("timestamps").is_none() {
            body = body
                .lines()
                .map(|line| format!("{}\n", &line[31..]))
                .collect();
        }
        if option("follow").is_none() {
            return Reply::of("200 OK", "", &body);
        }
        let protocol = header(head, "sec-websocket-protocol").first().copied();
        if protocol.is_some() && state.upgrades == Some(false) {
            return Reply::of("403 Forbidden", "", "");
        }
        let protocol = protocol.filter(|_| state.upgrades.is_some());
        self.1.fetch_add(1, Ordering::SeqCst);
        let act = state.script.pop_front().unwrap_or(Act::Hang);
        let sent = match act {
            Act::Cut(bytes) | Act::Polite(bytes) => body.len().min(bytes),
            _ => body.len(),
        };
        match act {
            Act::End => state.running = false,
            Act::Grow(more) => {
                let next = state.lines.len();
                state.lines.extend(lines(next..next + more));
            }
            Act::Restart => {
                state.restarts += 1;
                let more = lines(900..905);
                state.old = [std::mem::take(&mut state.lines), more].concat();
                state.lines = lines(1000..1003);
            }
            _ => {}
        }
        let polite = !matches!(act, Act::Cut(_) | Act::Hang);
        let body = &body.as_bytes()[..sent];
        let reply = match protocol {
            Some(protocol) => {
                let text = protocol.starts_with("base64");
                let mut frames = frame(2 - u8::from(text), b"");
                // Messages cut lines, times and characters wherever they like.
                for part in body.chunks(37) {
                    use base64::Engine as _;
                    let coded = base64::engine::general_purpose::STANDARD.encode(part);
                    frames.extend(match text {
                        true => frame(1, coded.as_bytes()),
                        false => frame(2, part),
                    });
                }
                if polite {
                    frames.extend([0x88, 2, 0x03, 0xe8]);
                }
                let name = LogSubprotocol::parse(protocol).unwrap().name();
                Reply::Upgrade(name, frames)
            }
            None => {
                let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                let mut bytes = head.as_bytes().to_vec();
                for part in body.chunks(37) {
                    bytes.extend(format!("{:x}\r\n", part.len()).as_bytes());
                    bytes.extend([part, b"\r\n"].concat());
                }
                if polite {
                    bytes.extend(b"0\r\n\r\n");
                }
                Reply::Raw(bytes)
            }
        };
        match act {
            Act::Cut(_) => Reply::Last(Box::new(reply)),
            _ => reply,
        }
    }
}

impl State {
    pub(super) fn pod(&self) -> serde_json::Value {
        let state = match self.running {
            true => json!({"running": {}}),
            false => json!({"terminated": {"exitCode": 3, "reason": "Error"}}),
        };
        json!({
            "metadata": {"name": "web-0", "uid": "u"},
            "spec": {"containers": [{"name": "app"}], "restartPolicy": "Never"},
            "status": {"phase": "Running", "containerStatuses": [
                {"name": "app", "restartCount": self.restarts, "state": state},
            ]},
        })
    }
}

pub(super) fn follow() -> LogsOptions {
    LogsOptions::default().follow(true)
}

/// What was shown, what happened in between, and how it ended.
pub(super) async fn read(
    logs: &mut Logs,
    enough: impl Fn(&str) -> bool,
) -> (String, Vec<LogEvent>) {
    let (mut shown, mut events, mut batch) = (Vec::new(), Vec::new(), Vec::new());
    let reading = async {
        while !enough(std::str::from_utf8(&shown).unwrap_or(""))
            && logs.next_batch(&mut batch).await
        {
            for item in batch.drain(..) {
                match item {
                    LogItem::Line(line) => shown.extend_from_slice(&line.data),
                    LogItem::Event(_, event) => events.push(event),
                }
            }
        }
    };
    timeout(Duration::from_secs(20), reading).await.unwrap();
    (String::from_utf8(shown).unwrap(), events)
}

pub(super) fn to_the_end(_: &str) -> bool {
    false
}

pub(super) fn reconnects(events: &[LogEvent]) -> usize {
    let is_one = |event: &&LogEvent| matches!(event, LogEvent::Reconnected { .. });
    events.iter().filter(is_one).count()
}
