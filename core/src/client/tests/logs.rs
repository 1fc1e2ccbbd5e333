//! Logs: reading, following, cuts, restarts, outages.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::time::{Instant, timeout};

use super::kubelet::*;
use super::server::{Reply, Server};
use super::*;
use crate::error::ErrorKind;
use crate::protocol::logs::request::LogSubprotocol;
use crate::protocol::logs::{LogProtocol, LogsOptions};
use crate::session::logs::{LogEnd, LogEvent, LogItem};

#[tokio::test]
async fn a_plain_read_is_the_bytes_and_then_the_end() {
    let kubelet = Kubelet::new(300, &[]);
    let (server, home) = kubelet.serve().await;
    let client = home.client().await.unwrap();
    let options = LogsOptions::default().tail_lines(200);
    let mut logs = client.logs(Some("web-0"), options.clone()).await.unwrap();
    assert_eq!(read(&mut logs, to_the_end).await, (text(100..300), vec![]));
    assert_eq!(logs.wait().await.unwrap(), LogEnd::Complete);
    let asked =
        "GET /api/v1/namespaces/default/pods/web-0/log?container=app&tailLines=200 HTTP/1.1";
    assert_eq!(server.lines().last().unwrap(), asked);
    let mut logs = client
        .logs(Some("web-0"), options.timestamps(true))
        .await
        .unwrap();
    assert_eq!(
        read(&mut logs, to_the_end).await.0,
        lines(100..300).concat()
    );
}

#[tokio::test]
async fn a_plain_read_that_is_cut_is_lost_and_what_came_is_there() {
    let server = Server::start(|head| match head.contains("/log") {
        true => Reply::Last(Box::new(Reply::Raw(
            b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\none\ntw".to_vec(),
        ))),
        false => Reply::json(&Kubelet::new(0, &[]).0.lock().unwrap().pod()),
    })
    .await;
    let home = Home::new(&server.url(), "", "");
    let client = home.client().await.unwrap();
    let mut logs = client
        .logs(Some("web-0"), LogsOptions::default())
        .await
        .unwrap();
    assert_eq!(read(&mut logs, to_the_end).await.0, "one\ntw");
    assert_eq!(logs.wait().await.unwrap_err().kind(), ErrorKind::Lost);
}

#[tokio::test]
async fn following_ends_with_the_container_whatever_carries_it() {
    for protocol in [
        LogProtocol::Auto,
        LogProtocol::Only(LogSubprotocol::Base64Binary),
        LogProtocol::Http,
    ] {
        let kubelet = Kubelet::new(300, &[Act::End, Act::End]);
        let (server, home) = kubelet.serve().await;
        let client = home.client().await.unwrap();
        let options = follow().protocol(protocol);
        let mut logs = client.logs(Some("web-0"), options).await.unwrap();
        assert_eq!(read(&mut logs, to_the_end).await, (text(0..300), vec![]));
        let end = LogEnd::Ended { exit_code: Some(3) };
        assert_eq!(logs.wait().await.unwrap(), end);
        let upgrades = server
            .heads()
            .iter()
            .filter(|head| head.contains("upgrade: websocket"))
            .count();
        assert_eq!(upgrades > 0, protocol != LogProtocol::Http);
    }
}

#[tokio::test]
async fn where_websockets_are_refused_it_goes_over_http_and_that_is_told() {
    for (upgrades, kind) in [
        (Some(false), ErrorKind::Unsupported),
        (None, ErrorKind::Upgrade),
    ] {
        let kubelet = Kubelet::new(20, &[Act::End, Act::End]);
        kubelet.0.lock().unwrap().upgrades = upgrades;
        let (server, home) = kubelet.serve().await;
        let told = Told::default();
        let config = home.config().observer(told.observer());
        let client = home.client_with(config, &[]).await.unwrap();
        let mut logs = client.logs(Some("web-0"), follow()).await.unwrap();
        assert_eq!(read(&mut logs, to_the_end).await.0, text(0..20));
        assert!(matches!(logs.wait().await, Ok(LogEnd::Ended { .. })));
        assert_eq!(told.lines().len(), 1, "{:?}", told.lines());
        assert!(told.lines()[0].contains("over HTTP"));
        let heads = server.heads();
        let offers = heads
            .iter()
            .filter(|head| head.contains("upgrade: websocket"));
        assert_eq!(offers.count(), 1);
        let only = follow().protocol(LogProtocol::Only(LogSubprotocol::Binary));
        let mut logs = client.logs(Some("web-0"), only).await.unwrap();
        read(&mut logs, to_the_end).await;
        assert_eq!(logs.wait().await.unwrap_err().kind(), kind);
    }
}

#[tokio::test]
async fn a_login_page_is_no_log() {
    let server = Server::start(|head| match head.contains("/log") {
        true => Reply::of(
            "200 OK",
            "content-type: text/html\r\n",
            "<html>log in</html>",
        ),
        false => Reply::json(&Kubelet::new(0, &[]).0.lock().unwrap().pod()),
    })
    .await;
    let home = Home::new(&server.url(), "", "");
    let client = home.client().await.unwrap();
    for options in [follow(), LogsOptions::default()] {
        let mut logs = client.logs(Some("web-0"), options).await.unwrap();
        assert_eq!(read(&mut logs, to_the_end).await.0, "");
        assert_eq!(logs.wait().await.unwrap_err().http_status(), Some(200));
    }
}

#[tokio::test]
async fn a_cut_anywhere_in_a_line_loses_and_repeats_nothing() {
    // In a time, in a word, in a character, between two lines.
    for (cut, http) in [(5, false), (35, true), (40, false), (42, true), (44, false)] {
        let length = line(0).len();
        let script = [
            Act::Cut(100 * length + cut),
            Act::Grow(5),
            Act::End,
            Act::End,
        ];
        let kubelet = Kubelet::new(300, &script);
        let (_server, home) = kubelet.serve().await;
        let client = home.client().await.unwrap();
        let protocol = if http {
            LogProtocol::Http
        } else {
            LogProtocol::Auto
        };
        let options = follow().protocol(protocol);
        let mut logs = client.logs(Some("web-0"), options).await.unwrap();
        let (shown, events) = read(&mut logs, to_the_end).await;
        assert_eq!(shown, text(0..305), "{cut}");
        assert!(reconnects(&events) >= 1, "{events:?}");
        assert!(
            !events
                .iter()
                .any(|event| matches!(event, LogEvent::Gap { .. }))
        );
        assert!(matches!(logs.wait().await, Ok(LogEnd::Ended { .. })));
    }
}

#[tokio::test]
async fn a_polite_end_of_a_container_that_runs_is_no_end() {
    let kubelet = Kubelet::new(300, &[Act::Grow(7), Act::Hang]);
    let (_server, home) = kubelet.serve().await;
    let client = home.client().await.unwrap();
    let mut logs = client.logs(Some("web-0"), follow()).await.unwrap();
    let (shown, events) = read(&mut logs, |shown| shown.contains("line 306 ")).await;
    assert_eq!((shown, reconnects(&events)), (text(0..307), 1));
}

#[tokio::test]
async fn without_resume_a_polite_end_of_a_container_that_runs_is_lost() {
    let kubelet = Kubelet::new(3, &[Act::Polite(usize::MAX)]);
    let (_server, home) = kubelet.serve().await;
    let client = home.client().await.unwrap();
    let mut logs = client
        .logs(Some("web-0"), follow().resume(false))
        .await
        .unwrap();
    assert_eq!(read(&mut logs, to_the_end).await.0, text(0..3));
    assert_eq!(logs.wait().await.unwrap_err().kind(), ErrorKind::Lost);
}

#[tokio::test]
async fn a_restart_shows_the_rest_of_the_old_run_and_then_the_new_one() {
    let kubelet = Kubelet::new(300, &[Act::Restart, Act::Hang]);
    let (_server, home) = kubelet.serve().await;
    let client = home.client().await.unwrap();
    let mut logs = client.logs(Some("web-0"), follow()).await.unwrap();
    let (shown, events) = read(&mut logs, |shown| shown.contains("line 1002 ")).await;
    assert_eq!(shown, text(0..300) + &text(900..905) + &text(1000..1003));
    let restarted = LogEvent::Restarted {
        count: 1,
        unseen: 0,
    };
    assert!(events.contains(&restarted), "{events:?}");
    assert!(
        !events
            .iter()
            .any(|event| matches!(event, LogEvent::Gap { .. }))
    );
}

#[tokio::test]
async fn a_server_that_ends_the_log_at_once_for_ever_is_asked_less_and_less() {
    let kubelet = Kubelet::new(300, &[Act::Polite(usize::MAX); 1000]);
    let (_server, home) = kubelet.serve().await;
    let client = home.client().await.unwrap();
    let mut logs = client.logs(Some("web-0"), follow()).await.unwrap();
    let (mut batch, mut reasons) = (Vec::new(), Vec::new());
    let begin = Instant::now();
    while timeout(
        Duration::from_secs(6).saturating_sub(begin.elapsed()),
        logs.next_batch(&mut batch),
    )
    .await
        == Ok(true)
    {
        for item in batch.drain(..) {
            if let LogItem::Event(_, LogEvent::Waiting { reason }) = item {
                reasons.push(reason);
            }
        }
    }
    let asked = kubelet.1.load(Ordering::SeqCst);
    assert!((3..=12).contains(&asked), "{asked} requests in 6 s");
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert!(reasons[0].contains("close code 1000"), "{reasons:?}");
}

#[tokio::test]
async fn after_an_outage_all_streams_have_their_next_line_within_two_and_a_half_seconds() {
    let kubelet = Kubelet::new(300, &[]);
    let (server, home) = kubelet.serve().await;
    let client = home.client().await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..8 {
        let mut logs = client.logs(Some("web-0"), follow()).await.unwrap();
        let (shown, _) = read(&mut logs, |shown| shown.contains("line 299 ")).await;
        assert_eq!(shown, text(0..300));
        streams.push(logs);
    }
    let address = server.address;
    drop(server);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    kubelet.0.lock().unwrap().lines.push(line(300));
    let again = kubelet.clone();
    let server = Server::start_at(address, None, move |head| again.answer(head)).await;
    let begin = Instant::now();
    for logs in &mut streams {
        let (shown, events) = read(logs, |shown| shown.contains("line 300 ")).await;
        assert_eq!((shown, reconnects(&events)), (text(300..301), 1));
        let told = |event: &LogEvent| matches!(event, LogEvent::Waiting { .. });
        assert!(events.iter().any(told), "{events:?}");
    }
    let elapsed = begin.elapsed();
    assert!(elapsed < Duration::from_millis(2500), "{elapsed:?}");
    drop(server);
}

#[tokio::test]
async fn all_that_wait_for_a_server_knock_together() {
    let server = Server::start(|_| Reply::Close).await;
    let home = Home::new(&server.url(), "", "");
    let client = home.client().await.unwrap();
    let address = server.address;
    drop(server);
    let lost = Instant::now();
    let waiting = futures_util::future::join_all((0..20).map(|_| client.server.reachable(lost)));
    let back = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        Server::start_at(address, None, |_| Reply::Close).await
    };
    let (_, server) = tokio::join!(waiting, back);
    // One knock, and this request, by whose end the server has seen both.
    assert!(client.version().await.is_err());
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_pod_that_is_deleted_is_told_and_forever_waits_for_the_next_one() {
    for forever in [false, true] {
        let pods = Arc::new(Mutex::new(VecDeque::from(["a", "", "", "b"])));
        let kubelet = Kubelet::new(20, &[Act::Polite(usize::MAX), Act::Hang]);
        let (all, inner) = (Arc::clone(&pods), kubelet.clone());
        let server = Server::start(move |head| {
            if head.contains("/log") {
                return inner.answer(head);
            }
            let mut pods = all.lock().unwrap();
            let uid = match pods.len() {
                1 => pods[0],
                _ => pods.pop_front().unwrap(),
            };
            let mut state = inner.0.lock().unwrap();
            if uid == "b" {
                state.lines = lines(500..510);
            }
            let mut pod = state.pod();
            pod["metadata"]["uid"] = uid.into();
            match uid {
                "" => Reply::status(404, "NotFound", "pods \"web-0\" not found"),
                _ => Reply::json(&pod),
            }
        })
        .await;
        let home = Home::new(&server.url(), "", "");
        let client = home.client().await.unwrap();
        let options = follow().forever(forever);
        let mut logs = client.logs(Some("web-0"), options).await.unwrap();
        let (shown, events) = read(&mut logs, |shown| shown.contains("line 509 ")).await;
        if forever {
            assert_eq!(shown, text(0..20) + &text(500..510));
            let replaced = LogEvent::Replaced {
                pod: "web-0".to_owned(),
            };
            assert!(events.contains(&replaced), "{events:?}");
            assert!(
                events
                    .iter()
                    .any(|event| matches!(event, LogEvent::Gap { certain: true, .. }))
            );
        } else {
            assert_eq!(shown, text(0..20));
            assert_eq!(logs.wait().await.unwrap_err().kind(), ErrorKind::NotFound);
        }
    }
}

#[tokio::test]
async fn a_container_that_has_not_begun_is_waited_for_and_its_state_is_told() {
    let server = Server::start(|_| {
        Reply::json(&json!({
            "metadata": {"name": "web-0", "uid": "u"},
            "spec": {"containers": [{"name": "app"}]},
            "status": {"phase": "Pending", "containerStatuses": [{"name": "app", "restartCount": 0,
                "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]},
        }))
    })
    .await;
    let home = Home::new(&server.url(), "", "");
    let client = home.client().await.unwrap();
    let options = follow().pod_running_timeout(Duration::from_millis(600));
    let error = client.logs(Some("web-0"), options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotStarted);
    assert!(
        error.why().unwrap().contains("ImagePullBackOff"),
        "{error:?}"
    );
    let missing = follow().container("nope".to_owned());
    let error = client.logs(Some("web-0"), missing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.why().unwrap().contains("app"), "{error:?}");
}

#[tokio::test]
async fn what_the_server_says_of_a_log_is_its_end() {
    let server = Server::start(|head| match head.contains("/log") {
        true => Reply::status(403, "Forbidden", "pods \"web-0\" is forbidden"),
        false => Reply::json(&Kubelet::new(0, &[]).0.lock().unwrap().pod()),
    })
    .await;
    let home = Home::new(&server.url(), "", "");
    let client = home.client().await.unwrap();
    for options in [follow(), LogsOptions::default()] {
        let mut logs = client.logs(Some("web-0"), options).await.unwrap();
        assert_eq!(read(&mut logs, to_the_end).await, (String::new(), vec![]));
        let error = logs.wait().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Forbidden);
        assert_eq!(error.remedies(), ["allow get on pods/log"]);
    }
    let both = follow()
        .since(Duration::from_secs(1))
        .since_time("2026-11-21T12:00:00Z".to_owned());
    let error = client.logs(Some("web-0"), both).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_restart_of_which_the_pod_tells_late_repeats_nothing() {
    let script = [Act::Restart, Act::Polite(usize::MAX), Act::Hang];
    let kubelet = Kubelet::new(300, &script);
    kubelet.0.lock().unwrap().stale = 3;
    let (_server, home) = kubelet.serve().await;
    let client = home.client().await.unwrap();
    let mut logs = client.logs(Some("web-0"), follow()).await.unwrap();
    let (shown, _) = read(&mut logs, |shown| shown.contains("line 1002 ")).await;
    assert_eq!(shown, text(0..300) + &text(1000..1003));
    kubelet.0.lock().unwrap().lines.push(line(1003));
    let (shown, events) = read(&mut logs, |shown| shown.contains("line 1003 ")).await;
    assert_eq!(shown, text(1003..1004));
    assert!(
        events.contains(&LogEvent::Restarted {
            count: 1,
            unseen: 0
        }),
        "{events:?}"
    );
}

/// The kubelet answers a follow with the first line, not before (Go's HTTP server sends the head with it).
#[tokio::test]
async fn a_log_without_a_line_is_waited_for_while_its_server_is_there() {
    for dead in [false, true] {
        let kubelet = Kubelet::new(20, &[Act::Hang]);
        let (asked, inner) = (AtomicUsize::new(0), kubelet.clone());
        let server = Server::start(move |head| {
            if head.contains("/version") {
                return match dead {
                    true => Reply::Silence,
                    false => Reply::json(&json!({"gitVersion": "v1"})),
                };
            }
            match head.contains("follow") && asked.fetch_add(1, Ordering::SeqCst) == 0 {
                true => Reply::Silence,
                false => inner.answer(head),
            }
        })
        .await;
        let home = Home::new(&server.url(), "", "");
        let client = home.client().await.unwrap();
        let short = Duration::from_millis(300);
        let limits = Limits::default().connect(short).keepalive_timeout(short);
        let mut logs = client
            .logs(Some("web-0"), follow().limits(limits))
            .await
            .unwrap();
        if dead {
            let (shown, events) = read(&mut logs, |shown| shown.contains("line 19 ")).await;
            assert_eq!((shown, reconnects(&events)), (text(0..20), 1));
        } else {
            let waiting = timeout(3 * short, logs.next_batch(&mut Vec::new())).await;
            assert!(waiting.is_err());
        }
    }
}

#[tokio::test]
async fn a_log_that_is_silent_over_http_is_asked_for_again_without_a_word() {
    let kubelet = Kubelet::new(20, &[]);
    let (_server, home) = kubelet.serve().await;
    let client = home.client().await.unwrap();
    let limits = Limits::default().keepalive_timeout(Duration::from_millis(200));
    let options = follow().protocol(LogProtocol::Http).limits(limits);
    let mut logs = client.logs(Some("web-0"), options).await.unwrap();
    read(&mut logs, |shown| shown.contains("line 19 ")).await;
    kubelet.0.lock().unwrap().lines.push(line(20));
    let (shown, events) = read(&mut logs, |shown| shown.contains("line 20 ")).await;
    assert_eq!((shown, events), (text(20..21), vec![]));
}

#[tokio::test]
async fn without_the_right_to_see_pods_an_end_is_not_known_to_be_one() {
    let kubelet = Kubelet::new(20, &[Act::Polite(usize::MAX); 100]);
    let inner = kubelet.clone();
    let server = Server::start(move |head| match head.contains("/log") {
        true => inner.answer(head),
        false => Reply::status(403, "Forbidden", "pods \"web-0\" is forbidden"),
    })
    .await;
    let home = Home::new(&server.url(), "", "");
    let told = Told::default();
    let config = home.config().observer(told.observer());
    let client = home.client_with(config, &[]).await.unwrap();
    let mut logs = client.logs(Some("web-0"), follow()).await.unwrap();
    assert_eq!(read(&mut logs, to_the_end).await.0, text(0..20));
    assert_eq!(logs.wait().await.unwrap_err().kind(), ErrorKind::Lost);
    assert_eq!(told.lines().len(), 1, "{:?}", told.lines());
    assert!(told.lines()[0].contains("restarts"));
}
