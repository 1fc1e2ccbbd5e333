//! Objects of a selection as they come, change and go: list, watch, and list again.
//!
//! - `selection`: which objects
//!
//! Lives here: requests, events, resource versions. Never here: what the objects are for.
//!
//! A watch that ends is ordinary: it goes on after the last version that was heard of (events and
//! bookmarks carry it). 410 (`Expired`) means that this version is forgotten: the objects are listed again,
//! and who is not on the list is gone. Nobody who may list but not watch waits for ever: the objects are
//! listed from time to time then, and one that is named is asked for by its name where not even lists
//! are allowed.

mod selection;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderValue, StatusCode};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, timeout};

use super::notice::Notice;
use super::pod::{Metadata, Pod};
use super::server::{Server, pause, unstarted, unusable};
use super::transport::{Connection, Stages};
use crate::error::{Error, ErrorKind, Result, plain};
use crate::protocol::request::{Limits, get};
use crate::protocol::text::excerpt;

pub(super) use self::selection::{Resource, Selection};

/// How long a watch lives: the server is asked to end it then, and it is taken for dead a little later.
const LIFE: Duration = Duration::from_secs(60);
/// How long lists have to do before a watch is asked for that was forbidden.
const FORBIDDEN: Duration = Duration::from_secs(30);
/// A watch that ended sooner without an event counts as a failure.
const SHORT: Duration = Duration::from_secs(1);
/// The longest event: etcd keeps objects of 1.5 MB.
const EVENT_LIMIT: usize = 16 << 20;
/// How many refusals in a row are taken for a server that is still starting.
const REFUSALS: u32 = 6;

/// So many failures in a row are told.
const TROUBLE: u32 = 3;

/// An object that can be watched.
pub(super) trait Watched: DeserializeOwned + Send {
    fn metadata(&self) -> &Metadata;
}

impl Watched for Pod {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

/// What became of the objects.
#[derive(Debug)]
pub(super) enum News<T> {
    /// These there are; all others are gone.
    All(Vec<T>),
    /// The server cannot be reached.
    Away(String),
    /// It can be reached again.
    Back,
    /// This one is new, or another than it was.
    Changed(Box<T>),
    /// They cannot be had.
    Failed(Error),
    /// This one is gone, or was selected before.
    Gone(Box<T>),
}

/// Why a watch has ended.
enum Over {
    /// Somebody doubts that it is alive.
    Doubted,
    /// It may go on from the last version.
    Ended(String),
    /// The version is too old.
    Expired,
    /// The same as `Ended`, but the server may be away.
    Lost(String),
    /// It was refused.
    Refused(Error),
}

/// Tells what becomes of the objects of a selection.
pub(super) struct Watcher<T> {
    pub(super) server: Arc<Server>,
    pub(super) selection: Selection,
    pub(super) limits: Limits,
    /// How often objects are listed that may not be watched.
    pub(super) period: Duration,
    /// Whether to go on whatever the server says.
    pub(super) forever: bool,
    /// Is told when something contradicts what was heard: a connection that died in silence is
    /// noticed by its age alone, so that the objects are listed again.
    pub(super) doubt: Arc<Notify>,
    pub(super) news: mpsc::Sender<News<T>>,
}

/// How it went so far.
#[derive(Default)]
struct Course {
    /// Failures in a row.
    failures: u32,
    /// Lists are forbidden: the one that is named is asked for by its name.
    alone: bool,
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

impl<T: Watched> Watcher<T> {
    /// Watches on from the version of a list, or lists first, until nobody listens or the server says
    /// no for good.
    pub(super) async fn run(self, version: Option<String>) {
        // It has no other end.
        let Err(Listeners) = self.go_on(version).await else {
            return;
        };
    }

    async fn go_on(&self, mut version: Option<String>) -> Result<(), Listeners> {
        let (mut course, mut expired, mut told) = (Course::default(), 0, false);
        loop {
            let Some(known) = &mut version else {
                version = Some(self.list(&mut course).await?);
                continue;
            };
            let (begin, before) = (Instant::now(), known.clone());
            let over = self.watch(known).await?;
            let lost = matches!(over, Over::Lost(_));
            match over {
                Over::Ended(why) | Over::Lost(why) => {
                    tracing::debug!(%why, "a watch ended");
                    let idle = *known == before && begin.elapsed() < SHORT;
                    expired = 0;
                    course.failures = if idle { course.failures + 1 } else { 0 };
                    self.tell_trouble(course.failures, why.clone());
                    if course.failures > 0 {
                        sleep(pause(course.failures)).await;
                    }
                    if lost {
                        self.outage(why, Instant::now()).await?;
                    }
                }
                Over::Expired => {
                    // A list is never too old for its watch, but who knows.
                    if expired > 0 {
                        sleep(pause(expired)).await;
                    }
                    expired += 1;
                    version = None;
                }
                Over::Doubted => version = None,
                Over::Refused(error) if error.kind() == ErrorKind::Forbidden => {
                    if !told {
                        let (seconds, reason) = (self.period.as_secs(), error.report());
                        self.server
                            .tell(&Notice::PodsNotWatched { seconds, reason });
                        told = true;
                    }
                    version = Some(self.poll(&mut course).await?);
                }
                Over::Refused(_) => {
                    course.failures += 1;
                    sleep(pause(course.failures)).await;
                    version = None;
                }
            }
        }
    }

    /// Lists from time to time, and returns the last version.
    async fn poll(&self, course: &mut Course) -> Result<String, Listeners> {
        let begin = Instant::now();
        loop {
            sleep(self.period).await;
            let version = self.list(course).await?;
            if begin.elapsed() >= FORBIDDEN {
                course.alone = false;
                return Ok(version);
            }
        }
    }

    /// Lists until that succeeds.
    async fn list(&self, course: &mut Course) -> Result<String, Listeners> {
        let connect = self.limits.connect;
        loop {
            let asked = Instant::now();
            let answer = match course.alone {
                true => self.selection.get(&self.server, connect).await,
                false => self.selection.list(&self.server, connect).await,
            };
            let error = match answer {
                Ok(list) => {
                    self.tell(News::All(list.items)).await?;
                    return Ok(list.metadata.resource_version);
                }
                Err(error) => error,
            };
            let by_name = self.selection.name.is_some() && !course.alone;
            if by_name && error.kind() == ErrorKind::Forbidden {
                course.alone = true;
                continue;
            }
            course.failures += 1;
            self.tell_trouble(course.failures, error.report());
            let unanswered = error.http_status().is_none();
            if !unanswered && course.failures > REFUSALS && !self.forever {
                self.tell(News::Failed(error)).await?;
                return Err(Listeners);
            }
            if unanswered {
                self.outage(error.report(), asked).await?;
            }
            sleep(pause(course.failures)).await;
        }
    }

    /// Waits until the server is there again, which was lost then.
    async fn outage(&self, why: String, since: Instant) -> Result<(), Listeners> {
        self.tell(News::Away(why)).await?;
        self.server.reachable(since).await;
        self.tell(News::Back).await
    }

    fn tell_trouble(&self, failures: u32, reason: String) {
        if failures == TROUBLE {
            let target = format!("the list of pods ({})", self.selection);
            self.server.tell(&Notice::Waiting { target, reason });
        }
    }

    async fn tell(&self, news: News<T>) -> Result<(), Listeners> {
        self.news.send(news).await.map_err(|_| Listeners)
    }

    /// One watch: tells its events, and moves the version on.
    async fn watch(&self, version: &mut String) -> Result<Over, Listeners> {
        // A dead peer is noticed by this alone: watches have no pings.
        let limit = LIFE + self.limits.keepalive_timeout;
        tokio::select! {
            over = timeout(limit, self.events(version)) => match over {
                Ok(over) => over,
                Err(_) => Ok(Over::Lost("it was silent for longer than it lives".into())),
            },
            () = self.doubt.notified() => Ok(Over::Doubted),
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
                let over = match read::<T>(line) {
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
            connect: Some(self.limits.connect),
            answer: Some(self.limits.keepalive_timeout),
        };
        let sent = self.server.send(&request, limits, Connection::Own).await;
        let answer = sent.map_err(unstarted)?;
        if answer.status() == StatusCode::OK {
            return Ok(answer.into_body());
        }
        let refusal = self.server.refusal(answer, self.limits.connect);
        Err(refusal.await.refusal(&path))
    }
}

/// Nobody listens any more.
struct Listeners;

enum Heard<T> {
    News(String, News<T>),
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
fn read<T: Watched>(line: &[u8]) -> Result<Heard<T>> {
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
                Error::new(ErrorKind::NotStarted, "the watch ended with an error")
                    .because(excerpt(status.message.as_bytes(), 500))
                    .answered(code),
            ),
        }));
    }
    let object: T = serde_json::from_value(event.object).map_err(broken)?;
    let version = object.metadata().resource_version.clone();
    Ok(match &*event.r#type {
        "ADDED" | "MODIFIED" => Heard::News(version, News::Changed(Box::new(object))),
        "DELETED" => Heard::News(version, News::Gone(Box::new(object))),
        // A bookmark, or what a later Kubernetes says.
        _ => Heard::Version(version),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(line: &str) -> String {
        match read::<Pod>(line.as_bytes()) {
            Ok(Heard::News(version, News::Changed(pod))) => {
                format!("changed {} {version}", pod.metadata.name)
            }
            Ok(Heard::News(version, News::Gone(pod))) => {
                format!("gone {} {version}", pod.metadata.name)
            }
            Ok(Heard::News(..)) => "a list".to_owned(),
            Ok(Heard::Version(version)) => format!("version {version}"),
            Ok(Heard::Over(Over::Ended(why) | Over::Lost(why))) => format!("ended {why}"),
            Ok(Heard::Over(Over::Expired | Over::Doubted)) => "expired".to_owned(),
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
