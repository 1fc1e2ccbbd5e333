//! The pods of a selection as they come, change and go: list, watch, and list again.
//!
//! Lives here: requests, events, resource versions. Never here: which logs a pod has.
//!
//! A watch that ends is ordinary: it goes on after the last version that was heard of (events and
//! bookmarks carry it). 410 (`Expired`) means that this version is forgotten: the pods are listed again,
//! and who is not on the list is gone. Nobody who may list but not watch waits for ever: the pods are
//! listed every 10 s then.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderValue, StatusCode};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::select::Selection;
use crate::client::logs::pump::pause;
use crate::client::notice::Notice;
use crate::client::pod::Pod;
use crate::client::server::{Server, unstarted, unusable};
use crate::client::transport::{Connection, Stages};
use crate::error::{Error, ErrorKind, Result, plain};
use crate::protocol::logs::LogsOptions;
use crate::protocol::request::get;
use crate::protocol::text::excerpt;

/// How long a watch lives: the server is asked to end it then, and it is taken for dead a little later.
const LIFE: Duration = Duration::from_secs(60);
/// How often pods are listed that may not be watched.
const LISTED: Duration = Duration::from_secs(10);
/// A watch that ended sooner without an event counts as a failure.
const SHORT: Duration = Duration::from_secs(1);
/// The longest event: etcd keeps objects of 1.5 MB.
const EVENT_LIMIT: usize = 16 << 20;
/// How many refusals in a row are taken for a server that is still starting.
const REFUSALS: u32 = 6;

/// So many failures in a row are told.
const TROUBLE: u32 = 3;

/// What became of the pods.
#[derive(Debug)]
pub(super) enum News {
    /// These there are; all others are gone.
    All(Vec<Pod>),
    /// This one is new, or another than it was.
    Changed(Box<Pod>),
    /// They cannot be had.
    Failed(Error),
    /// This one is gone, or was selected before.
    Gone(Box<Pod>),
}

/// Why a watch has ended.
enum Over {
    /// It may go on from the last version.
    Ended(String),
    /// The version is too old.
    Expired,
    /// The same as `Ended`, but the server may be away.
    Lost(String),
    /// It was refused.
    Refused(Error),
}

/// Tells what becomes of the pods of a selection.
pub(super) struct Watcher {
    pub(super) server: Arc<Server>,
    pub(super) selection: Selection,
    pub(super) options: LogsOptions,
    pub(super) news: mpsc::Sender<News>,
}

#[derive(Deserialize)]
struct Event {
    r#type: String,
    object: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    code: u16,
    message: String,
}

impl Watcher {
    /// Watches on from the version of a list, until nobody listens or the server says no for good.
    pub(super) async fn run(self, mut version: String) {
        let mut failures = 0;
        let mut told = false;
        loop {
            let (begin, before) = (Instant::now(), version.clone());
            let over = self.watch(&mut version).await;
            let lost = matches!(over, Ok(Over::Lost(_)));
            let refusal = match over {
                Ok(Over::Ended(why) | Over::Lost(why)) => {
                    tracing::debug!(%why, "the watch of pods ended");
                    let idle = version == before && begin.elapsed() < SHORT;
                    failures = if idle { failures + 1 } else { 0 };
                    self.tell_trouble(failures, why);
                    if failures > 0 {
                        sleep(pause(failures)).await;
                    }
                    if lost {
                        self.server.reachable(Instant::now()).await;
                    }
                    continue;
                }
                Ok(Over::Expired) => None,
                Ok(Over::Refused(error)) => Some(error),
                Err(Listeners) => return,
            };
            if let Some(error) = refusal {
                failures += 1;
                if error.kind() == ErrorKind::Forbidden {
                    if !told {
                        let reason = error.report();
                        self.server.tell(&Notice::PodsNotWatched { reason });
                        told = true;
                    }
                    sleep(LISTED).await;
                } else {
                    sleep(pause(failures)).await;
                }
            }
            match self.list(&mut failures).await {
                Ok(listed) => version = listed,
                Err(Listeners) => return,
            }
        }
    }

    /// Lists until that succeeds.
    async fn list(&self, failures: &mut u32) -> Result<String, Listeners> {
        loop {
            let asked = Instant::now();
            let error = match self.selection.list(&self.server, &self.options).await {
                Ok(list) => {
                    self.tell(News::All(list.items)).await?;
                    return Ok(list.metadata.resource_version);
                }
                Err(error) => error,
            };
            *failures += 1;
            self.tell_trouble(*failures, error.report());
            let unanswered = error.http_status().is_none();
            if !unanswered && *failures > REFUSALS && !self.options.forever {
                self.tell(News::Failed(error)).await?;
                return Err(Listeners);
            }
            if unanswered {
                self.server.reachable(asked).await;
            }
            sleep(pause(*failures)).await;
        }
    }

    fn tell_trouble(&self, failures: u32, reason: String) {
        if failures == TROUBLE {
            let target = format!("the list of pods ({})", self.selection);
            self.server.tell(&Notice::Waiting { target, reason });
        }
    }

    async fn tell(&self, news: News) -> Result<(), Listeners> {
        self.news.send(news).await.map_err(|_| Listeners)
    }

    /// One watch: tells its events, and moves the version on.
    async fn watch(&self, version: &mut String) -> Result<Over, Listeners> {
        // A dead peer is noticed by this alone: watches have no pings.
        let limit = LIFE + self.options.limits.keepalive_timeout;
        match timeout(limit, self.events(version)).await {
            Ok(over) => over,
            Err(_) => Ok(Over::Lost("it was silent for longer than it lives".into())),
        }
    }

    async fn events(&self, version: &mut String) -> Result<Over, Listeners> {
        let mut body = match self.open(version).await {
            Ok(body) => body,
            Err(error) if error.http_status() == Some(410) => return Ok(Over::Expired),
            // No answer: the server will be asked again as soon as it is there.
            Err(error) if error.http_status().is_none() => {
                return Ok(Over::Lost(error.report()));
            }
            Err(error) => return Ok(Over::Refused(error)),
        };
        let mut held = Vec::new();
        loop {
            let chunk = match next(&mut body).await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok(Over::Ended("by the server".to_owned())),
                Err(why) => return Ok(Over::Lost(why)),
            };
            held.extend_from_slice(&chunk);
            let mut from = 0;
            while let Some(length) = memchr::memchr(b'\n', held.get(from..).unwrap_or_default()) {
                let line = held.get(from..from + length).unwrap_or_default();
                from += length + 1;
                let over = match read(line) {
                    Ok(Heard::Version(now)) => {
                        *version = now;
                        continue;
                    }
                    Ok(Heard::News(now, news)) => {
                        self.tell(news).await?;
                        *version = now;
                        continue;
                    }
                    Ok(Heard::Over(over)) => over,
                    Err(error) => Over::Refused(error),
                };
                return Ok(over);
            }
            held.drain(..from);
            if held.len() > EVENT_LIMIT {
                let message = format!("an event of a watch is over {} MiB", EVENT_LIMIT >> 20);
                let error = Error::new(ErrorKind::Protocol, message);
                return Ok(Over::Refused(error));
            }
        }
    }

    async fn open(&self, version: &str) -> Result<Body> {
        let (path, mut query) = (self.selection.path(), self.selection.query());
        query.push(("watch", "true".to_owned()));
        query.push(("allowWatchBookmarks", "true".to_owned()));
        query.push(("resourceVersion", version.to_owned()));
        query.push(("timeoutSeconds", LIFE.as_secs().to_string()));
        let query: Vec<_> = query
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        let mut request = get(&path, &query).map_err(unusable)?;
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(ACCEPT, json);
        let limits = Stages {
            connect: Some(self.options.limits.connect),
            answer: Some(self.options.limits.keepalive_timeout),
        };
        let sent = self.server.send(&request, limits, Connection::Own).await;
        let answer = sent.map_err(unstarted)?;
        if answer.status() == StatusCode::OK {
            return Ok(answer.into_body());
        }
        let refusal = self.server.refusal(answer, self.options.limits.connect);
        Err(refusal.await.refusal(&path))
    }
}

/// Nobody listens any more.
struct Listeners;

enum Heard {
    News(String, News),
    Over(Over),
    Version(String),
}

async fn next(body: &mut Body) -> Result<Option<Bytes>, String> {
    loop {
        match body.frame().await {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => return Ok(Some(data)),
                Err(_) => continue,
            },
            Some(Err(error)) => return Err(plain(&error)),
            None => return Ok(None),
        }
    }
}

/// Reads one event.
fn read(line: &[u8]) -> Result<Heard> {
    let broken = |error: serde_json::Error| {
        let shown = excerpt(line, 200);
        Error::new(ErrorKind::Protocol, "an event of a watch cannot be read")
            .because(format!("{error}: {shown}"))
    };
    let event: Event = serde_json::from_slice(line).map_err(broken)?;
    if event.r#type == "ERROR" {
        let status: Status = serde_json::from_value(event.object).unwrap_or_default();
        return Ok(Heard::Over(match status.code {
            410 => Over::Expired,
            // The next request finds out who we are now.
            401 => Over::Ended("the credentials have expired".to_owned()),
            code => Over::Refused(
                Error::new(
                    ErrorKind::NotStarted,
                    "the watch of pods ended with an error",
                )
                .because(excerpt(status.message.as_bytes(), 500))
                .answered(code),
            ),
        }));
    }
    let pod: Pod = serde_json::from_value(event.object).map_err(broken)?;
    let version = pod.metadata.resource_version.clone();
    Ok(match &*event.r#type {
        "ADDED" | "MODIFIED" => Heard::News(version, News::Changed(Box::new(pod))),
        "DELETED" => Heard::News(version, News::Gone(Box::new(pod))),
        // A bookmark, or what a later Kubernetes says.
        _ => Heard::Version(version),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(line: &str) -> String {
        match read(line.as_bytes()) {
            Ok(Heard::News(version, News::Changed(pod))) => {
                format!("changed {} {version}", pod.metadata.name)
            }
            Ok(Heard::News(version, News::Gone(pod))) => {
                format!("gone {} {version}", pod.metadata.name)
            }
            Ok(Heard::News(..)) => "a list".to_owned(),
            Ok(Heard::Version(version)) => format!("version {version}"),
            Ok(Heard::Over(Over::Ended(why) | Over::Lost(why))) => format!("ended {why}"),
            Ok(Heard::Over(Over::Expired)) => "expired".to_owned(),
            Ok(Heard::Over(Over::Refused(error))) => {
                format!("refused {:?} {}", error.http_status(), error.why().unwrap())
            }
            Err(error) => format!("{} {}", error.kind(), error.why().unwrap()),
        }
    }

    #[test]
    fn every_event_is_understood() {
        let object = r#"{"metadata":{"name":"a","resourceVersion":"7"}}"#;
        for (kind, expected) in [
            ("ADDED", "changed a 7"),
            ("MODIFIED", "changed a 7"),
            ("DELETED", "gone a 7"),
            ("BOOKMARK", "version 7"),
        ] {
            let line = format!(r#"{{"type":"{kind}","object":{object}}}"#);
            assert_eq!(heard(&line), expected);
        }
        for (code, expected) in [
            (410, "expired"),
            (401, "ended the credentials have expired"),
            (500, "refused Some(500) a\\u{1b}b"),
        ] {
            let object = format!(r#"{{"code":{code},"message":"a\u001bb"}}"#);
            let line = format!(r#"{{"type":"ERROR","object":{object}}}"#);
            assert_eq!(heard(&line), expected);
        }
        for nonsense in [
            "",
            "{}",
            "<html>\u{1b}[2J",
            r#"{"type":"ADDED","object":1}"#,
        ] {
            let told = heard(nonsense);
            assert!(told.starts_with("protocol "), "{told}");
            assert!(!told.contains('\u{1b}'), "{told}");
        }
    }
}
