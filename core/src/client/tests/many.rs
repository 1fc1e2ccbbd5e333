//! Several logs: what may happen to the watch of their pods, and a line without an end.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::{Instant, advance, pause, resume, timeout};

use super::kubelet::*;
use super::server::{Reply, Server};
use super::*;
use crate::error::ErrorKind;
use crate::protocol::logs::LogsOptions;
use crate::session::logs::{LogEnd, LogItem};

/// A pod that runs.
fn pod(name: &str) -> Value {
    let mut pod = Kubelet::new(0, &[]).0.lock().unwrap().pod();
    pod["metadata"] = json!({"name": name, "namespace": "n", "uid": name, "resourceVersion": "2"});
    pod
}

fn list(names: &[&str]) -> Reply {
    let pods: Vec<_> = names.iter().map(|name| pod(name)).collect();
    Reply::json(&json!({"metadata": {"resourceVersion": "1"}, "items": pods}))
}

/// The beginning of an answer that has no end yet.
fn watch(events: &[Value]) -> Reply {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut bytes = head.as_bytes().to_vec();
    for event in events {
        let line = format!("{event}\n");
        bytes.extend(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes());
    }
    Reply::Raw(bytes)
}

fn error(code: u16) -> Value {
    json!({"type": "ERROR", "object": {"kind": "Status", "code": code, "message": "x"}})
}

/// What a request is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum About {
    List,
    Log,
    Watch,
}

/// A cluster whose lists and watches are answered by their number, and whose logs hold one line.
async fn cluster(answer: impl Fn(About, usize) -> Reply + Send + Sync + 'static) -> (Server, Home) {
    let counts = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let server = Server::start(move |head| {
        let target = head.split(' ').nth(1).unwrap();
        if target.contains("/log?") {
            return watch_of_log(target);
        }
        if target.starts_with("/version") {
            return Reply::json(&json!({"gitVersion": "v1"}));
        }
        let about = match target.contains("watch=true") {
            true => About::Watch,
            false => About::List,
        };
        let count = &counts[usize::from(about == About::Watch)];
        answer(about, count.fetch_add(1, Ordering::SeqCst))
    })
    .await;
    let home = Home::new(&server.url(), "", "");
    (server, home)
}

/// One line, and nothing more.
fn watch_of_log(target: &str) -> Reply {
    let pod = target.split('/').nth(6).unwrap();
    let line = format!("2026-11-21T12:00:00Z {pod}\n");
    let frames = [frame(2, b""), frame(2, line.as_bytes())].concat();
    match target.contains("follow=true") {
        true => Reply::Upgrade("binary.k8s.io", frames),
        false => Reply::of("200 OK", "", &line),
    }
}

fn asked(server: &Server) -> Vec<About> {
    let lines = server.lines();
    let about = |line: &String| match line {
        line if line.contains("/log?") => Some(About::Log),
        line if line.contains("watch=true") => Some(About::Watch),
        line if line.contains("/pods?") => Some(About::List),
        _ => None,
    };
    lines.iter().filter_map(about).collect()
}

fn all() -> LogsOptions {
    follow().selector("a=b".to_owned())
}

#[tokio::test]
async fn an_event_joins_a_pod_and_the_version_goes_on() {
    let (server, home) = cluster(|about, nth| match (about, nth) {
        (About::List, _) => list(&["one"]),
        (_, 0) => Reply::Last(Box::new(watch(&[
            json!({"type": "ADDED", "object": pod("two")}),
            json!({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "7"}}}),
        ]))),
        _ => watch(&[]),
    })
    .await;
    let client = home.client().await.unwrap();
    let mut logs = client.logs(None, all()).await.unwrap();
    read(&mut logs, |shown| {
        shown.contains("one") && shown.contains("two")
    })
    .await;
    while asked(&server)
        .iter()
        .filter(|about| **about == About::Watch)
        .count()
        < 2
    {
        tokio::task::yield_now().await;
    }
    let lines = server.lines();
    let watches: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("watch=true"))
        .collect();
    assert!(watches[0].contains("resourceVersion=1&"), "{}", watches[0]);
    assert!(watches[1].contains("resourceVersion=7&"), "{}", watches[1]);
    assert!(
        watches[1].contains("labelSelector=a%3Db&"),
        "{}",
        watches[1]
    );
}

#[tokio::test]
async fn gone_in_the_middle_of_a_watch_lists_again_and_unauthorized_does_not() {
    for (code, lists) in [(410, 2), (401, 1)] {
        let (server, home) = cluster(move |about, nth| match (about, nth) {
            (About::List, 0) => list(&["one"]),
            (About::List, _) => list(&["one", "two"]),
            (_, 0) => watch(&[error(code)]),
            _ if code == 401 => watch(&[json!({"type": "ADDED", "object": pod("two")})]),
            _ => watch(&[]),
        })
        .await;
        let client = home.client().await.unwrap();
        let mut logs = client.logs(None, all()).await.unwrap();
        let (_, events) = read(&mut logs, |shown| shown.contains("two")).await;
        assert_eq!(reconnects(&events), 0);
        let count = asked(&server)
            .into_iter()
            .filter(|about| *about == About::List);
        assert_eq!(count.count(), lists, "{code}");
    }
}

#[tokio::test]
async fn a_watch_that_is_dead_is_noticed_by_its_age() {
    let (server, home) = cluster(|about, nth| match (about, nth) {
        (About::List, _) => list(&["one"]),
        (_, 0) => watch(&[]),
        _ => watch(&[json!({"type": "ADDED", "object": pod("two")})]),
    })
    .await;
    let client = home.client().await.unwrap();
    let options = all().protocol(crate::protocol::logs::LogProtocol::Http);
    let mut logs = client.logs(None, options).await.unwrap();
    read(&mut logs, |shown| shown.contains("one")).await;
    while !asked(&server).contains(&About::Watch) {
        tokio::task::yield_now().await;
    }
    pause();
    advance(Duration::from_secs(76)).await;
    resume();
    read(&mut logs, |shown| shown.contains("two")).await;
}

#[tokio::test]
async fn who_may_list_but_not_watch_lists_every_ten_seconds_and_is_told() {
    let (server, home) = cluster(|about, nth| match (about, nth) {
        (About::List, 0) => list(&["one"]),
        (About::List, _) => list(&["one", "two"]),
        _ => Reply::status(403, "Forbidden", "pods is forbidden: cannot watch"),
    })
    .await;
    let told = Told::default();
    let config = home.config().observer(told.observer());
    let client = home.client_with(config, &[]).await.unwrap();
    let mut logs = client.logs(None, all()).await.unwrap();
    read(&mut logs, |shown| shown.contains("one")).await;
    while told.lines().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(told.lines()[0].contains("every 10s:"), "{:?}", told.lines());
    pause();
    advance(Duration::from_secs(10)).await;
    resume();
    read(&mut logs, |shown| shown.contains("two")).await;
    assert!(asked(&server).contains(&About::Watch));
}

#[tokio::test]
async fn a_watch_that_ends_at_once_for_ever_is_asked_less_and_less() {
    let (server, home) = cluster(|about, _| match about {
        About::List => list(&["one"]),
        _ => Reply::of("200 OK", "", ""),
    })
    .await;
    let told = Told::default();
    let config = home.config().observer(told.observer());
    let client = home.client_with(config, &[]).await.unwrap();
    let mut logs = client.logs(None, all()).await.unwrap();
    let (begin, mut batch) = (Instant::now(), Vec::new());
    let left = || Duration::from_secs(6).saturating_sub(begin.elapsed());
    while timeout(left(), logs.next_batch(&mut batch)).await.is_ok() {}
    let watches = asked(&server)
        .into_iter()
        .filter(|about| *about == About::Watch)
        .count();
    assert!((3..=10).contains(&watches), "{watches} in 6 s");
    assert_eq!(told.lines().len(), 1, "{:?}", told.lines());
    assert!(told.lines()[0].contains("the list of pods (a pod with the labels a=b)"));
}

#[tokio::test]
async fn pods_that_may_not_be_listed_are_an_error_at_once() {
    let (_server, home) = cluster(|_, _| Reply::status(403, "Forbidden", "no")).await;
    let client = home.client().await.unwrap();
    let error = client.logs(None, all()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    assert_eq!(error.remedies(), ["allow list on pods, or name a pod"]);
}

#[tokio::test]
async fn a_line_of_a_gibibyte_comes_in_pieces_and_needs_no_such_memory() {
    const GIBIBYTE: u64 = 1 << 30;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let home = Home::new(
        &format!("http://{}", listener.local_addr().unwrap()),
        "",
        "",
    );
    let serve = async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let length = stream.read(&mut head).await.unwrap();
            if !head[..length].starts_with(b"GET /api/v1/namespaces/default/pods/web-0/log") {
                let body = Kubelet::new(0, &[]).0.lock().unwrap().pod().to_string();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                stream.write_all((head + &body).as_bytes()).await.unwrap();
                continue;
            }
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
                GIBIBYTE + 1
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            let block = vec![b'x'; 1 << 20];
            for _ in 0..GIBIBYTE >> 20 {
                stream.write_all(&block).await.unwrap();
            }
            stream.write_all(b"\n").await.unwrap();
        }
    };
    let resident = || -> u64 {
        let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages = text
            .split(' ')
            .nth(1)
            .and_then(|pages| pages.parse::<u64>().ok());
        pages.unwrap_or_default() * 4096
    };
    let reading = async {
        let client = home.client().await.unwrap();
        let mut logs = client
            .logs(Some("web-0"), LogsOptions::default())
            .await
            .unwrap();
        let (mut batch, before, mut most) = (Vec::new(), resident(), 0);
        let mut begun = 0;
        while logs.next_batch(&mut batch).await {
            for item in batch.drain(..) {
                let LogItem::Line(line) = item else { continue };
                assert!(line.data.len() <= 1 << 20);
                begun += usize::from(line.begins);
            }
            most = most.max(resident().saturating_sub(before));
        }
        assert_eq!(logs.wait().await, Ok(LogEnd::Complete));
        assert_eq!((begun, logs.report().bytes), (1, GIBIBYTE + 1));
        assert!(most < GIBIBYTE / 2, "{most} bytes more");
    };
    tokio::select! {
        () = serve => {}
        () = reading => {}
    }
}
