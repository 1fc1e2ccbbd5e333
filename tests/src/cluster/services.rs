//! The services of the cluster: every kind that a client may be asked to forward to.
//!
//! Lives here: static objects. Never here: the endpoints that follow from them (`slices`).

use serde_json::{Value, json};

/// All services, in all namespaces.
pub(super) fn services() -> Vec<Value> {
    let tcp = |name: &str, port: u16, target: Value| port_of(name, port, target, "TCP");
    let udp = |name: &str, port: u16, target: Value| port_of(name, port, target, "UDP");
    let front = || json!({"selector": {"app": "front"}});
    let mut services = vec![
        service(
            "default",
            "web",
            json!({"selector": {"app": "web"}}),
            vec![tcp("", 80, 8080.into())],
        ),
        service(
            "default",
            "noselector",
            json!({}),
            vec![tcp("", 80, 80.into())],
        ),
        service(
            "ports",
            "front",
            front(),
            vec![
                tcp("http", 80, "http".into()),
                tcp("echo", 7000, 7.into()),
                udp("dns", 53, "dns".into()),
            ],
        ),
        service("ports", "numeric", front(), vec![tcp("", 80, 8080.into())]),
        service("ports", "same", front(), vec![tcp("", 8080, 8080.into())]),
        service(
            "ports",
            "missing",
            front(),
            vec![tcp("", 80, "nope".into())],
        ),
        service("ports", "udp", front(), vec![udp("dns", 53, "dns".into())]),
        service(
            "ports",
            "mixed",
            front(),
            vec![
                udp("dns", 53, "dns".into()),
                tcp("dns-tcp", 53, "dns-tcp".into()),
            ],
        ),
        service(
            "ports",
            "headless",
            json!({"selector": {"app": "db"}, "clusterIP": "None"}),
            vec![tcp("echo", 7, 7.into()), tcp("http", 80, "http".into())],
        ),
        service(
            "ports",
            "waits",
            json!({"selector": {"app": "waits"}}),
            vec![tcp("", 80, "http".into())],
        ),
        service(
            "ports",
            "empty",
            json!({"selector": {"app": "nobody"}}),
            vec![tcp("", 80, 8080.into())],
        ),
        service(
            "ports",
            "noselector",
            json!({}),
            vec![tcp("", 80, 8080.into())],
        ),
        service(
            "ports",
            "own",
            json!({"selector": {"app": "own"}}),
            vec![tcp("http", 80, "http".into())],
        ),
    ];
    let external = json!({"type": "ExternalName", "externalName": "example.com"});
    services.push(service("ports", "external", external, Vec::new()));
    services
}

fn service(namespace: &str, name: &str, spec: Value, ports: Vec<Value>) -> Value {
    let mut service = json!({
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": {
            "name": name, "namespace": namespace, "resourceVersion": "1000",
            "uid": format!("services-{name}"),
            "creationTimestamp": "2026-11-01T08:00:00Z",
        },
        "spec": spec,
        "status": {"loadBalancer": {}},
    });
    let spec = &mut service["spec"];
    if !ports.is_empty() {
        spec["ports"] = ports.into();
    }
    if !spec["type"].is_string() {
        spec["type"] = "ClusterIP".into();
        if !spec["clusterIP"].is_string() {
            spec["clusterIP"] = "10.96.0.7".into();
        }
    }
    service
}

fn port_of(name: &str, port: u16, target: Value, protocol: &str) -> Value {
    let mut found = json!({"port": port, "targetPort": target, "protocol": protocol});
    // The API server asks for names where there are several ports.
    if !name.is_empty() {
        found["name"] = name.into();
    }
    found
}
