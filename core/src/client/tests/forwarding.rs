//! Port-forward: targets, ports and refusals, and what each is called.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::pods::pod;
use super::server::{Reply, Server, header};
use super::{Home, Told};
use crate::client::Client;
use crate::error::{Error, ErrorKind};
use crate::protocol::portforward::{ForwardOptions, ForwardProtocol, ForwardSubprotocol};
use crate::session::forward::Route as _;

pub(super) const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

/// A cluster with `deploy/web`, services and these pods, which can be changed.
#[derive(Clone)]
pub(super) struct Cluster {
    pub(super) pods: Arc<Mutex<Vec<Value>>>,
    pub(super) slices: Arc<Mutex<Option<Vec<Value>>>>,
    pub(super) events: broadcast::Sender<Value>,
    /// What is refused: `list`, `watch`.
    pub(super) forbidden: &'static [&'static str],
}

impl Cluster {
    pub(super) fn new(pods: Vec<Value>) -> Self {
        Self {
            pods: Arc::new(Mutex::new(pods)),
            slices: Arc::default(),
            events: broadcast::channel(16).0,
            forbidden: &[],
        }
    }

    /// Tells those who watch, and changes what others see.
    pub(super) fn tell(&self, kind: &str, pod: &Value) {
        let mut pods = self.pods.lock().unwrap();
        pods.retain(|it| it["metadata"]["name"] != pod["metadata"]["name"]);
        if kind != "DELETED" {
            pods.push(pod.clone());
        }
        let event = json!({"type": kind, "object": pod});
        // Without a watch nobody hears it.
        let _ = self.events.send(event);
    }

    pub(super) fn answer(&self, head: &str) -> Reply {
        let target = head.split(' ').nth(1).unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pods = self.pods.lock().unwrap().clone();
        let list = |items: &[Value]| {
            Reply::json(&json!({"metadata": {"resourceVersion": "1"}, "items": items}))
        };
        let is_watch = query.contains("watch=true");
        let forbidden = |verb| {
            let message = format!("cannot {verb} pods");
            let is_forbidden = self.forbidden.contains(&verb);
            is_forbidden.then(|| Reply::status(403, "Forbidden", &message))
        };
        let name = path.rsplit('/').next().unwrap();
        match name {
            "portforward" => Reply::Upgrade(TUNNEL, vec![]),
            "pods" if is_watch => {
                forbidden("watch").unwrap_or_else(|| Reply::Events(self.events.subscribe()))
            }
            "pods" => {
                forbidden("list").unwrap_or_else(|| match query.split_once("metadata.name%3D") {
                    Some((_, name)) => {
                        let named = |pod: &&Value| pod["metadata"]["name"] == name;
                        list(&pods.iter().filter(named).cloned().collect::<Vec<_>>())
                    }
                    None => list(&pods),
                })
            }
            "endpointslices" => match &*self.slices.lock().unwrap() {
                Some(_) if is_watch => Reply::Silence,
                Some(slices) => list(slices),
                None => Reply::status(403, "Forbidden", "no endpoints for you"),
            },
            "version" => Reply::json(&json!({"gitVersion": "v1"})),
            _ if path.contains("/services/") => Reply::json(&service(name)),
            _ if path.contains("/deployments/") => {
                Reply::json(&json!({"spec": {"selector": {"matchLabels": {"app": "web"}}}}))
            }
            _ => match pods.iter().find(|pod| pod["metadata"]["name"] == name) {
                Some(pod) => Reply::json(pod),
                None => Reply::status(404, "NotFound", &format!("pods \"{name}\" not found")),
            },
        }
    }

    pub(super) async fn serve(&self) -> (Server, Home) {
        let cluster = self.clone();
        let server = Server::start(move |head| cluster.answer(head)).await;
        let home = Home::new(&server.url(), "", "");
        (server, home)
    }
}

fn service(name: &str) -> Value {
    let spec = match name {
        "bare" => json!({"ports": [{"port": 80}]}),
        "away" => json!({"type": "ExternalName", "externalName": "db.example.com"}),
        _ => json!({
            "selector": {"app": "web"},
            "ports": [
                {"name": "http", "port": 80, "targetPort": "http"},
                {"name": "dns", "port": 53, "protocol": "UDP"},
            ],
        }),
    };
    json!({"metadata": {"name": name}, "spec": spec})
}

/// A pod that is ready, by its name, with an identity and a named port.
pub(super) fn ready(name: &str, uid: &str) -> Value {
    let mut pod = pod(name, uid);
    pod["metadata"]["uid"] = json!(uid);
    pod["spec"]["containers"][0]["ports"] = json!([{"name": "http", "containerPort": 8080}]);
    pod
}

pub(super) fn unready(name: &str, uid: &str) -> Value {
    let mut pod = ready(name, uid);
    pod["status"]["conditions"][0]["status"] = json!("False");
    pod
}

pub(super) fn terminating(name: &str, uid: &str) -> Value {
    let mut pod = ready(name, uid);
    pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    pod
}

pub(super) fn phase(name: &str, uid: &str, phase: &str) -> Value {
    let mut pod = ready(name, uid);
    pod["status"]["phase"] = json!(phase);
    pod
}

/// Short limits, and no listeners.
pub(super) fn short() -> ForwardOptions {
    ForwardOptions::default()
        .address(Vec::new())
        .pod_running_timeout(Duration::from_millis(50))
        .wait(Duration::from_millis(50))
}

async fn failing(cluster: &Cluster, target: &str, port: &str, options: ForwardOptions) -> Error {
    let (_server, home) = cluster.serve().await;
    let client = home.client().await.unwrap();
    client
        .port_forward(target, [port], options)
        .await
        .unwrap_err()
}

/// The three parts of an error.
fn parts(error: &Error) -> (ErrorKind, String, &str, String) {
    let why = error.why().unwrap_or_default();
    (
        error.kind(),
        error.to_string(),
        why,
        error.remedies().join(" | "),
    )
}

#[tokio::test]
async fn a_pod_is_looked_at_and_both_protocols_are_offered_with_one_port() {
    let cluster = Cluster::new(vec![ready("web-0", "a")]);
    let (server, home) = cluster.serve().await;
    let client = home.client().await.unwrap();
    for (protocol, offer) in [
        (
            ForwardProtocol::Auto,
            "SPDY/3.1+portforward.k8s.io, v4.channel.k8s.io",
        ),
        (ForwardProtocol::Only(ForwardSubprotocol::Tunnel), TUNNEL),
    ] {
        let options = short().protocol(protocol);
        let before = server.lines().len();
        let running = client.port_forward("web-0", ["http", "9"], options).await;
        assert!(running.unwrap().local_ports().is_empty());
        let heads = server.heads();
        let asked = heads.get(before..).unwrap().iter();
        // The watch of the pod comes beside that.
        let asked: Vec<_> = asked.filter(|head| !head.contains("/pods?")).collect();
        assert!(asked[0].starts_with("GET /api/v1/namespaces/default/pods/web-0 HTTP"));
        let upgrade = "GET /api/v1/namespaces/default/pods/web-0/portforward?ports=8080 HTTP";
        assert!(asked[1].starts_with(upgrade), "{}", asked[1]);
        assert_eq!(header(asked[1], "sec-websocket-protocol"), [offer]);
        assert_eq!(asked.len(), 2);
    }
}

#[tokio::test]
async fn a_service_listens_on_its_own_ports_and_tells_those_of_the_pod() {
    let cluster = Cluster::new(vec![ready("web-0", "a")]);
    let (server, home) = cluster.serve().await;
    let client = home.client().await.unwrap();
    let texts = ["80", "8081:http", ":80", "http"]
        .map(str::to_owned)
        .to_vec();
    let way = client.way("svc/web", texts, &short()).await.unwrap();
    let numbers = way.choose(None).await.unwrap().numbers;
    let wanted = way.wanted(&numbers);
    let wanted: Vec<_> = wanted
        .iter()
        .map(|it| (it.remote, it.local, it.number))
        .collect();
    assert_eq!(
        wanted,
        [(0, 80, 8080), (1, 8081, 8080), (2, 0, 8080), (3, 80, 8080)]
    );
    assert_eq!(way.wanted(&numbers)[0].target, "service/web");
    way.open(0, None).await.unwrap();
    let lines = server.lines();
    let upgrade = lines.iter().find(|line| line.contains("/portforward"));
    assert!(
        upgrade
            .unwrap()
            .contains("pods/web-0/portforward?ports=8080 ")
    );
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_without_a_request() {
    let server = Server::start(|_| Reply::Close).await;
    let home = Home::new(&server.url(), "", "");
    let client = home.client().await.unwrap();
    let usual = ForwardOptions::default;
    let limits = usual().limits;
    for (target, ports, options) in [
        ("WEB", &["80"][..], usual()),
        ("cronjob/web", &["80"], usual()),
        ("web-0", &[], usual()),
        ("web-0", &["53/UDP"], usual()),
        ("web-0", &["80:a:b"], usual()),
        ("web-0", &["80"], usual().namespace("a.b".to_owned())),
        (
            "web-0",
            &["80"],
            usual().address(vec!["example.com".to_owned()]),
        ),
        ("web-0", &["80"], usual().sessions(0_usize)),
        ("web-0", &["80"], usual().sessions(17_usize)),
        (
            "web-0",
            &["80", "81"],
            usual().unix(std::path::PathBuf::from("/x")),
        ),
        (
            "web-0",
            &["80"],
            usual().limits(limits.connect(Duration::ZERO)),
        ),
        (
            "web-0",
            &["80"],
            usual().pod_running_timeout(Duration::ZERO),
        ),
    ] {
        let error = client
            .port_forward(target, ports.to_vec(), options)
            .await
            .unwrap_err();
        let asked = server.lines().len();
        assert_eq!(
            (error.kind(), asked),
            (ErrorKind::Invalid, 0),
            "{target} {ports:?}"
        );
    }
}

#[tokio::test]
async fn what_a_target_lacks_is_said() {
    let cluster = Cluster::new(vec![ready("web-0", "a")]);
    let has = "it has: http (80), dns (53/UDP)";
    for (target, port, expected) in [
        (
            "web-9",
            "80",
            (
                ErrorKind::NotFound,
                "Error from server (NotFound): pods \"web-9\" not found",
                "",
                "",
            ),
        ),
        (
            "web-0",
            "grpc",
            (
                ErrorKind::NotFound,
                "Pod 'web-0' does not have a named port 'grpc'",
                "it has: http (8080)",
                "the port by its number: the pod need not declare it",
            ),
        ),
        (
            "svc/bare",
            "80",
            (
                ErrorKind::Invalid,
                "invalid service 'bare': Service is defined without a selector",
                "there is no way to tell which pods belong to it",
                "name a pod",
            ),
        ),
        (
            "svc/away",
            "80",
            (
                ErrorKind::Invalid,
                "service/away is an ExternalName: it has no pods",
                "it is another name for db.example.com",
                "connect to db.example.com itself, or name a pod",
            ),
        ),
        (
            "svc/web",
            "81",
            (
                ErrorKind::NotFound,
                "Service web does not have a service port 81",
                has,
                "",
            ),
        ),
        (
            "svc/web",
            "https",
            (
                ErrorKind::NotFound,
                "Service 'web' does not have a named port 'https'",
                has,
                "",
            ),
        ),
        (
            "svc/web",
            "dns",
            (
                ErrorKind::Unsupported,
                "UDP protocol is not supported for 53",
                "Kubernetes forwards TCP connections and nothing else",
                "a TCP port, where the pod serves the same over TCP, as DNS does | \
                 kubectl wsx exec POD -- …   # a client of that protocol, in the pod",
            ),
        ),
    ] {
        let error = failing(&cluster, target, port, short()).await;
        let (kind, what, why, remedies) = parts(&error);
        assert_eq!((kind, &*what, why, &*remedies), expected, "{target} {port}");
    }
}

#[tokio::test]
async fn a_pod_that_does_not_run_is_waited_for_and_named() {
    let running = "unable to forward port because pod is not running. Current status=";
    for (phase_now, why, waits) in [
        (
            "Pending",
            "after 50ms (--pod-running-timeout): web-0 is Pending",
            1,
        ),
        ("Succeeded", "the pod has ended", 0),
        ("Failed", "the pod has ended", 0),
    ] {
        let cluster = Cluster::new(vec![phase("web-0", "a", phase_now)]);
        let (server, home) = cluster.serve().await;
        let told = Told::default();
        let config = home.config().observer(told.observer());
        let client = home.client_with(config, &[]).await.unwrap();
        let error = client
            .port_forward("web-0", ["80"], short())
            .await
            .unwrap_err();
        let expected = (
            ErrorKind::NotStarted,
            format!("{running}{phase_now}"),
            why,
            String::new(),
        );
        assert_eq!(parts(&error), expected);
        assert_eq!(told.lines().len(), waits, "{:?}", told.lines());
        assert!(
            !server
                .lines()
                .iter()
                .any(|line| line.contains("/portforward"))
        );
    }
}

#[tokio::test]
async fn pods_of_a_workload_have_to_be_ready() {
    let pods = [
        unready("web-0", "a"),
        terminating("web-1", "b"),
        phase("web-2", "c", "Failed"),
        phase("web-3", "d", "Pending"),
    ];
    let ready_too = "--require-ready=false   # takes a pod that is not ready, as kubectl does";
    for (target, pods, why, remedy) in [
        ("deploy/web", &pods[..0], "there is no such pod", ""),
        (
            "svc/web",
            &pods[..],
            "web-0 is not ready, web-1 is being deleted, web-2 has ended (Failed), and 1 more",
            ready_too,
        ),
    ] {
        let cluster = Cluster::new(pods.to_vec());
        let error = failing(&cluster, target, "80", short()).await;
        let name = target
            .replace("deploy/", "deployment/")
            .replace("svc/", "service/");
        let message = format!("no pod of {name} is ready within 50ms (--pod-running-timeout)");
        let expected = (ErrorKind::NotStarted, message, why, remedy.to_owned());
        assert_eq!(parts(&error), expected, "{target}");
    }
}

/// The pod that is taken.
async fn taken(pods: Vec<Value>, options: ForwardOptions) -> String {
    let (_server, home) = Cluster::new(pods).serve().await;
    let client = home.client().await.unwrap();
    let way = client
        .way("deploy/web", vec!["80".to_owned()], &options)
        .await
        .unwrap();
    way.open(0, None).await.unwrap().pod
}

#[tokio::test]
async fn of_those_that_may_be_used_the_one_of_kubectl_is_taken() {
    let mut older = ready("older", "c");
    older["status"]["conditions"][0]["lastTransitionTime"] = json!("2025-01-01T00:00:00Z");
    let pods = [
        unready("unready", "a"),
        terminating("leaving", "b"),
        ready("ready", "d"),
    ];
    assert_eq!(
        taken([&pods[..], &[older]].concat(), short()).await,
        "older"
    );
    assert_eq!(taken(pods.to_vec(), short()).await, "ready");
    let any = short().require_ready(false);
    assert_eq!(taken(pods[..2].to_vec(), any.clone()).await, "leaving");
    assert_eq!(taken(pods[..1].to_vec(), any).await, "unready");
}

#[tokio::test]
async fn a_refused_upgrade_says_why() {
    const BOTH: &str = "SPDY/3.1+portforward.k8s.io nor v4.channel.k8s.io";
    let silent = || Reply::of("403 Forbidden", "", "");
    let without_text = "it answered 403 without a text, before anything was started";
    let verbs = "allow get and create on pods/portforward: Kubernetes 1.35 and later ask for both";
    let only = ForwardProtocol::Only(ForwardSubprotocol::V4);
    type Make = fn() -> Reply;
    for (reply, protocol, kind, what, why, remedy) in [
        (
            silent as Make,
            ForwardProtocol::Auto,
            ErrorKind::Unsupported,
            format!("the server speaks neither {BOTH}"),
            without_text,
            "--protocol v4   # or tunnel: offers one of them alone",
        ),
        (
            silent,
            only,
            ErrorKind::Unsupported,
            "the server refused the protocol v4.channel.k8s.io".to_owned(),
            without_text,
            "--protocol auto   # offers both",
        ),
        (
            || Reply::status(403, "Forbidden", "no"),
            ForwardProtocol::Auto,
            ErrorKind::Forbidden,
            "Error from server (Forbidden): no".to_owned(),
            "",
            verbs,
        ),
        (
            || Reply::Upgrade("v4.channel.k8s.io", vec![]),
            ForwardProtocol::Only(ForwardSubprotocol::Tunnel),
            ErrorKind::Protocol,
            "the server's 101 answer is invalid".to_owned(),
            "",
            "",
        ),
        (
            || Reply::Close,
            ForwardProtocol::Auto,
            ErrorKind::Lost,
            "the connection to HOST ended before an answer".to_owned(),
            "the server or something before it closed the connection",
            "",
        ),
    ] {
        let cluster = Cluster::new(vec![ready("web-0", "a")]);
        let server = Server::start(move |head| match head.contains("/portforward") {
            true => reply(),
            false => cluster.answer(head),
        })
        .await;
        let home = Home::new(&server.url(), "", "");
        let client = home.client().await.unwrap();
        let options = short().protocol(protocol);
        let error = client
            .port_forward("web-0", ["80"], options)
            .await
            .unwrap_err();
        let expected = (kind, what, why, remedy.to_owned());
        let (kind, what, why, remedies) = parts(&error);
        let what = what.replace(&server.address.to_string(), "HOST");
        assert_eq!((kind, what, why, remedies), expected);
    }
}

#[tokio::test]
async fn a_pod_that_may_not_be_read_is_an_error_for_this_verb() {
    let server = Server::start(|_| Reply::status(403, "Forbidden", "cannot get pods")).await;
    let home = Home::new(&server.url(), "", "");
    let client = home.client().await.unwrap();
    let error = client
        .port_forward("web-0", ["80"], short())
        .await
        .unwrap_err();
    let what = "Error from server (Forbidden): cannot get pods".to_owned();
    let remedy = "allow get on pods".to_owned();
    assert_eq!(parts(&error), (ErrorKind::Forbidden, what, "", remedy));
    assert_eq!(error.http_status(), Some(403));
    assert_eq!(error.reason(), Some("Forbidden"));
}

#[test]
fn a_port_forward_can_be_started_from_any_thread() {
    fn sent(_: impl Send) {}
    #[expect(dead_code, reason = "it is enough that it compiles")]
    fn started(client: &Client) {
        sent(client.port_forward("web-0", ["80"], ForwardOptions::default()));
    }
}
