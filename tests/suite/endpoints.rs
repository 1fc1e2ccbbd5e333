//! What the embedded cluster tells of services and where they lead.

use serde_json::{Value, json};
use wsx_tests::cluster::Cluster;

use crate::raw::Raw;
use crate::talk::json as parsed;

const CORE: &str = "/api/v1/namespaces/ports";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/ports/endpointslices";

fn cluster() -> Cluster {
    Cluster::spawn().unwrap()
}

fn get(cluster: &Cluster, target: &str) -> Value {
    let (status, page) = Raw::request(cluster, "plain", target, &[]).page();
    assert_eq!(status, 200, "{target}: {page}");
    parsed(&page)
}

fn slices(cluster: &Cluster, service: &str) -> Vec<Value> {
    let target = format!("{SLICES}?labelSelector=kubernetes.io%2Fservice-name%3D{service}");
    let mut list = get(cluster, &target);
    assert_eq!(list["kind"], "EndpointSliceList");
    serde_json::from_value(list["items"].take()).unwrap()
}

/// Names of pods that a slice leads to, and which are ready.
fn endpoints(slice: &Value) -> Vec<(String, bool)> {
    let all = slice["endpoints"].as_array().into_iter().flatten();
    all.map(|one| {
        let name = one["targetRef"]["name"].as_str().unwrap();
        (name.to_owned(), one["conditions"]["ready"] == true)
    })
    .collect()
}

fn named(names: &[(&str, bool)]) -> Vec<(String, bool)> {
    let owned = names
        .iter()
        .map(|(name, ready)| ((*name).to_owned(), *ready));
    owned.collect()
}

#[test]
fn services_lead_to_the_pods_they_select() {
    let cluster = cluster();
    let front = &slices(&cluster, "front")[0];
    // Not ready is not ready, and terminating neither.
    let expected = [
        ("front-a", true),
        ("front-b", true),
        ("front-c", false),
        ("front-d", false),
    ];
    assert_eq!(endpoints(front), named(&expected));
    assert_eq!(
        front["ports"][0],
        json!({"name": "http", "port": 8080, "protocol": "TCP"})
    );
    assert_eq!(slices(&cluster, "missing")[0]["ports"], json!([]));
    assert_eq!(slices(&cluster, "empty")[0]["endpoints"], Value::Null);
    assert_eq!(endpoints(&slices(&cluster, "waits")[0]), []);
    assert_eq!(
        endpoints(&slices(&cluster, "headless")[0]),
        named(&[("db-0", true)])
    );
    assert_eq!(slices(&cluster, "noselector"), [] as [Value; 0]);
    assert_eq!(slices(&cluster, "external"), [] as [Value; 0]);
    let external = get(&cluster, &format!("{CORE}/services/external"));
    assert_eq!(
        external["spec"],
        json!({"type": "ExternalName", "externalName": "example.com"})
    );
    let udp = get(&cluster, &format!("{CORE}/services/udp"));
    assert_eq!(udp["spec"]["ports"][0]["protocol"], "UDP");
}

#[test]
fn slices_follow_the_pods_and_are_watched() {
    let cluster = cluster();
    let list = get(&cluster, SLICES);
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let target = format!(
        "{SLICES}?watch=true&labelSelector=kubernetes.io%2Fservice-name%3Down&resourceVersion={version}"
    );
    let mut watch = Raw::request(&cluster, "plain", &target, &[]);
    assert_eq!(watch.answer().status, 200);
    let mut next = || {
        let event = parsed(&watch.chunk().unwrap());
        assert_eq!(event["type"], "MODIFIED");
        assert_eq!(event["object"]["kind"], "EndpointSlice");
        endpoints(&event["object"])
    };
    let own = |name: &str| cluster.forward("ports", name);
    own("own-1").run(json!({"create": {"app": "own"}}));
    // A placeholder gives way to the slice of the pod's ports: both have the one name.
    assert_eq!(next(), named(&[("own-1", true)]));
    own("own-2").run(json!({"create": {"app": "own"}}));
    assert_eq!(next(), named(&[("own-1", true), ("own-2", true)]));
    own("own-1").run(json!({"ready": false}));
    assert_eq!(next(), named(&[("own-1", false), ("own-2", true)]));
    own("own-2").run(json!({"terminating": true}));
    assert_eq!(next(), named(&[("own-1", false), ("own-2", false)]));
    own("own-2").run(json!({"delete": true}));
    assert_eq!(next(), named(&[("own-1", false)]));
    own("own-1").run(json!({"exit": 1}));
    assert_eq!(next(), []);
}

#[test]
fn rights_to_list_and_to_watch_are_apart() {
    let cluster = cluster();
    for (user, verb, query, status) in [
        ("no-watch", "list", "", 200),
        ("no-watch", "watch", "?watch=true", 403),
        ("no-list", "list", "", 403),
        ("no-list", "watch", "?watch=true", 403),
    ] {
        for target in [SLICES.to_owned(), format!("{CORE}/pods")] {
            let mut raw = Raw::connect(&cluster, "plain");
            let token = cluster.token(user);
            let head =
                format!("GET {target}{query} HTTP/1.1\r\nAuthorization: Bearer {token}\r\n\r\n");
            raw.write(head.as_bytes());
            let (found, body) = raw.page();
            assert_eq!(found, status, "{user} {target}");
            assert!(
                status == 200 || body.contains(&format!("cannot {verb} resource")),
                "{body}"
            );
        }
    }
}
