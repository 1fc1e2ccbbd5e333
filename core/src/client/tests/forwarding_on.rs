//! Port-forward that goes on: pods that go and come, what may be read of them, a server that is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::yield_now;
use tokio::time::{Instant, advance, pause, resume, timeout};

use super::forwarding::*;
use super::server::{Reply, Server};
use super::{Home, Told};
use crate::client::forward::Way;
use crate::error::ErrorKind;
use crate::protocol::portforward::{Balance, ForwardOptions};
use crate::session::forward::{Opened, Route as _, Unopened};

/// Nothing here takes longer.
const LONG: Duration = Duration::from_secs(30);

struct Scene {
    cluster: Cluster,
    server: Server,
    told: Told,
    way: Way,
}

async fn scene(cluster: Cluster, target: &str, options: &ForwardOptions) -> Scene {
    let (server, home) = cluster.serve().await;
    let told = Told::default();
    let config = home.config().observer(told.observer());
    let client = home.client_with(config, &[]).await.unwrap();
    let way = client
        .way(target, vec!["80".to_owned()], options)
        .await
        .unwrap();
    Scene {
        cluster,
        server,
        told,
        way,
    }
}

/// Waits until something is so.
async fn until(mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            yield_now().await;
        }
    };
    timeout(LONG, waiting).await.unwrap();
}

/// Waits until pods are watched.
async fn watched(server: &Server) {
    let is_watch = |line: &String| line.contains("/pods?") && line.contains("watch=true");
    until(|| server.lines().iter().any(is_watch)).await;
}

async fn why(opened: Opened) -> String {
    timeout(LONG, opened.gone).await.unwrap()
}

/// What becomes of the session with `web-0` after an event, and the pod of the next one.
async fn after(target: &str, kind: &str, object: Value) -> (String, String) {
    let pods = vec![ready("web-0", "a")];
    let options = short().wait(LONG);
    let Scene {
        cluster,
        server,
        way,
        ..
    } = scene(Cluster::new(pods), target, &options).await;
    let opened = way.open(0, None).await.unwrap();
    let port = if target == "svc/web" { 8080 } else { 80 };
    assert_eq!((&*opened.pod, opened.ports[0].get()), ("web-0", port));
    watched(&server).await;
    cluster.tell(kind, &object);
    let why = why(opened).await;
    let name = if target == "web-0" { "web-0" } else { "web-1" };
    cluster.tell("ADDED", &ready(name, "z"));
    let again = timeout(LONG, way.open(0, None)).await.unwrap().unwrap();
    (why, again.pod)
}

#[tokio::test]
async fn a_pod_that_may_not_be_used_any_more_is_left_for_another() {
    for (target, kind, object, expected) in [
        (
            "deploy/web",
            "DELETED",
            ready("web-0", "a"),
            "pod web-0 is gone",
        ),
        (
            "deploy/web",
            "MODIFIED",
            terminating("web-0", "a"),
            "pod web-0 is being deleted",
        ),
        (
            "svc/web",
            "MODIFIED",
            unready("web-0", "a"),
            "pod web-0 is not ready",
        ),
        (
            "deploy/web",
            "MODIFIED",
            phase("web-0", "a", "Failed"),
            "pod web-0 has ended (Failed)",
        ),
        ("web-0", "DELETED", ready("web-0", "a"), "pod web-0 is gone"),
        (
            "web-0",
            "MODIFIED",
            phase("web-0", "a", "Succeeded"),
            "pod web-0 has ended (Succeeded)",
        ),
        (
            "web-0",
            "ADDED",
            ready("web-0", "b"),
            "pod web-0 was replaced by another of its name",
        ),
    ] {
        let (why, next) = after(target, kind, object).await;
        let name = if target == "web-0" { "web-0" } else { "web-1" };
        assert_eq!((&*why, &*next), (expected, name), "{target} {kind}");
    }
}

#[tokio::test]
async fn a_pod_that_is_named_is_taken_as_it_is() {
    let Scene {
        cluster,
        server,
        way,
        ..
    } = scene(Cluster::new(vec![unready("web-0", "a")]), "web-0", &short()).await;
    let opened = way.open(0, None).await.unwrap();
    watched(&server).await;
    cluster.tell("MODIFIED", &terminating("web-0", "a"));
    cluster.tell("DELETED", &terminating("web-0", "a"));
    // Only the second one is a reason.
    assert_eq!(why(opened).await, "pod web-0 is gone");
}

#[tokio::test]
async fn the_pod_of_the_last_session_is_taken_again_while_it_goes() {
    let mut older = ready("older", "b");
    older["status"]["conditions"][0]["lastTransitionTime"] = json!("2025-01-01T00:00:00Z");
    let Scene {
        cluster,
        server,
        way,
        ..
    } = scene(
        Cluster::new(vec![ready("web-0", "a")]),
        "deploy/web",
        &short(),
    )
    .await;
    way.open(0, None).await.unwrap();
    watched(&server).await;
    cluster.tell("ADDED", &older);
    until(|| way.pods() == ["web-0", "older"]).await;
    assert_eq!(way.open(0, None).await.unwrap().pod, "web-0");
    assert_eq!(way.open(0, Some("older")).await.unwrap().pod, "older");
    let unopened = way.open(0, Some("web-7")).await.err().unwrap();
    assert!(!unopened.lasting);
    assert_eq!(
        unopened.error.to_string(),
        "pod web-7 may not be used any more"
    );
}

#[tokio::test]
async fn a_pod_that_does_not_come_back_ends_it() {
    for (target, what, reason) in [
        (
            "web-0",
            "pod/web-0 did not come back within 50ms (--wait)",
            "there is no such pod",
        ),
        (
            "svc/web",
            "no pod of service/web became ready within 50ms (--wait)",
            "web-1 is not ready",
        ),
    ] {
        let pods = vec![ready("web-0", "a"), unready("web-1", "b")];
        let Scene {
            cluster,
            server,
            told,
            way,
        } = scene(Cluster::new(pods), target, &short()).await;
        let opened = way.open(0, None).await.unwrap();
        watched(&server).await;
        cluster.tell("DELETED", &ready("web-0", "a"));
        why(opened).await;
        let unopened = way.open(0, None).await.err().unwrap();
        let error = unopened.error;
        assert_eq!((unopened.lasting, error.kind()), (true, ErrorKind::Lost));
        assert_eq!((&*error.to_string(), error.why()), (what, Some(reason)));
        let name = target
            .replace("web-0", "pod/web-0")
            .replace("svc/", "service/");
        assert_eq!(told.lines(), [format!("waiting for {name}: {reason}")]);
    }
}

#[tokio::test]
async fn who_may_not_watch_looks_every_second() {
    for (forbidden, target) in [
        (&["watch"][..], "deploy/web"),
        (&["watch"], "web-0"),
        // What kubectl needs: get.
        (&["watch", "list"], "web-0"),
    ] {
        let mut cluster = Cluster::new(vec![ready("web-0", "a")]);
        cluster.forbidden = forbidden;
        let Scene {
            cluster,
            server,
            told,
            way,
        } = scene(cluster, target, &short()).await;
        let opened = way.open(0, None).await.unwrap();
        until(|| !told.lines().is_empty()).await;
        cluster.tell("DELETED", &ready("web-0", "a"));
        pause();
        advance(Duration::from_secs(1)).await;
        resume();
        assert_eq!(why(opened).await, "pod web-0 is gone", "{forbidden:?}");
        let notice = "pods are not watched, but looked at every 1s: Error from server \
                      (Forbidden): cannot watch pods";
        assert_eq!(told.lines(), [notice], "{forbidden:?}");
        // What is refused is not asked for every second.
        let is_list = |line: &&String| line.contains("/pods?") && !line.contains("watch=true");
        let lists = server.lines().iter().filter(is_list).count();
        assert!(!forbidden.contains(&"list") || lists == 1, "{lists}");
        drop(server);
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_knocked_at_and_no_pod_is_given_up_meanwhile() {
    let cluster = Cluster::new(vec![ready("web-0", "a")]);
    // What is waited for here is the server, so that this has to be of no effect.
    let options = short().wait(Duration::from_millis(1));
    let Scene { server, way, .. } = scene(cluster.clone(), "deploy/web", &options).await;
    let address = server.address;
    let opened = way.open(0, None).await.unwrap();
    watched(&server).await;
    drop((server, opened));
    for _ in 0..2 {
        let begin = Instant::now();
        let unopened = timeout(LONG, way.open(0, None))
            .await
            .unwrap()
            .err()
            .unwrap();
        assert!(!unopened.lasting, "{}", unopened.error.report());
        assert!(begin.elapsed() < Duration::from_secs(5));
    }
    // The pod was replaced while nobody could see that.
    cluster.tell("DELETED", &ready("web-0", "a"));
    cluster.tell("ADDED", &ready("web-1", "b"));
    let expired = AtomicBool::new(false);
    let server = Server::start_at(address, None, move |head| {
        match head.contains("watch=true") && !expired.swap(true, Ordering::SeqCst) {
            true => Reply::status(410, "Expired", "too old resource version"),
            false => cluster.answer(head),
        }
    })
    .await;
    let begin = Instant::now();
    loop {
        match timeout(LONG, way.open(0, None)).await.unwrap() {
            Ok(opened) if opened.pod == "web-1" => break,
            // What is known was old.
            Ok(_) => yield_now().await,
            Err(unopened) => assert!(!unopened.lasting, "{}", unopened.error.report()),
        }
    }
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "{:?}",
        begin.elapsed()
    );
    drop(server);
}

#[tokio::test]
async fn the_wait_for_a_pod_does_not_run_while_the_server_is_away() {
    let options = short().wait(Duration::from_secs(5));
    let cluster = Cluster::new(vec![ready("web-0", "a")]);
    let Scene {
        cluster,
        server,
        way,
        ..
    } = scene(cluster, "deploy/web", &options).await;
    let opened = way.open(0, None).await.unwrap();
    watched(&server).await;
    cluster.tell("DELETED", &ready("web-0", "a"));
    assert_eq!(why(opened).await, "pod web-0 is gone");
    drop(server);
    for _ in 0..2 {
        let unopened = timeout(LONG, way.open(0, None)).await.unwrap();
        let Unopened { error, lasting } = unopened.err().unwrap();
        assert_eq!((lasting, error.kind()), (false, ErrorKind::Lost));
        assert_eq!(error.to_string(), "the server cannot be reached");
        pause();
        advance(Duration::from_secs(10)).await;
        resume();
    }
}

#[tokio::test]
async fn a_refusal_is_final_at_first_and_later_after_the_wait() {
    let cluster = Cluster::new(vec![ready("web-0", "a")]);
    let refusing = Arc::new(AtomicBool::new(false));
    let (refuses, answering) = (Arc::clone(&refusing), cluster.clone());
    let server = Server::start(move |head| {
        match refuses.load(Ordering::SeqCst) && head.contains("/portforward") {
            true => Reply::status(403, "Forbidden", "the server is starting"),
            false => answering.answer(head),
        }
    })
    .await;
    let home = Home::new(&server.url(), "", "");
    let client = home.client().await.unwrap();
    let options = short().wait(Duration::from_millis(200));
    let way = client
        .way("web-0", vec!["80".to_owned()], &options)
        .await
        .unwrap();
    let refuse = |on| refusing.store(on, Ordering::SeqCst);
    let kind = async || {
        way.open(0, None)
            .await
            .err()
            .map(|it| (it.error.kind(), it.lasting))
    };
    refuse(true);
    assert_eq!(kind().await, Some((ErrorKind::Forbidden, true)));
    refuse(false);
    assert_eq!(kind().await, None);
    refuse(true);
    assert_eq!(kind().await, Some((ErrorKind::Forbidden, false)));
    pause();
    advance(Duration::from_millis(200)).await;
    resume();
    assert_eq!(kind().await, Some((ErrorKind::Forbidden, true)));
}

#[tokio::test]
async fn refusals_from_before_an_outage_do_not_count() {
    let cluster = Cluster::new(vec![ready("web-0", "a")]);
    let refuses = Arc::new(AtomicBool::new(false));
    let answer = || {
        let (refuses, cluster) = (Arc::clone(&refuses), cluster.clone());
        move |head: &str| match refuses.load(Ordering::SeqCst) && head.contains("/portforward") {
            true => Reply::status(403, "Forbidden", "the server is starting"),
            false => cluster.answer(head),
        }
    };
    let server = Server::start(answer()).await;
    let address = server.address;
    let home = Home::new(&server.url(), "", "");
    let client = home.client().await.unwrap();
    let options = short().wait(Duration::from_secs(5));
    let way = client
        .way("web-0", vec!["80".to_owned()], &options)
        .await
        .unwrap();
    way.open(0, None).await.unwrap();
    refuses.store(true, Ordering::SeqCst);
    let failed = async || {
        let Unopened { error, lasting } = way.open(0, None).await.err().unwrap();
        (error.kind(), lasting)
    };
    assert_eq!(failed().await, (ErrorKind::Forbidden, false));
    drop(server);
    assert_eq!(failed().await, (ErrorKind::NotStarted, false));
    let server = Server::start_at(address, None, answer()).await;
    pause();
    advance(Duration::from_secs(5)).await;
    resume();
    assert_eq!(failed().await, (ErrorKind::Forbidden, false));
    drop(server);
}

#[tokio::test]
async fn connections_are_spread_over_the_endpoints_of_a_service() {
    let slice = |uid: &str, ready: Value| {
        let target = json!({"kind": "Pod", "name": "x", "uid": uid});
        json!({"conditions": {"ready": ready}, "targetRef": target})
    };
    let slices = [
        json!({"metadata": {"name": "s-1"}, "endpoints": [slice("a", json!(true))]}),
        json!({"metadata": {"name": "s-2"}, "endpoints": [
            slice("b", json!(false)), slice("c", Value::Null), {"addresses": ["10.0.0.1"]},
        ]}),
        json!({"metadata": {"name": "s-3"}, "endpoints": null}),
    ];
    let pods: Vec<_> = ["a", "b", "c", "d"]
        .map(|uid| ready(&format!("web-{uid}"), uid))
        .into();
    let balanced = short().balance(Balance::RoundRobin);
    for (target, slices, expected) in [
        ("svc/web", Some(slices.to_vec()), &["web-a", "web-c"][..]),
        // They may not be read.
        ("svc/web", None, &["web-a", "web-b", "web-c", "web-d"]),
        (
            "deploy/web",
            Some(slices.to_vec()),
            &["web-a", "web-b", "web-c", "web-d"],
        ),
    ] {
        let cluster = Cluster::new(pods.clone());
        *cluster.slices.lock().unwrap() = slices;
        let Scene { server, way, .. } = scene(cluster, target, &balanced).await;
        assert_eq!(way.pods(), expected, "{target}");
        let asked = server
            .lines()
            .iter()
            .any(|line| line.contains("service-name%3Dweb"));
        assert_eq!(asked, target == "svc/web");
    }
}

#[tokio::test]
async fn a_watch_that_died_in_silence_is_doubted_by_what_contradicts_it() {
    let cluster = Cluster::new(vec![ready("web-0", "a")]);
    let (dead, answering) = (Arc::new(AtomicBool::new(true)), cluster.clone());
    let is_dead = Arc::clone(&dead);
    let server = Server::start(move |head| {
        let is_upgrade = head.contains("web-0/portforward");
        match (is_dead.load(Ordering::SeqCst), head.contains("watch=true")) {
            (true, true) => Reply::Silence,
            (false, _) if is_upgrade => Reply::status(404, "NotFound", "no such pod"),
            _ => answering.answer(head),
        }
    })
    .await;
    let home = Home::new(&server.url(), "", "");
    let client = home.client().await.unwrap();
    let options = short().wait(LONG);
    let way = client
        .way("deploy/web", vec!["80".to_owned()], &options)
        .await
        .unwrap();
    let opened = way.open(0, None).await.unwrap();
    watched(&server).await;
    cluster.tell("DELETED", &ready("web-0", "a"));
    cluster.tell("ADDED", &ready("web-1", "b"));
    dead.store(false, Ordering::SeqCst);
    let unopened = way.open(0, None).await.err().unwrap();
    assert_eq!(
        (unopened.lasting, unopened.error.http_status()),
        (false, Some(404))
    );
    assert_eq!(why(opened).await, "pod web-0 is gone");
    assert_eq!(way.open(0, None).await.unwrap().pod, "web-1");
}

#[tokio::test]
async fn a_session_in_place_of_another_has_the_pods_looked_at() {
    let Scene { server, way, .. } = scene(
        Cluster::new(vec![ready("web-0", "a")]),
        "deploy/web",
        &short(),
    )
    .await;
    let lists = || {
        let lines = server.lines();
        let is_list = |line: &&String| line.contains("/pods?") && !line.contains("watch=true");
        lines.iter().filter(is_list).count()
    };
    way.open(0, None).await.unwrap();
    watched(&server).await;
    assert_eq!(lists(), 1);
    way.open(0, None).await.unwrap();
    until(|| lists() == 2).await;
    // Many at once are no reason for many looks.
    for _ in 0..3 {
        way.open(0, None).await.unwrap();
    }
    assert_eq!(lists(), 2);
}

#[tokio::test]
async fn before_a_pod_is_given_up_all_are_looked_at_once_more() {
    let cluster = Cluster::new(vec![ready("web-0", "a")]);
    let Scene {
        cluster,
        server,
        way,
        ..
    } = scene(cluster, "deploy/web", &short()).await;
    let opened = way.open(0, None).await.unwrap();
    watched(&server).await;
    cluster.tell("DELETED", &ready("web-0", "a"));
    assert_eq!(why(opened).await, "pod web-0 is gone");
    // The watch does not tell of it.
    cluster.pods.lock().unwrap().push(ready("web-1", "b"));
    assert_eq!(way.open(0, None).await.unwrap().pod, "web-1");
    drop(server);
}

#[tokio::test]
async fn no_pod_is_given_up_by_a_server_that_does_not_answer() {
    let cluster = Cluster::new(vec![ready("web-0", "a")]);
    let (silent, answering) = (Arc::new(AtomicBool::new(false)), cluster.clone());
    let is_silent = Arc::clone(&silent);
    let server = Server::start(move |head| match is_silent.load(Ordering::SeqCst) {
        true => Reply::Silence,
        false => answering.answer(head),
    })
    .await;
    let home = Home::new(&server.url(), "", "");
    let client = home.client().await.unwrap();
    let limits = short().limits.connect(Duration::from_millis(50));
    let options = short().limits(limits);
    let way = client
        .way("deploy/web", vec!["80".to_owned()], &options)
        .await
        .unwrap();
    let opened = way.open(0, None).await.unwrap();
    watched(&server).await;
    silent.store(true, Ordering::SeqCst);
    cluster.tell("DELETED", &ready("web-0", "a"));
    assert_eq!(why(opened).await, "pod web-0 is gone");
    let Unopened { error, lasting } = way.open(0, None).await.err().unwrap();
    assert_eq!(error.to_string(), "the server does not answer");
    assert!(!lasting);
}
