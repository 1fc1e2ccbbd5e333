//! What the embedded cluster has and keeps: commands, objects, listeners, records, processes.

use std::time::Duration;

use serde_json::json;

use crate::raw::{Event, Raw};
use crate::talk::{
    PODS, V4, V5, close, cluster, enter, exec, json, message, success, success_on, wait_until,
};

#[test]
fn gen_is_a_pattern_and_sink_counts() {
    let cluster = cluster();
    let mut raw = enter(&cluster, V5, &["gen", "20", "12"]);
    assert_eq!(raw.next(), message(1, ""));
    let bytes = "\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{1}\u{0}\u{0}\u{0}";
    assert_eq!(raw.next(), message(1, bytes));
    assert_eq!(
        raw.next(),
        message(1, "\u{0}\u{0}\u{0}\u{0}\u{2}\u{0}\u{0}\u{0}")
    );
    assert_eq!(raw.rest(), [success(), close(1000), Event::Eof]);

    let mut raw = enter(&cluster, V5, &["sink"]);
    for _ in 0..100 {
        raw.send(&[0; 1001]);
    }
    raw.send(b"\xFF\x00");
    let expected = [
        message(1, ""),
        message(1, "100000\n"),
        success(),
        close(1000),
        Event::Eof,
    ];
    assert_eq!(raw.rest(), expected);

    let mut raw = enter(&cluster, V4, &["sink", "1k"]);
    raw.send(&[0; 1025]);
    let expected = [
        message(1, ""),
        message(1, "1024\n"),
        success_on(V4),
        close(1000),
        Event::Eof,
    ];
    assert_eq!(raw.rest(), expected);
}

#[test]
fn the_process_sees_its_own_small_world() {
    let cluster = cluster();
    let events = enter(
        &cluster,
        V5,
        &[
            "sh",
            "-c",
            "pwd; echo $HOME $POD_NAME $CONTAINER_NAME; env | wc -l",
        ],
    )
    .rest();
    let home = cluster.container_directory("default", "web-0", "app");
    let home = home.display();
    let Event::Message(1, text) = &events[1] else {
        panic!("no output: {events:?}")
    };
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], [format!("{home}"), format!("{home} web-0 app")]);
}

#[test]
fn dropping_the_cluster_ends_every_process_and_file() {
    let cluster = cluster();
    let scratch = cluster.kubeconfig().parent().unwrap().to_owned();
    let mut raw = enter(
        &cluster,
        V5,
        &["sh", "-c", "sleep 1000 & setsid sleep 1000 & echo $$; wait"],
    );
    assert_eq!(raw.next(), message(1, ""));
    assert!(matches!(raw.next(), Event::Message(1, _)));
    let living = || {
        let mark = format!("HOME={}", scratch.display()).into_bytes();
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let environments =
            entries.filter_map(|entry| std::fs::read(entry.path().join("environ")).ok());
        environments
            .filter(|bytes| {
                bytes
                    .split(|byte| *byte == 0)
                    .any(|line| line.starts_with(&mark))
            })
            .count()
    };
    assert_eq!(living(), 3);
    drop(cluster);
    // A killed process is gone when the kernel has cleared its environment.
    wait_until("every process is gone", || living() == 0);
    assert!(!scratch.exists());
}

#[test]
fn the_kubeconfig_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let cluster = cluster();
    let mode = std::fs::metadata(cluster.kubeconfig())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn requests_are_recorded_without_secrets() {
    let cluster = cluster();
    drop(Raw::request(&cluster, "v1.35", "/version", &["X-One: 1"]).page());
    let (_, body) = Raw::request(&cluster, "plain", "/__wsx/requests", &[]).page();
    let expected = json!([{
        "listener": "v1.35", "method": "GET", "target": "/version",
        "headers": [["Host", "x"], ["Authorization", "Bearer [redacted]"], ["X-One", "1"]],
    }]);
    assert_eq!(json(&body), expected);
    assert_eq!(json!(cluster.requests()), expected);
    cluster.forget_requests();
    assert_eq!(cluster.requests(), []);
}

#[test]
fn pods_that_change_do_so_when_looked_at() {
    let cluster = cluster();
    let pod = |name: &str| {
        json(
            &Raw::request(&cluster, "plain", &format!("{PODS}/{name}"), &[])
                .page()
                .1,
        )
    };
    let id = || pod("restarts-0")["status"]["containerStatuses"][0]["containerID"].clone();
    assert_ne!(id(), id());
    assert_eq!(pod("slow-start-0")["status"]["phase"], "Pending");
    wait_until("slow-start-0 runs", || {
        pod("slow-start-0")["status"]["phase"] == "Running"
    });
}

#[test]
fn the_listeners_with_bad_manners_have_them() {
    let cluster = cluster();
    let target = exec("stdout=true", &["true"]);
    let ask = |listener: &str| Raw::upgrade(&cluster, listener, Some(V4), &target);

    let answer = ask("redirect").answer();
    let stolen = format!("http://{}/stolen", cluster.address("plain"));
    assert_eq!(
        (answer.status, answer.header("Location")),
        (302, Some(&*stolen))
    );

    for (listener, status) in [("html-200", 200), ("html-403", 403)] {
        let (found, body) = ask(listener).page();
        assert_eq!(found, status);
        assert!(body.starts_with("<!DOCTYPE html>") && body.contains("\u{1b}[31m"));
    }
    assert!(ask("slow-head").is_silent());
    let mut raw = ask("big-head");
    assert!(raw.bytes(1 << 20).unwrap().ends_with(b"bbbb"));
    let mut silent = std::net::TcpStream::connect(cluster.address("silent")).unwrap();
    silent
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let read = std::io::Read::read(&mut silent, &mut [0; 1]);
    assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}
