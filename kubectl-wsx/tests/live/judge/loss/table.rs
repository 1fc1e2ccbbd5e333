//! The rows, their words, and what they must say.

use std::fs;

use serde_json::Value;

use super::case::{Case, Loss, Via};
use super::stream::End;
use super::{Ended, WATCH, blind_spot};
use crate::judge::fixture::Translate;

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/real/README.md");

const HEAD: &str = "| v5 ends at | lost | via | on the wire | kubectl | wsx |\n\
                    |---|---|---|---|---|---|";

/// The table as it grows, and is printed.
pub(super) struct Table {
    rows: Vec<String>,
    /// How the rows of the clusters that ran begin.
    begins: Vec<String>,
    streams: usize,
    faults: Vec<String>,
}

impl Table {
    pub(super) fn begin() -> Self {
        println!("{HEAD}");
        Self {
            rows: Vec::new(),
            begins: Vec::new(),
            streams: 0,
            faults: Vec::new(),
        }
    }

    pub(super) fn streams(&self) -> usize {
        self.streams
    }

    /// Holds one wsx against the promises.
    pub(super) fn judge(
        &mut self,
        translate: Translate,
        loss: Loss,
        case: Case,
        end: &End,
        status: &Value,
    ) {
        let mut must = |holds: bool, what: &str| {
            if !holds {
                let who = format!("{translate:?}, {loss}, {case:?}");
                let code = end.code;
                self.faults
                    .push(format!("{who}: {what}: {code:?}, {status}, {}", end.stderr));
            }
        };
        let blind = blind_spot(translate, loss, case.via);
        must(end.code.is_some(), "hangs");
        must(
            (end.code == Some(0)) == blind,
            "false success, or a blind spot that is none",
        );
        must(
            status["exit"].as_i64() == end.code.map(i64::from),
            "the status file has another exit code",
        );
        must(
            status["stdout"] == end.stdout.len(),
            "the status file has another count",
        );
        must(
            case.when.is_output(&end.stdout),
            "output is missing or damaged",
        );
        if blind {
            must(status["confidence"] == "checked", "not looked into");
        }
    }

    /// Adds the rows of one loss: clients with the same fate share one.
    pub(super) fn add(&mut self, translate: Translate, loss: Loss, ends: &[Ended]) {
        self.streams += ends.len();
        let begin = format!("| {} | `", place(translate));
        if !self.begins.contains(&begin) {
            self.begins.push(begin.clone());
        }
        for via in [Via::V4, Via::V5] {
            let mut fates: Vec<([String; 3], Vec<String>)> = Vec::new();
            let ours: Vec<&Ended> = ends.iter().filter(|(case, ..)| case.via == via).collect();
            for (case, end, status) in &ours {
                let beside = Case {
                    via: Via::Kubectl,
                    ..*case
                };
                let theirs = ends.iter().find(|(case, ..)| *case == beside).unwrap();
                let fate = [wire(status), kubectl(&theirs.1), wsx(end, status)];
                let when = format!("{:?}{}", case.when, if case.stdin { " -i" } else { "" });
                match fates.iter_mut().find(|(known, _)| *known == fate) {
                    Some((_, moments)) => moments.push(when),
                    None => fates.push((fate, vec![when])),
                }
            }
            for (fate, moments) in fates {
                let protocol = format!("{via:?}").to_lowercase();
                let via = if moments.len() == ours.len() {
                    protocol
                } else {
                    format!("{protocol}: {}", moments.join(", ").to_lowercase())
                };
                let fate = fate.join(" | ");
                let row = format!("{begin}{loss}` | {via} | {fate} |");
                println!("{row}");
                self.rows.push(row);
            }
        }
    }

    /// Fails if it is not what it must be: the promises first, then what is declared.
    pub(super) fn finish(&self) {
        assert!(self.faults.is_empty(), "{}", self.faults.join("\n"));
        let text = fs::read_to_string(README).unwrap();
        let declared: Vec<&str> = text
            .lines()
            .filter(|line| self.begins.iter().any(|begin| line.starts_with(begin)))
            .collect();
        assert!(
            self.rows == declared,
            "tests/real/README.md declares other rows:\n{}",
            declared.join("\n")
        );
    }
}

fn place(translate: Translate) -> &'static str {
    match translate {
        Translate::ApiServer => "API server",
        Translate::Kubelet => "kubelet",
        Translate::Nobody => "nowhere",
    }
}

/// What came back, as the status file tells it.
fn wire(status: &Value) -> String {
    let message = status["message"].as_str().unwrap_or_default();
    let close = match &status["close_code"] {
        Value::Null => "no close".to_owned(),
        code => format!("close {code}"),
    };
    let code = status["code"].as_u64();
    match (code, head(message)) {
        (Some(0), _) | (None, LOST_NODE) => format!("Success, {close}"),
        (Some(code), _) => format!("exit code {code}, {close}"),
        (None, "the connection ended") => "EOF".to_owned(),
        (None, "the server closed the stream") => format!("no status, {close}"),
        (None, "the server fell silent") => "nothing, not even pongs".to_owned(),
        (None, "the time limit passed") => "pongs only".to_owned(),
        (None, _) => status["reason"].to_string(),
    }
}

const LOST_NODE: &str = "the success that was reported may be that of a lost node";

/// The part of a message that tells one ending from another.
fn head(message: &str) -> &str {
    let end = [" before the command", "; outcome unknown"]
        .iter()
        .filter_map(|word| message.find(word))
        .min();
    &message[..end.unwrap_or(message.len())]
}

/// Its exit code and the first words of its message, without what the command said.
fn kubectl(end: &End) -> String {
    let Some(code) = end.code else {
        return format!("still waiting after {} s", WATCH.as_secs());
    };
    let line = end.stderr.lines().rfind(|line| !line.starts_with("error "));
    let words = line.unwrap_or("without a word");
    let words = words.trim_start_matches("error: ");
    let words = words.split(": ").next().unwrap_or_default();
    if code == 0 {
        format!("**0** {words}")
    } else {
        format!("{code} {words}")
    }
}

fn wsx(end: &End, status: &Value) -> String {
    let Some(code) = end.code else {
        return "hangs".to_owned();
    };
    let message = status["message"].as_str().unwrap_or_default();
    let told = format!(
        "{message} {}",
        status["reason"].as_str().unwrap_or_default()
    );
    let limit = ["--keepalive-timeout", "--timeout"]
        .into_iter()
        .find(|flag| told.contains(&format!("({flag})")));
    let limit = limit.map_or_else(String::new, |flag| format!(" (`{flag}`)"));
    match status["confidence"].as_str() {
        Some(confidence) if code == 0 => {
            format!("**0, {confidence}**: blind, the lost connection leaves no trace")
        }
        _ => format!("{code} {}{limit}", head(message)),
    }
}
