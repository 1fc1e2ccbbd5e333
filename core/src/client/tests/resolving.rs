//! How many requests it takes to find a pod, and what is waited for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::pods::pod;
use super::server::{Reply, Server};
use super::{Home, Told, direct};
use crate::error::ErrorKind;
use crate::protocol::request::ExecOptions;

/// A cluster with a deployment, a service without a selector, and these pods.
fn cluster(pods: Vec<Value>) -> impl Fn(&str) -> Reply + Send + Sync + 'static {
    move |head: &str| {
        let target = head.split(' ').nth(1).unwrap();
        let path = target.split('?').next().unwrap();
        let name = path.rsplit('/').next().unwrap();
        if path.ends_with("/exec") {
            return Reply::session("v4.channel.k8s.io");
        }
        if path.ends_with("/deployments/web") {
            return Reply::json(&json!({"spec": {"selector": {"matchLabels": {"app": "web"}}}}));
        }
        if path.ends_with("/services/bare") {
            return Reply::json(&json!({"spec": {}}));
        }
        if target.ends_with("/pods?labelSelector=app%3Dweb") {
            return Reply::json(&json!({"items": pods}));
        }
        match pods.iter().find(|pod| pod["metadata"]["name"] == name) {
            Some(pod) => Reply::json(pod),
            None => Reply::status(404, "NotFound", &format!("pods \"{name}\" not found")),
        }
    }
}

async fn requests(target: &str, options: ExecOptions) -> (Vec<String>, Vec<String>) {
    let server = Server::start(cluster(vec![pod("web-0", "a"), pod("web-1", "b")])).await;
    let home = Home::new(&server.url(), "", "");
    let told = Told::default();
    let client = home
        .client_with(home.config().observer(told.observer()), &[])
        .await
        .unwrap();
    client.exec(target, ["true"], options).await.unwrap();
    let lines = server.lines();
    let paths = lines.iter().map(|line| {
        let path = line.split([' ', '?']).nth(1).unwrap();
        path.trim_start_matches("/api/v1/namespaces/default/")
            .to_owned()
    });
    (paths.collect(), told.lines())
}

#[tokio::test]
async fn one_request_where_all_is_named() {
    let (paths, _) = requests("web-0", direct()).await;
    assert_eq!(paths, ["pods/web-0/exec"]);
}

#[tokio::test]
async fn two_requests_for_a_pod() {
    let (paths, told) = requests("web-0", ExecOptions::default()).await;
    assert_eq!(paths, ["pods/web-0", "pods/web-0/exec"]);
    assert!(told.is_empty());
}

#[tokio::test]
async fn three_requests_for_a_workload() {
    let (paths, told) = requests("deploy/web", ExecOptions::default()).await;
    assert_eq!(
        paths,
        [
            "/apis/apps/v1/namespaces/default/deployments/web",
            "pods",
            "pods/web-0/exec"
        ]
    );
    assert_eq!(told, ["Using pod/web-0 (1 of 2), container \"app\""]);
}

async fn failing(
    target: &str,
    options: ExecOptions,
    pods: Vec<Value>,
) -> (crate::Error, Vec<String>, usize) {
    let server = Server::start(cluster(pods)).await;
    let home = Home::new(&server.url(), "", "");
    let told = Told::default();
    let client = home
        .client_with(home.config().observer(told.observer()), &[])
        .await
        .unwrap();
    let error = client.exec(target, ["true"], options).await.unwrap_err();
    (error, told.lines(), server.lines().len())
}

#[tokio::test]
async fn a_pod_that_is_not_there_is_told_in_the_words_of_the_server() {
    let (error, _, requests) = failing("web-9", ExecOptions::default(), vec![]).await;
    assert_eq!((error.kind(), requests), (ErrorKind::NotFound, 1));
    assert_eq!(
        error.to_string(),
        "Error from server (NotFound): pods \"web-9\" not found"
    );
}

#[tokio::test]
async fn a_service_without_a_selector_has_no_pods() {
    let (error, _, requests) = failing("svc/bare", ExecOptions::default(), vec![]).await;
    assert_eq!((error.kind(), requests), (ErrorKind::Invalid, 1));
    assert_eq!(
        error.to_string(),
        "invalid service 'bare': Service is defined without a selector"
    );
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_without_a_request() {
    for (target, command) in [("WEB", "true"), ("a/b/c", "true"), ("web-0", "a\0b")] {
        let server = Server::start(|_| Reply::Close).await;
        let home = Home::new(&server.url(), "", "");
        let client = home.client().await.unwrap();
        let error = client
            .exec(target, [command], ExecOptions::default())
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), server.lines().len()),
            (ErrorKind::Invalid, 0),
            "{target}"
        );
    }
}

#[tokio::test]
async fn a_container_that_crashes_is_waited_for_and_named() {
    let mut crashing = pod("web-0", "a");
    crashing["status"]["containerStatuses"][0]["state"] =
        json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let options = ExecOptions::default().pod_running_timeout(Duration::from_millis(10));
    for target in ["web-0", "deploy/web"] {
        let (error, told, _) = failing(target, options.clone(), vec![crashing.clone()]).await;
        assert_eq!(error.kind(), ErrorKind::NotStarted);
        assert!(
            error
                .to_string()
                .ends_with("is not running within 10ms (--pod-running-timeout)")
        );
        assert_eq!(
            error.why(),
            Some("container app is waiting: CrashLoopBackOff")
        );
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].ends_with("container app is waiting: CrashLoopBackOff"));
    }
    let (error, ..) = failing("deploy/web", options, vec![]).await;
    assert_eq!(error.why(), Some("no pod matches its selector"));
}

#[tokio::test]
async fn a_pod_that_begins_to_run_is_entered() {
    let looks = AtomicUsize::new(0);
    let mut pending = pod("web-0", "a");
    pending["status"] = json!({"phase": "Pending"});
    let (before, after) = (cluster(vec![pending]), cluster(vec![pod("web-0", "a")]));
    let server = Server::start(move |head| match looks.fetch_add(1, Ordering::Relaxed) {
        0 => before(head),
        _ => after(head),
    })
    .await;
    let home = Home::new(&server.url(), "", "");
    let told = Told::default();
    let client = home
        .client_with(home.config().observer(told.observer()), &[])
        .await
        .unwrap();
    client
        .exec("web-0", ["true"], ExecOptions::default())
        .await
        .unwrap();
    assert_eq!(told.lines(), ["waiting for pod/web-0: the pod is Pending"]);
    assert_eq!(server.lines().len(), 3);
}

#[tokio::test]
async fn the_time_limit_of_the_caller_ends_the_waiting() {
    let mut pending = pod("web-0", "a");
    pending["status"] = json!({"phase": "Pending"});
    let options = ExecOptions::default().timeout(Duration::from_millis(100));
    let (error, ..) = failing("web-0", options, vec![pending]).await;
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(
        error.why(),
        Some("after 100ms it was still waiting for the pod to run")
    );
}
