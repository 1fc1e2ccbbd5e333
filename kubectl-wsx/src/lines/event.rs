//! What happens to a log, in words and in fields.
//!
//! Lives here: the words on standard error, the names and fields of JSON. Never here: who prints them.

use serde_json::{Value, json};
use wsx_core::protocol::text::escape;
use wsx_core::{LogEvent, LogSource};

use super::time::rfc3339;
use crate::ending::failure_words;

/// Returns what is said about an event of the log of `name`, in safe lines.
pub(super) fn words(name: &str, event: &LogEvent) -> String {
    let said = match event {
        LogEvent::Gap { certain, from, to } => {
            let lines = match certain {
                true => "lines are missing",
                false => "lines may be missing",
            };
            match (from.map(rfc3339), to.map(rfc3339)) {
                (Some(from), Some(to)) => format!("{lines} between {from} and {to}"),
                (Some(from), None) => format!("{lines} after {from}"),
                (None, Some(to)) => format!("{lines} before {to}"),
                (None, None) => format!("{lines} here"),
            }
        }
        LogEvent::Reconnected { away, why } => {
            format!("reconnected after {:.1}s: {why}", away.as_secs_f64())
        }
        LogEvent::Replaced { pod } => {
            format!("the pod was replaced by {pod}: this is its log from the beginning")
        }
        LogEvent::Restarted { count, unseen } => {
            let unseen = match unseen {
                0 => String::new(),
                1 => "; one run in between was not seen".to_owned(),
                runs => format!("; {runs} runs in between were not seen"),
            };
            format!("the container was restarted (restart {count}){unseen}")
        }
        LogEvent::Waiting { reason } => format!("waiting: {reason}"),
        LogEvent::Started => "joins".to_owned(),
        LogEvent::Ended {
            exit_code: Some(code),
        } => format!("ended with exit code {code}"),
        LogEvent::Ended { exit_code: None } => "ended".to_owned(),
        LogEvent::Failed { error } => {
            let said = "cannot be read any further; the others go on";
            return format!(
                "--- {}: {said} ---\n{}",
                escape(name),
                failure_words(error, None)
            );
        }
        other => kind(other).to_owned(),
    };
    format!("--- {}: {} ---", escape(name), escape(&said))
}

/// Returns the name of a kind of event, the same in all languages.
pub(super) fn kind(event: &LogEvent) -> &'static str {
    match event {
        LogEvent::Gap { .. } => "gap",
        LogEvent::Reconnected { .. } => "reconnected",
        LogEvent::Replaced { .. } => "replaced",
        LogEvent::Restarted { .. } => "restarted",
        LogEvent::Waiting { .. } => "waiting",
        LogEvent::Started => "started",
        LogEvent::Ended { .. } => "ended",
        LogEvent::Failed { .. } => "failed",
        _ => "other",
    }
}

/// Returns the fields of an event beside whose it is.
pub(super) fn fields(event: &LogEvent) -> Vec<(&'static str, Value)> {
    let time = |time: &Option<i64>| time.map_or(Value::Null, |time| rfc3339(time).into());
    match event {
        LogEvent::Gap { certain, from, to } => vec![
            ("certain", json!(certain)),
            ("from", time(from)),
            ("to", time(to)),
        ],
        LogEvent::Reconnected { away, why } => {
            vec![("away", json!(away.as_secs_f64())), ("why", json!(why))]
        }
        LogEvent::Replaced { pod } => vec![("new_pod", json!(pod))],
        LogEvent::Restarted { count, unseen } => {
            vec![("count", json!(count)), ("unseen", json!(unseen))]
        }
        LogEvent::Waiting { reason } => vec![("reason", json!(reason))],
        LogEvent::Ended { exit_code } => vec![("exit_code", json!(exit_code))],
        LogEvent::Failed { error } => vec![(
            "error",
            json!({"kind": error.kind().as_str(), "message": error.report(), "why": error.why()}),
        )],
        _ => Vec::new(),
    }
}

/// Returns the names of a log's source for JSON; the container only where it is known.
pub(super) fn names(source: &LogSource) -> impl Iterator<Item = (&'static str, &str)> {
    let container = (!source.container.is_empty()).then_some(("container", &*source.container));
    let pod = [("namespace", &*source.namespace), ("pod", &*source.pod)];
    pod.into_iter().chain(container)
}

/// Whether an event is told to those who asked for quiet.
pub(super) fn always(event: &LogEvent) -> bool {
    matches!(event, LogEvent::Gap { .. } | LogEvent::Failed { .. })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wsx_core::{Error, ErrorKind};

    use super::*;

    #[test]
    fn every_event_has_its_words() {
        let (from, to) = (Some(0), Some(1));
        for (event, said) in [
            (
                LogEvent::Gap {
                    certain: true,
                    from,
                    to,
                },
                "--- web-0/app: lines are missing between 1970-01-01T00:00:00.000000000Z and \
                 1970-01-01T00:00:00.000000001Z ---",
            ),
            (
                LogEvent::Gap {
                    certain: false,
                    from,
                    to: None,
                },
                "--- web-0/app: lines may be missing after 1970-01-01T00:00:00.000000000Z ---",
            ),
            (
                LogEvent::Gap {
                    certain: true,
                    from: None,
                    to: None,
                },
                "--- web-0/app: lines are missing here ---",
            ),
            (
                LogEvent::Reconnected {
                    away: Duration::from_millis(2345),
                    why: "close code 1001 \x1b[2J".to_owned(),
                },
                "--- web-0/app: reconnected after 2.3s: close code 1001 \\u{1b}[2J ---",
            ),
            (
                LogEvent::Replaced {
                    pod: "web-1".to_owned(),
                },
                "--- web-0/app: the pod was replaced by web-1: this is its log from the beginning ---",
            ),
            (
                LogEvent::Restarted {
                    count: 3,
                    unseen: 0,
                },
                "--- web-0/app: the container was restarted (restart 3) ---",
            ),
            (
                LogEvent::Restarted {
                    count: 5,
                    unseen: 2,
                },
                "--- web-0/app: the container was restarted (restart 5); 2 runs in between were not seen ---",
            ),
            (
                LogEvent::Waiting {
                    reason: "ImagePullBackOff".to_owned(),
                },
                "--- web-0/app: waiting: ImagePullBackOff ---",
            ),
            (LogEvent::Started, "--- web-0/app: joins ---"),
            (
                LogEvent::Ended { exit_code: Some(3) },
                "--- web-0/app: ended with exit code 3 ---",
            ),
            (
                LogEvent::Ended { exit_code: None },
                "--- web-0/app: ended ---",
            ),
            (
                LogEvent::Failed {
                    error: Error::new(ErrorKind::Lost, "gone").because("x"),
                },
                "--- web-0/app: cannot be read any further; the others go on ---\nerror: gone\n  why        x",
            ),
        ] {
            assert_eq!(words("web-0/app", &event), said);
        }
    }
}
