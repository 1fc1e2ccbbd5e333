//! attach: what is asked for, and what its end is worth.

use serde_json::{Value, json};

use super::pods::pod;
use super::server::{Reply, Server, header};
use super::{Home, Told};
use crate::error::ErrorKind;
use crate::protocol::request::{AttachOptions, ExecOptions};

const V4: &str = "v4.channel.k8s.io";

/// A pod whose container is as `spec` says, and in `state` once somebody has attached.
async fn server(spec: Value, state: Value) -> Server {
    let mut before = pod("web-0", "a");
    before["spec"]["containers"][0] = spec;
    let mut after = before.clone();
    after["status"]["containerStatuses"][0]["state"] = state;
    let attached = std::sync::atomic::AtomicBool::new(false);
    Server::start(move |line| {
        let order = std::sync::atomic::Ordering::SeqCst;
        if line.contains("/attach") {
            attached.store(true, order);
            return Reply::session(V4);
        }
        Reply::json(if attached.load(order) {
            &after
        } else {
            &before
        })
    })
    .await
}

async fn attach(
    server: &Server,
    streams: ExecOptions,
) -> (Result<(u8, bool), ErrorKind>, Vec<String>) {
    let home = Home::new(&server.url(), "", "token: t");
    let told = Told::default();
    let config = home.config().observer(told.observer());
    let client = home.client_with(config, &[]).await.unwrap();
    let ended = async {
        let process = client.attach("web-0", AttachOptions { streams }).await?;
        let terminal = process.has_terminal();
        Ok((process.wait().await?.code, terminal))
    };
    let ended: crate::error::Result<_> = ended.await;
    (ended.map_err(|error| error.kind()), told.lines())
}

fn ended(id: &str, code: i32) -> Value {
    json!({"terminated": {"containerID": id, "exitCode": code}})
}

#[tokio::test]
async fn the_exit_code_is_that_of_the_container() {
    let server = server(json!({"name": "app"}), ended("a", 3)).await;
    let (outcome, told) = attach(&server, ExecOptions::default()).await;
    assert_eq!(outcome, Ok((3, false)));
    assert!(
        told.iter()
            .any(|line| line.contains("recorded in container logs"))
    );
}

#[tokio::test]
async fn a_stream_that_ends_before_the_container_is_no_success() {
    let server = server(json!({"name": "app"}), json!({"running": {}})).await;
    let (outcome, _) = attach(&server, ExecOptions::default()).await;
    assert_eq!(outcome, Err(ErrorKind::Lost));
}

#[tokio::test]
async fn another_instance_that_ended_says_nothing_of_ours() {
    let server = server(json!({"name": "app"}), ended("b", 0)).await;
    let (outcome, _) = attach(&server, ExecOptions::default()).await;
    assert_eq!(outcome, Err(ErrorKind::Lost));
}

#[tokio::test]
async fn input_for_a_container_without_it_is_refused_before_it_wedges() {
    let server = server(json!({"name": "app"}), json!({"running": {}})).await;
    let (outcome, _) = attach(&server, ExecOptions::default().stdin(true)).await;
    assert_eq!(outcome, Err(ErrorKind::Invalid));
    assert!(!server.lines().iter().any(|line| line.contains("/attach")));
}

#[tokio::test]
async fn the_terminal_is_that_of_the_container_whatever_was_asked() {
    for (has, wants) in [(true, false), (false, true), (true, true)] {
        let server = server(json!({"name": "app", "tty": has}), ended("a", 0)).await;
        let (outcome, told) = attach(&server, ExecOptions::default().tty(wants)).await;
        assert_eq!(outcome, Ok((0, has)));
        let complains = told
            .iter()
            .any(|line| line.contains("did not allocate one"));
        assert_eq!(complains, wants && !has);
        let heads = server.heads();
        let head = heads.iter().find(|head| head.contains("/attach")).unwrap();
        assert_eq!(header(head, "sec-websocket-protocol"), [V4]);
        assert_eq!(head.contains("tty=true"), has);
        assert_eq!(head.contains("stderr=true"), !has);
    }
}

#[tokio::test]
async fn what_can_only_be_a_mistake_is_refused_before_anything_is_sent() {
    let server = server(json!({"name": "app"}), json!({"running": {}})).await;
    let none = std::time::Duration::ZERO;
    let limits = crate::protocol::request::Limits::default;
    let options = ExecOptions::default;
    let size = |columns, rows| crate::protocol::request::Size::new(columns, rows);
    for streams in [
        options().limits(limits().connect(none)),
        options().limits(limits().keepalive_timeout(none)),
        options().limits(limits().stall(none)),
        options().pod_running_timeout(none),
        options().tty(true).size(size(0, 24)),
        options().tty(true).size(size(80, 0)),
    ] {
        let (outcome, _) = attach(&server, streams).await;
        assert_eq!(outcome, Err(ErrorKind::Invalid));
    }
    assert_eq!(server.connections(), 0);
}
