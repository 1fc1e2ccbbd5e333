//! The upgrade against servers that answer badly, late or not at all.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::server::{Reply, Server, header};
use super::{Home, Told, direct};
use crate::error::{Error, ErrorKind};
use crate::protocol::request::{Limits, Offer};
use crate::protocol::status::Confidence;
use crate::protocol::subprotocol::Subprotocol;

const V4: &str = "v4.channel.k8s.io";
const V5: &str = "v5.channel.k8s.io";

/// Runs one exec against a server with this answer, and returns its error.
async fn failing(answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> (Error, usize) {
    let server = Server::start(answer).await;
    let home = Home::new(&server.url(), "", "token: t");
    let client = home.client().await.unwrap();
    let limits = Limits::default().connect(Duration::from_millis(300));
    let error = client
        .exec("web-0", ["true"], direct().limits(limits))
        .await
        .unwrap_err();
    (error, server.lines().len())
}

#[tokio::test]
async fn frames_behind_the_answer_are_not_lost() {
    let server = Server::start(|_| Reply::session(V4)).await;
    let home = Home::new(&server.url(), "", "token: t");
    let client = home.client().await.unwrap();
    let process = client.exec("web-0", ["true"], direct()).await.unwrap();
    let completed = process.communicate(Bytes::new(), None).await;
    assert_eq!(
        (completed.stdout.as_ref(), completed.status.unwrap().code),
        (&b"hi"[..], 0)
    );
    let head = &server.heads()[0];
    assert_eq!(header(head, "sec-websocket-protocol"), [V4]);
    assert_eq!(header(head, "upgrade"), ["websocket"]);
    assert_eq!(server.lines().len(), 1);
}

#[tokio::test]
async fn an_answer_that_is_no_101_says_that_nothing_ran() {
    for (status, headers, body, kind) in [
        ("400 Bad Request", "", "x", ErrorKind::Invalid),
        ("401 Unauthorized", "", "", ErrorKind::Auth),
        ("403 Forbidden", "", "no", ErrorKind::Forbidden),
        ("404 Not Found", "", "", ErrorKind::NotFound),
        ("500 Internal Server Error", "", "x", ErrorKind::Upgrade),
        (
            "302 Found",
            "location: https://evil.example/\r\n",
            "",
            ErrorKind::Upgrade,
        ),
        (
            "200 OK",
            "content-type: text/html\r\n",
            "<html>\x1b[2J",
            ErrorKind::Upgrade,
        ),
    ] {
        let (error, requests) = failing(move |_| Reply::of(status, headers, body)).await;
        assert_eq!((error.kind(), requests), (kind, 1), "{status}");
        assert!(!error.kind().may_have_started());
        assert!(!error.report().contains('\x1b'));
    }
}

#[tokio::test]
async fn silence_after_the_request_names_its_stage() {
    let (error, requests) = failing(|_| Reply::Silence).await;
    assert_eq!((error.kind(), requests), (ErrorKind::Lost, 1));
    assert_eq!(
        error.to_string(),
        "no answer to the upgrade request within 300ms (--connect-timeout); the command may have started"
    );
}

#[tokio::test]
async fn an_end_before_the_answer_may_have_started_something() {
    let (error, requests) = failing(|_| Reply::Close).await;
    assert_eq!((error.kind(), requests), (ErrorKind::Lost, 1));
    assert!(
        error
            .to_string()
            .ends_with("; the command may have started")
    );
}

#[tokio::test]
async fn an_invalid_101_may_have_started_something() {
    let wrong = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                 sec-websocket-accept: AAAA\r\nsec-websocket-protocol: v4.channel.k8s.io\r\n\r\n";
    let (error, requests) = failing(move |_| Reply::Raw(wrong.into())).await;
    assert_eq!((error.kind(), requests), (ErrorKind::Protocol, 1));
    let (error, _) = failing(|_| Reply::Upgrade(V5, Vec::new())).await;
    assert_eq!(error.kind(), ErrorKind::Protocol);
}

#[tokio::test]
async fn a_head_without_end_is_cut() {
    let endless = format!(
        "HTTP/1.1 101 Switching Protocols\r\nx: {}",
        "a".repeat(200 << 10)
    );
    let (error, _) = failing(move |_| Reply::Raw(endless.clone().into())).await;
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(
        error
            .to_string()
            .starts_with("the head of the answer is longer than 64 KiB")
    );
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let reply = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 10\r\n\r\nab";
    let (error, _) = failing(move |_| Reply::Raw(reply.into())).await;
    assert_eq!(error.kind(), ErrorKind::Upgrade);
    assert!(error.to_string().ends_with("(its text did not come)"));
}

#[tokio::test]
async fn an_empty_403_falls_back_from_v4_to_v5() {
    let server = Server::start(|head| match header(head, "sec-websocket-protocol")[..] {
        [V4] => Reply::of("403 Forbidden", "", ""),
        _ => Reply::session(V5),
    })
    .await;
    let home = Home::new(&server.url(), "", "");
    let told = Told::default();
    let client = home
        .client_with(home.config().observer(told.observer()), &[])
        .await
        .unwrap();
    let options = direct().verify(crate::Verify::Never);
    let process = client.exec("web-0", ["true"], options).await.unwrap();
    assert_eq!(
        process.wait().await.unwrap().confidence,
        Confidence::Unchecked
    );
    assert_eq!(
        told.lines(),
        [format!("the server refused {V4}, trying {V5}")]
    );
    assert_eq!(server.lines().len(), 2);
}

#[tokio::test]
async fn a_refused_v5_is_not_replaced_behind_the_callers_back() {
    let server = Server::start(|_| Reply::of("403 Forbidden", "", "")).await;
    let home = Home::new(&server.url(), "", "");
    let client = home.client().await.unwrap();
    let error = client
        .exec("web-0", ["cat"], direct().stdin(true))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(
        error.remedies(),
        ["--protocol v4   # accepts that stdin cannot end"]
    );
    assert_eq!(server.lines().len(), 1);
}

#[tokio::test]
async fn the_time_limit_of_the_caller_names_what_it_interrupted() {
    let server = Server::start(|_| Reply::Silence).await;
    let home = Home::new(&server.url(), "", "");
    let client = home.client().await.unwrap();
    let options = direct().timeout(Duration::from_millis(200));
    let error = client.exec("web-0", ["true"], options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.why().unwrap().contains("opening the session"));
    let options = direct().preflight(true).timeout(Duration::from_millis(200));
    let error = client.exec("web-0", ["true"], options).await.unwrap_err();
    assert!(error.why().unwrap().contains("looking for the pod"));
}

#[tokio::test]
async fn a_warning_is_told_once() {
    let server = Server::start(|_| {
        let headers = "warning: 299 - \"old \\\"v1\\\"\"\r\n";
        Reply::of("200 OK", headers, "{\"gitVersion\": \"v1.37.0\"}")
    })
    .await;
    let home = Home::new(&server.url(), "", "");
    let told = Told::default();
    let client = home
        .client_with(home.config().observer(told.observer()), &[])
        .await
        .unwrap();
    for _ in 0..2 {
        assert_eq!(client.version().await.unwrap(), "v1.37.0");
    }
    assert_eq!(told.lines(), ["old \"v1\""]);
}

/// Runs exec over `v5` where the log answers `log` afterwards, and the container has this ID.
async fn verified(log: u16, after: &'static str) -> Result<Confidence, ErrorKind> {
    let ran = AtomicBool::new(false);
    let server = Server::start(move |head| {
        let path = head.split([' ', '?']).nth(1).unwrap();
        match path.rsplit('/').next() {
            Some("exec") => {
                ran.store(true, Ordering::SeqCst);
                Reply::session(V5)
            }
            Some("log") if log == 200 => Reply::of("200 OK", "", "x"),
            Some("log") => Reply::status(log, "InternalError", "no"),
            _ if ran.load(Ordering::SeqCst) => Reply::json(&super::pods::pod("web-0", after)),
            _ => Reply::json(&super::pods::pod("web-0", "a")),
        }
    })
    .await;
    let home = Home::new(&server.url(), "", "");
    let client = home.client().await.unwrap();
    let options = direct()
        .preflight(true)
        .protocol(Offer::Only(Subprotocol::V5));
    let process = client.exec("web-0", ["true"], options).await.unwrap();
    process
        .wait()
        .await
        .map(|status| status.confidence)
        .map_err(|error| error.kind())
}

#[tokio::test]
async fn a_success_of_v5_is_looked_into() {
    assert_eq!(verified(200, "a").await, Ok(Confidence::Checked));
    assert_eq!(verified(403, "a").await, Ok(Confidence::Unchecked));
    assert_eq!(verified(500, "a").await, Err(ErrorKind::Lost));
    assert_eq!(verified(200, "b").await, Err(ErrorKind::Lost));
}
