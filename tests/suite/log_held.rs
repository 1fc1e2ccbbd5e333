//! A reader that pauses while the log is rotated: what the kubelet leaves out is told, at its place.

use std::time::Duration;

use serde_json::json;
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};
use wsx_core::{Client, Config, LogEvent, LogItem, Logs, LogsOptions};
use wsx_tests::cluster::Log;

use crate::logs::empty;

/// Longer than what is told after; the pause is what is tested.
const PAUSE: Duration = Duration::from_millis(2500);

/// Follows a log whose first line is more than all buffers on the way hold, and pauses in it while
/// `during` happens. Returns the short lines and the gaps up to the line `the end`, which is written
/// before the pause is over, or once the last line before the pause has come.
fn paused(late: bool, items: usize, during: impl FnOnce(&Log)) -> Vec<String> {
    let (cluster, log) = empty();
    log.run(json!({"write": [{"text": "x", "repeat": 60_000_000}]}));
    let config = Config::default().kubeconfig(cluster.kubeconfig().to_owned());
    Runtime::new().unwrap().block_on(async {
        let client = Client::connect(config).await.unwrap();
        let options = LogsOptions::default().follow(true);
        let mut logs = client.logs(Some("own-0"), options).await.unwrap();
        let mut batch = Vec::new();
        assert!(logs.next_batch(&mut batch).await);
        during(&log);
        if !late {
            log.write("the end");
        }
        sleep(PAUSE).await;
        let reading = read(&mut logs, batch, items, late.then_some(&log));
        timeout(Duration::from_secs(30), reading).await.unwrap()
    })
}

/// Reads to the end and so many items.
async fn read(
    logs: &mut Logs,
    mut batch: Vec<LogItem>,
    items: usize,
    mut late: Option<&Log>,
) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        for item in batch.drain(..) {
            match item {
                LogItem::Line(line) if line.begins && line.data.len() < 100 => {
                    seen.push(String::from_utf8_lossy(&line.data).trim_end().to_owned());
                }
                LogItem::Event(_, LogEvent::Gap { certain, from, to }) => {
                    seen.push(format!("gap {certain} {}", from < to));
                }
                LogItem::Event(_, event) => seen.push(format!("{event:?}")),
                _ => {}
            }
        }
        if seen.iter().any(|line| line == "the end") && seen.len() >= items {
            return seen;
        }
        if let (Some(log), [_, ..]) = (late, &seen[..]) {
            log.write("the end");
            late = None;
        }
        assert!(logs.next_batch(&mut batch).await, "{seen:?}");
    }
}

#[test]
fn files_that_came_and_went_meanwhile_are_told_where_they_are_missing() {
    let seen = paused(false, 3, |log| {
        log.run(json!({"write": [{"text": "the last of its file"}], "rotate": true}));
        log.run(json!({"write": [{"text": "the hole"}], "rotate": true}));
    });
    assert_eq!(seen, ["the last of its file", "gap false true", "the end"]);
}

#[test]
fn a_newest_file_that_is_empty_is_asked_again() {
    let mut seen = paused(true, 3, |log| {
        log.run(json!({"write": [{"text": "the last of its file"}], "rotate": true}));
        log.run(json!({"write": [{"text": "the hole"}], "rotate": true}));
    });
    // Whether it was asked in time is a matter of 250 ms; both tell the same place.
    seen.sort();
    assert_eq!(seen, ["gap false true", "the end", "the last of its file"]);
}

#[test]
fn a_file_that_goes_on_has_no_gap() {
    let seen = paused(false, 2, |log| log.write("the same file"));
    assert_eq!(seen, ["the same file", "the end"]);
}
