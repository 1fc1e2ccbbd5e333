//! The embedded cluster's logs: what the kubelet gives of a file, over HTTP.

use serde_json::json;
use wsx_tests::cluster::{Cluster, Log};

use crate::raw::{Event, Raw};
use crate::talk::{PODS, cluster};

/// A container of its own, with an empty log, and its cluster.
pub(crate) fn empty() -> (Cluster, Log) {
    let cluster = cluster();
    let log = cluster.log("default", "own-0", "app");
    log.run(json!({"create": {"labels": {"app": "own"}}}));
    (cluster, log)
}

/// A log over HTTP, after its head.
pub(crate) fn open(cluster: &Cluster, query: &str) -> Raw {
    let mut raw = Raw::request(cluster, "plain", &format!("{PODS}/own-0/log?{query}"), &[]);
    assert_eq!(raw.answer().status, 200);
    raw
}

/// What a log over HTTP gives, and how it ends where not with the last chunk.
fn read(cluster: &Cluster, query: &str) -> String {
    let (body, end) = open(cluster, query).chunks();
    assert_eq!(end, None);
    body
}

fn refused(cluster: &Cluster, listener: &str, pod: &str, query: &str) -> (u16, String) {
    let target = format!("{PODS}/{pod}/log?{query}");
    let (status, page) = Raw::request(cluster, listener, &target, &[]).page();
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    (status, page["message"].as_str().unwrap().to_owned())
}

/// Five records: a line of two parts, stderr, and times that end with zeros.
fn mixed() -> (Cluster, Log) {
    let (cluster, log) = empty();
    log.run(json!({"write": [
        {"ts": "2026-11-01T08:00:00.100000000Z", "text": "one"},
        {"ts": "2026-11-01T08:00:01Z", "tag": "P", "text": "two "},
        {"ts": "2026-11-01T08:00:02.000000001Z", "tag": "F", "text": "halves"},
        {"ts": "2026-11-01T08:00:02.5Z", "stream": "stderr", "text": "three"},
        {"ts": "2026-11-01T08:00:03Z", "text": ""},
    ]}));
    (cluster, log)
}

#[test]
fn a_log_is_plain_text_in_chunks() {
    let (cluster, _log) = mixed();
    let target = format!("{PODS}/own-0/log");
    let mut raw = Raw::request(&cluster, "plain", &target, &[]);
    let answer = raw.answer();
    assert_eq!(answer.header("Content-Type"), Some("text/plain"));
    assert_eq!(answer.header("Transfer-Encoding"), Some("chunked"));
    assert_eq!(
        raw.chunks(),
        ("one\ntwo halves\nthree\n\n".to_owned(), None)
    );
}

#[test]
fn timestamps_stand_at_the_start_of_a_line_only() {
    let (cluster, _log) = mixed();
    let told = read(&cluster, "timestamps=true");
    let expected = "2026-11-01T08:00:00.1Z one\n2026-11-01T08:00:01Z two halves\n\
                    2026-11-01T08:00:02.5Z three\n2026-11-01T08:00:03Z \n";
    assert_eq!(told, expected);
}

#[test]
fn a_tail_counts_records() {
    let (cluster, _log) = mixed();
    assert_eq!(read(&cluster, "tailLines=0"), "");
    assert_eq!(read(&cluster, "tailLines=2"), "three\n\n");
    // The tail of a line has a time, as if it were one.
    let told = read(&cluster, "tailLines=3&timestamps=true");
    assert!(
        told.starts_with("2026-11-01T08:00:02.000000001Z halves\n"),
        "{told}"
    );
    assert_eq!(read(&cluster, "tailLines=99").lines().count(), 4);
}

#[test]
fn since_is_cut_to_seconds_and_takes_its_own_time_in() {
    let (cluster, log) = mixed();
    let told = read(&cluster, "sinceTime=2026-11-01T08:00:02.9Z");
    assert_eq!(told, "halves\nthree\n\n");
    let told = read(&cluster, "sinceTime=2026-11-01T09:00:03%2B01:00");
    assert_eq!(told, "\n");
    // By the node's clock, which an hour in the past finds everything to be new.
    assert_eq!(read(&cluster, "sinceSeconds=60"), "");
    log.run(json!({"clock": "-3600s"}));
    log.write("written an hour ago");
    let stamp = read(&cluster, "tailLines=1&timestamps=true&sinceSeconds=60");
    assert!(stamp.ends_with(" written an hour ago\n"), "{stamp}");
    log.run(json!({"clock": 0}));
    assert_eq!(read(&cluster, "sinceSeconds=3000"), "");
    assert_eq!(read(&cluster, "sinceSeconds=4000"), "written an hour ago\n");
}

#[test]
fn a_limit_cuts_in_the_middle() {
    let (cluster, _log) = mixed();
    assert_eq!(read(&cluster, "limitBytes=6"), "one\ntw");
    assert_eq!(read(&cluster, "limitBytes=9&timestamps=1"), "2026-11-0");
    assert_eq!(read(&cluster, "limitBytes=9&follow=true"), "one\ntwo h");
}

#[test]
fn one_stream_alone_takes_a_gate() {
    let (cluster, _log) = mixed();
    let split = |query: &str| {
        let target = format!("{PODS}/own-0/log?{query}");
        let mut raw = Raw::request(&cluster, "split-logs", &target, &[]);
        assert_eq!(raw.answer().status, 200);
        raw.chunks().0
    };
    assert_eq!(split("stream=Stderr"), "three\n");
    assert_eq!(split("stream=Stdout"), "one\ntwo halves\n\n");
    assert_eq!(split("stream=All&tailLines=2"), "three\n\n");
    let told = refused(&cluster, "split-logs", "own-0", "stream=Stderr&tailLines=2");
    let text = "PodLogOptions \"own-0\" is invalid: []: Forbidden: `tailLines` and specific `stream` \
                are mutually exclusive for now";
    assert_eq!(told, (422, text.to_owned()));
    let told = refused(&cluster, "v1.36", "own-0", "stream=All");
    let text = "PodLogOptions \"own-0\" is invalid: stream: Forbidden: may not be specified";
    assert_eq!(told, (422, text.to_owned()));
}

#[test]
fn what_makes_no_sense_is_refused_in_the_words_of_kubernetes() {
    let cluster = cluster();
    let invalid = "PodLogOptions \"web-0\" is invalid: ";
    for (pod, query, status, text) in [
        (
            "web-0",
            "tailLines=-1",
            422,
            "tailLines: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            "web-0",
            "limitBytes=0",
            422,
            "limitBytes: Invalid value: 0: must be greater than 0",
        ),
        (
            "web-0",
            "sinceSeconds=0",
            422,
            "sinceSeconds: Invalid value: 0: must be greater than 0",
        ),
        (
            "web-0",
            "sinceSeconds=1&sinceTime=2026-11-01T08:00:03Z",
            422,
            "[]: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified",
        ),
        (
            "web-0",
            "tailLines=99999999999999999999",
            400,
            "strconv.ParseInt: parsing \"99999999999999999999\": value out of range",
        ),
        (
            "web-0",
            "sinceTime=2026-11-01",
            400,
            "parsing time \"2026-11-01\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"\" as \"T\"",
        ),
        (
            "web-0",
            "tailLines=x",
            400,
            "strconv.ParseInt: parsing \"x\": invalid syntax",
        ),
        (
            "web-0",
            "container=nope",
            400,
            "container nope is not valid for pod web-0",
        ),
        (
            "web-0",
            "",
            400,
            "a container name must be specified for pod web-0, choose one of: [app sidecar]",
        ),
        (
            "web-0",
            "container=app&previous=true",
            400,
            "previous terminated container \"app\" in pod \"web-0\" not found",
        ),
        (
            "pending-0",
            "follow=true",
            400,
            "container \"app\" in pod \"pending-0\" is waiting to start: ContainerCreating",
        ),
        ("gone-0", "", 404, "pods \"gone-0\" not found"),
    ] {
        let told = refused(&cluster, "v1.36", pod, query);
        let before = if status == 422 { invalid } else { "" };
        assert_eq!(told, (status, format!("{before}{text}")), "{pod} {query}");
    }
    let log = cluster.log("default", "own-0", "app");
    for (reason, words) in [
        ("ImagePullBackOff", "trying and failing to pull image"),
        ("ErrImagePull", "image can't be pulled"),
        ("CreateContainerConfigError", "CreateContainerConfigError"),
    ] {
        log.run(json!({"create": {}, "waiting": reason}));
        let told = refused(&cluster, "v1.36", "own-0", "");
        let place = "container \"app\" in pod \"own-0\"";
        let text = format!("{place} is waiting to start: {words}");
        assert_eq!(told, (400, text));
    }
    // It starts at last; when it waits again, its last run is read.
    log.run(json!({"restart": true}));
    log.write("I was there");
    log.run(json!({"waiting": "CrashLoopBackOff"}));
    assert_eq!(read(&cluster, "follow=true"), "I was there\n");
    assert_eq!(read(&cluster, "previous=true"), "I was there\n");
}

#[test]
fn init_and_ended_containers_have_logs() {
    let cluster = cluster();
    for (target, last) in [
        ("init-0/log?container=setup&tailLines=1", "setup line 100\n"),
        (
            "init-0/log?container=debugger&tailLines=1",
            "debugger line 100\n",
        ),
        ("done-0/log?follow=true", "done\n"),
        ("crash-0/log?previous=true&tailLines=1", "app line 100\n"),
        ("crash-0/log?follow=true&tailLines=1", "app line 100\n"),
    ] {
        let mut raw = Raw::request(&cluster, "plain", &format!("{PODS}/{target}"), &[]);
        assert_eq!(raw.answer().status, 200, "{target}");
        assert_eq!(raw.chunks(), (last.to_owned(), None), "{target}");
    }
}

#[test]
fn a_follow_gives_what_is_written_until_the_container_ends() {
    let (cluster, log) = empty();
    log.write("before");
    let mut raw = open(&cluster, "follow=true");
    assert_eq!(raw.chunk().unwrap(), "before\n");
    log.write("after\nand more");
    assert_eq!(raw.chunk().unwrap(), "after\nand more\n");
    log.run(json!({"raw": "2026-11-01T08:00:03Z stdout F half a"}));
    log.run(json!({"raw": " record\n", "exit": 3}));
    assert_eq!(raw.chunks(), ("half a record\n".to_owned(), None));
}

#[test]
fn a_follow_with_a_tail_goes_on() {
    let (cluster, log) = mixed();
    let mut raw = open(&cluster, "follow=true&tailLines=0");
    log.await_follows(1);
    log.write("new");
    assert_eq!(raw.chunk().unwrap(), "new\n");
    drop(raw);
    log.await_follows(0);
}

#[test]
fn a_restart_ends_a_follow_and_keeps_one_run() {
    let (cluster, log) = empty();
    for run in 1..=3 {
        log.write(&format!("run {run}"));
        let mut raw = open(&cluster, "follow=true");
        log.await_follows(1);
        log.run(json!({"restart": true}));
        assert_eq!(raw.chunks(), (format!("run {run}\n"), None));
        assert_eq!(read(&cluster, "previous=true"), format!("run {run}\n"));
        assert_eq!(read(&cluster, ""), "");
    }
    let (_, page) = Raw::request(&cluster, "plain", &format!("{PODS}/own-0"), &[]).page();
    let pod: serde_json::Value = serde_json::from_str(&page).unwrap();
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 3);
}

#[test]
fn a_replaced_pod_has_nothing_of_the_old_one() {
    let (cluster, log) = empty();
    log.write("old");
    let mut raw = open(&cluster, "follow=true");
    log.await_follows(1);
    log.run(json!({"replace": true}));
    assert_eq!(raw.chunks(), ("old\n".to_owned(), None));
    assert_eq!(read(&cluster, ""), "");
    assert_eq!(refused(&cluster, "plain", "own-0", "previous=true").0, 400);
    log.run(json!({"delete": true}));
    assert_eq!(refused(&cluster, "plain", "own-0", "").0, 404);
}

#[test]
fn only_the_current_file_is_served() {
    let (cluster, log) = empty();
    log.write("first");
    let mut raw = open(&cluster, "follow=true");
    assert_eq!(raw.chunk().unwrap(), "first\n");
    log.run(json!({"write": [{"text": "last of its file"}], "rotate": true}));
    log.write("second");
    let mut all = String::new();
    while all.len() < "last of its file\nsecond\n".len() {
        all.push_str(&raw.chunk().unwrap());
    }
    assert_eq!(all, "last of its file\nsecond\n");
    assert_eq!(read(&cluster, "tailLines=5"), "second\n");
}

#[test]
fn a_reader_that_is_slow_misses_the_files_in_between() {
    let (cluster, log) = empty();
    // More than all buffers on the way hold, so that the follower stays in its file.
    log.run(json!({"write": [{"text": "x", "repeat": 60_000_000}]}));
    let mut raw = open(&cluster, "follow=true");
    assert!(!raw.chunk().unwrap().is_empty());
    log.run(json!({"write": [{"text": "the last of its file"}], "rotate": true}));
    log.run(json!({"write": [{"text": "the hole"}], "rotate": true}));
    log.write("the end");
    let mut rest = String::new();
    while !rest.ends_with("the end\n") {
        rest.push_str(&raw.chunk().unwrap());
    }
    assert!(rest.ends_with("x\nthe last of its file\nthe end\n"));
}

#[test]
fn long_lines_are_written_in_parts_and_read_as_one() {
    let (cluster, log) = empty();
    log.run(json!({"write": [{"text": "x", "repeat": 40_000}]}));
    assert_eq!(read(&cluster, ""), format!("{}\n", "x".repeat(40_000)));
    assert_eq!(read(&cluster, "tailLines=1").len(), 40_000 - 2 * 16_384 + 1);
}

#[test]
fn numbered_lines_need_no_memory() {
    let cluster = cluster();
    let read = |query: &str| {
        let target = format!("{PODS}/lines-0/log?{query}");
        let mut raw = Raw::request(&cluster, "plain", &target, &[]);
        assert_eq!(raw.answer().status, 200);
        raw.chunks().0
    };
    let all: String = (0..10_485).map(|n| format!("{n:>99}\n")).collect();
    assert_eq!(read("container=1m"), all);
    assert_eq!(
        read("container=1m&follow=true&tailLines=20"),
        all[all.len() - 2000..]
    );
    let told =
        read("container=100m&timestamps=true&sinceTime=2026-11-01T08:00:07.5Z&limitBytes=262");
    let line = |n: u64| format!("2026-11-01T08:00:07.{:06}001Z {n:>99}\n", n - 1_000_000);
    assert_eq!(told, line(1_000_000) + &line(1_000_001));
}

#[test]
fn a_writer_writes_while_somebody_follows() {
    let cluster = cluster();
    let target = format!("{PODS}/writer-0/log?container=r1000&follow=true");
    let mut raw = Raw::request(&cluster, "plain", &target, &[]);
    assert_eq!(raw.answer().status, 200);
    let mut all = String::new();
    while all.len() < 5000 {
        all.push_str(&raw.chunk().unwrap());
    }
    let expected: String = (0..50).map(|n| format!("{n:>99}\n")).collect();
    assert_eq!(all[..5000], expected);
}

#[test]
fn a_client_that_leaves_is_noticed() {
    let (cluster, log) = empty();
    let raw = open(&cluster, "follow=true");
    log.await_follows(1);
    drop(raw);
    log.await_follows(0);
    let mut raw = open(&cluster, "");
    assert_eq!(raw.chunks().1, None::<Event>);
}

#[test]
fn a_writer_that_stops_ends_with_its_container() {
    let cluster = cluster();
    let log = cluster.log("default", "writer-0", "r1000");
    let target = format!("{PODS}/writer-0/log?container=r1000&follow=true");
    let mut raw = Raw::request(&cluster, "plain", &target, &[]);
    assert_eq!(raw.answer().status, 200);
    raw.chunk().unwrap();
    log.run(json!({"rate": 0, "exit": 0}));
    assert_eq!(raw.chunks().1, None);
}
