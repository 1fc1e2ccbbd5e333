//! What happens to port-forwards: kubectl's lines, words of our own, and the objects of `-o json`.
//!
//! Lives here: text, and which stream it belongs to. Never here: writing it.

use bytes::Bytes;
use serde_json::{Value, json};
use wsx_core::protocol::text::escape;
use wsx_core::{Error, ForwardEvent, ForwardReport, ForwardedPort, Stream};

use super::flags::Form;
use crate::lines::json;

/// Turns events into pieces of output.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words {
    pub(super) form: Form,
    /// Whether only failures are told.
    pub(super) quiet: bool,
    /// Whether there are several targets, so that each line names its own.
    pub(super) several: bool,
    /// Whether standard output belongs to a command.
    pub(super) has_command: bool,
}

/// A piece of output.
pub(super) type Piece = (Stream, Bytes);

/// What is listened on for one target.
#[derive(Debug)]
pub(super) struct Place {
    /// The target, as it was written.
    pub(super) target: String,
    pub(super) ports: Vec<ForwardedPort>,
}

impl Words {
    /// Returns what is said once the ports of a target are ready; as JSON the events say it.
    pub(super) fn listening(self, place: &Place) -> Vec<Piece> {
        if self.form == Form::Json {
            return Vec::new();
        }
        let whose = match self.several {
            true => format!(" ({})", escape(&place.target)),
            false => String::new(),
        };
        // client-go tools/portforward/portforward.go, getListener: the same words.
        let line = |port: &ForwardedPort| {
            let (local, remote) = (escape(&local(port)), port.remote);
            self.main(format!("Forwarding from {local} -> {remote}{whose}"))
        };
        place.ports.iter().map(line).collect()
    }

    /// Returns what is said about an event.
    pub(super) fn event(self, place: &Place, event: &ForwardEvent) -> Option<Piece> {
        if self.form == Form::Json {
            return Some(self.main(object(place, event)));
        }
        let said = match event {
            ForwardEvent::Opened { local, .. } => {
                // client-go tools/portforward/portforward.go, handleConnection: the same words.
                let line = format!("Handling connection for {}", escape(&number(place, *local)));
                return (!self.quiet).then(|| self.main(line));
            }
            ForwardEvent::Closed {
                connection,
                remote,
                local,
                error: Some(error),
                ..
            } => {
                let (local, why) = (number(place, *local), in_a_line(error));
                let target = &place.target;
                let line =
                    format!("connection {connection} from {local} to {target}:{remote}: {why}");
                return Some(aside(format!("error: {}", escape(&line))));
            }
            ForwardEvent::Closed { error: None, .. } | ForwardEvent::Ready { away: None, .. } => {
                return None;
            }
            ForwardEvent::Ready {
                pod,
                away: Some(away),
            } => format!("ready again after {:.1}s: {pod}", away.as_secs_f64()),
            ForwardEvent::Reconnecting { pod, why } => format!("lost {pod}: {why}; reconnecting"),
            ForwardEvent::Paused { why } => format!("no connections are accepted: {why}"),
            ForwardEvent::Resumed => "connections are accepted again".to_owned(),
            ForwardEvent::Missed { count } => format!("{count} events were not told"),
            _ => return None,
        };
        let line = format!("--- {}: {said} ---", place.target);
        (!self.quiet).then(|| aside(escape(&line)))
    }

    /// Returns what went through, in a line.
    pub(super) fn stats(place: &Place, report: &ForwardReport) -> String {
        let ForwardReport {
            connections,
            failed,
            sent,
            received,
            reconnects,
            ..
        } = report;
        let protocol = report.protocol.map_or("none", |protocol| protocol.name());
        escape(&format!(
            "{}: {connections} connections, {failed} failed, {sent} bytes sent, {received} received, \
             {reconnects} reconnects, {protocol}",
            place.target
        ))
    }

    /// A line for standard output, unless that is the command's.
    fn main(self, line: String) -> Piece {
        match self.has_command {
            true => aside(line),
            false => (Stream::Stdout, (line + "\n").into()),
        }
    }
}

/// Returns the line of `--ready-file`: all ports of all targets.
pub(super) fn ready_line<'a>(places: impl Iterator<Item = &'a Place>) -> String {
    let of = |place: &Place| -> Vec<Value> {
        let ports = place.ports.iter().map(|port| {
            let mut port = listed(port);
            port["target"] = json!(place.target);
            port
        });
        ports.collect()
    };
    json::text(&Value::Array(places.flat_map(of).collect())) + "\n"
}

fn listed(port: &ForwardedPort) -> Value {
    json!({"remote": port.remote, "local": port.local, "address": port.address})
}

/// A line for error output.
fn aside(line: String) -> Piece {
    (Stream::Stderr, (line + "\n").into())
}

/// Returns a local address as kubectl writes it; a Unix socket is its path.
fn local(port: &ForwardedPort) -> String {
    match (port.local, port.address.contains(':')) {
        (0, _) => port.address.clone(),
        (number, true) => format!("[{}]:{number}", port.address),
        (number, false) => format!("{}:{number}", port.address),
    }
}

/// Returns the local port of a connection; a Unix socket is its path.
fn number(place: &Place, local: u16) -> String {
    match place.ports.first() {
        Some(port) if local == 0 => port.address.clone(),
        _ => local.to_string(),
    }
}

/// Returns what an error says, and why, without remedies.
fn in_a_line(error: &Error) -> String {
    match error.why() {
        Some(why) => format!("{}: {why}", error.report()),
        None => error.report(),
    }
}

/// Returns an event as an object on a line; the names are the same in all languages.
fn object(place: &Place, event: &ForwardEvent) -> String {
    let (kind, more) = match event {
        ForwardEvent::Ready { pod, away } => {
            let ports = place.ports.iter().map(listed).collect();
            let away = away.map(|away| away.as_secs_f64());
            let more = vec![
                ("pod", json!(pod)),
                ("away", json!(away)),
                ("ports", Value::Array(ports)),
            ];
            ("ready", more)
        }
        ForwardEvent::Opened {
            connection,
            remote,
            local,
        } => {
            let more = vec![
                ("connection", json!(connection)),
                ("remote", json!(remote)),
                ("local", json!(local)),
            ];
            ("opened", more)
        }
        ForwardEvent::Closed {
            connection,
            remote,
            local,
            sent,
            received,
            lasted,
            error,
        } => {
            let error = error.as_ref().map(|error| {
                json!({"kind": error.kind().as_str(), "message": error.report(), "why": error.why()})
            });
            let more = vec![
                ("connection", json!(connection)),
                ("remote", json!(remote)),
                ("local", json!(local)),
                ("sent", json!(sent)),
                ("received", json!(received)),
                ("lasted", json!(lasted.as_secs_f64())),
                ("error", json!(error)),
            ];
            ("closed", more)
        }
        ForwardEvent::Reconnecting { pod, why } => (
            "reconnecting",
            vec![("pod", json!(pod)), ("why", json!(why))],
        ),
        ForwardEvent::Paused { why } => ("paused", vec![("why", json!(why))]),
        ForwardEvent::Resumed => ("resumed", Vec::new()),
        ForwardEvent::Missed { count } => ("missed", vec![("count", json!(count))]),
        _ => ("other", Vec::new()),
    };
    let target = ("target", json!(place.target));
    json::event(kind, std::iter::once(target).chain(more))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wsx_core::ErrorKind;

    use super::*;

    const WORDS: Words = Words {
        form: Form::Text,
        quiet: false,
        several: false,
        has_command: false,
    };

    fn place() -> Place {
        Place {
            target: "svc/web".to_owned(),
            ports: Vec::new(),
        }
    }

    fn closed(error: Option<Error>) -> ForwardEvent {
        ForwardEvent::Closed {
            connection: 3,
            remote: 80,
            local: 8080,
            sent: 1,
            received: 2,
            lasted: Duration::from_millis(1500),
            error,
        }
    }

    fn shown(words: Words, event: &ForwardEvent) -> Option<(Stream, String)> {
        let (stream, data) = words.event(&place(), event)?;
        Some((stream, String::from_utf8(data.to_vec()).unwrap()))
    }

    #[test]
    fn every_event_has_its_words() {
        let (pod, why) = (|| "web-1".to_owned(), || "gone \x1b[2J".to_owned());
        let error = Error::new(ErrorKind::NotStarted, "refused\n").because("x");
        for (event, line) in [
            (
                closed(Some(error)),
                "error: connection 3 from 8080 to svc/web:80: refused\\n: x\n",
            ),
            (
                ForwardEvent::Reconnecting {
                    pod: pod(),
                    why: why(),
                },
                "--- svc/web: lost web-1: gone \\u{1b}[2J; reconnecting ---\n",
            ),
            (
                ForwardEvent::Ready {
                    pod: pod(),
                    away: Some(Duration::from_millis(1400)),
                },
                "--- svc/web: ready again after 1.4s: web-1 ---\n",
            ),
            (
                ForwardEvent::Paused {
                    why: "Too many open files".to_owned(),
                },
                "--- svc/web: no connections are accepted: Too many open files ---\n",
            ),
            (
                ForwardEvent::Resumed,
                "--- svc/web: connections are accepted again ---\n",
            ),
            (
                ForwardEvent::Missed { count: 7 },
                "--- svc/web: 7 events were not told ---\n",
            ),
        ] {
            assert_eq!(
                shown(WORDS, &event),
                Some((Stream::Stderr, line.to_owned()))
            );
        }
        let opened = ForwardEvent::Opened {
            connection: 1,
            remote: 80,
            local: 8080,
        };
        let line = "Handling connection for 8080\n".to_owned();
        assert_eq!(shown(WORDS, &opened), Some((Stream::Stdout, line.clone())));
        let words = Words {
            has_command: true,
            ..WORDS
        };
        assert_eq!(shown(words, &opened), Some((Stream::Stderr, line)));
        assert_eq!(shown(WORDS, &closed(None)), None);
    }

    #[test]
    fn quiet_leaves_what_went_wrong() {
        let words = Words {
            quiet: true,
            ..WORDS
        };
        let opened = ForwardEvent::Opened {
            connection: 1,
            remote: 80,
            local: 8080,
        };
        assert_eq!(shown(words, &opened), None);
        assert_eq!(shown(words, &ForwardEvent::Resumed), None);
        let failed = closed(Some(Error::new(ErrorKind::Lost, "x")));
        assert!(shown(words, &failed).is_some());
    }

    #[test]
    fn json_has_all_of_it() {
        let words = Words {
            form: Form::Json,
            ..WORDS
        };
        let error = Error::new(ErrorKind::Lost, "cut \x1b").because("x");
        let line = concat!(
            r#"{"v":1,"event":"closed","target":"svc/web","connection":3,"remote":80,"local":8080,"#,
            r#""sent":1,"received":2,"lasted":1.5,"error":{"kind":"lost","message":"cut \u001b","why":"x"}}"#,
            "\n"
        );
        let shown = shown(words, &closed(Some(error)));
        assert_eq!(shown, Some((Stream::Stdout, line.to_owned())));
    }
}
