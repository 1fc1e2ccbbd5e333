//! Everything that is not a pod: namespaces, services, workloads, and what discovery tells of them.
//!
//! Lives here: static objects and the selection among them. Never here: pods, what a service looks like, routes.

use serde_json::{Value, json};

pub(super) use super::services::services;

/// One kind of object: group, resource, kind, singular, short name, and whether it is namespaced.
pub(crate) struct Kind {
    pub(crate) group: &'static str,
    pub(crate) resource: &'static str,
    pub(crate) kind: &'static str,
    singular: &'static str,
    short: &'static str,
}

impl Kind {
    /// The kind that stands under a path, when there is one.
    pub(crate) fn find(group: &str, resource: &str) -> Option<&'static Self> {
        KINDS
            .iter()
            .find(|kind| kind.group == group && kind.resource == resource)
    }

    /// The `apiVersion` of its objects.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            "v1".to_owned()
        } else {
            format!("{}/v1", self.group)
        }
    }
}

/// The objects of one kind, in all namespaces; pods are elsewhere.
pub(crate) fn objects(kind: &Kind) -> Vec<Value> {
    let object = |name: &str, spec: Value, status: Value| {
        json!({
            "kind": kind.kind,
            "apiVersion": kind.api_version(),
            "metadata": {
                "name": name, "namespace": "default", "resourceVersion": "1000",
                "uid": format!("{}-{name}", kind.resource),
                "creationTimestamp": "2026-11-01T08:00:00Z",
            },
            "spec": spec,
            "status": status,
        })
    };
    let matching = |labels: Value| json!({"replicas": 3, "selector": {"matchLabels": labels}});
    let status = json!({"replicas": 3, "readyReplicas": 2});
    match kind.resource {
        "namespaces" => ["default", "other", "ports"]
            .map(|name| {
                let mut namespace = object(name, json!({}), json!({"phase": "Active"}));
                namespace["metadata"]["namespace"].take();
                namespace
            })
            .to_vec(),
        "services" => services(),
        "replicationcontrollers" => {
            vec![object(
                "web",
                json!({"replicas": 1, "selector": {"app": "web"}}),
                status,
            )]
        }
        "deployments" => vec![
            object("web", matching(json!({"app": "three"})), status.clone()),
            object("empty", matching(json!({"app": "nobody"})), status.clone()),
            in_ports(object(
                "front",
                matching(json!({"app": "front"})),
                status.clone(),
            )),
            in_ports(object(
                "waits",
                matching(json!({"app": "waits"})),
                status.clone(),
            )),
            in_ports(object("own", matching(json!({"app": "own"})), status)),
        ],
        "replicasets" => vec![object("web", matching(json!({"app": "three"})), status)],
        "jobs" => vec![object(
            "web",
            json!({"selector": {"matchLabels": {"job-name": "web"}}}),
            json!({"active": 1}),
        )],
        "statefulsets" => vec![
            object("web", matching(json!({"app": "web"})), status.clone()),
            in_ports(object("db", matching(json!({"app": "db"})), status)),
        ],
        "daemonsets" => vec![object("web", matching(json!({"app": "web"})), status)],
        _ => Vec::new(),
    }
}

fn in_ports(mut object: Value) -> Value {
    object["metadata"]["namespace"] = "ports".into();
    object
}

/// Whether an object fits a `labelSelector` and a `fieldSelector`.
pub(crate) fn fits(object: &Value, labels: Option<&str>, fields: Option<&str>) -> bool {
    let label = |name: &str| {
        object["metadata"]["labels"][name]
            .as_str()
            .map(str::to_owned)
    };
    let field = |name: &str| {
        let mut value = object;
        for step in name.split('.') {
            value = &value[step];
        }
        value.as_str().map(str::to_owned)
    };
    terms(labels).all(|term| holds(term, label)) && terms(fields).all(|term| holds(term, field))
}

/// The parts of a selector; commas within parentheses are of a set.
fn terms(selector: Option<&str>) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    let between = move |letter: char| {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        letter == ',' && depth == 0
    };
    let parts = selector.unwrap_or_default().split(between);
    parts.map(str::trim).filter(|term| !term.is_empty())
}

/// Whether one requirement holds: `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`, `a`, `!a`.
fn holds(term: &str, lookup: impl Fn(&str) -> Option<String>) -> bool {
    if let Some((name, values)) = term.split_once(" notin (") {
        !is_one_of(values, lookup(name.trim()))
    } else if let Some((name, values)) = term.split_once(" in (") {
        is_one_of(values, lookup(name.trim()))
    } else if let Some(name) = term.strip_prefix('!') {
        lookup(name.trim()).is_none()
    } else if let Some((name, value)) = term.split_once("!=") {
        lookup(name).as_deref() != Some(value)
    } else if let Some((name, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        lookup(name).as_deref() == Some(value)
    } else {
        lookup(term).is_some()
    }
}

fn is_one_of(values: &str, value: Option<String>) -> bool {
    let mut values = values.trim_end_matches(')').split(',').map(str::trim);
    value.is_some_and(|value| values.any(|one| one == value))
}

/// The answer to a discovery path, when it is one.
pub(crate) fn discovery(path: &[&str], minor: &str) -> Option<Value> {
    let group = |name: &str| {
        let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
        json!({"name": name, "versions": [version], "preferredVersion": version})
    };
    Some(match path {
        ["version"] => json!({
            "major": "1", "minor": minor, "gitVersion": format!("v1.{minor}.0"),
            "gitCommit": "wsx", "gitTreeState": "clean", "buildDate": "2026-11-01T00:00:00Z",
            "goVersion": "none", "compiler": "rustc", "platform": "linux/amd64",
        }),
        ["api"] => json!({"kind": "APIVersions", "versions": ["v1"]}),
        ["apis"] => json!({
            "kind": "APIGroupList", "apiVersion": "v1", "groups": GROUPS.map(group),
        }),
        ["apis", name] if GROUPS.contains(name) => group(name),
        ["api", "v1"] => resources("", "v1"),
        ["apis", name, "v1"] if GROUPS.contains(name) => resources(name, &format!("{name}/v1")),
        _ => return None,
    })
}

fn resources(group: &str, version: &str) -> Value {
    let mut list = Vec::new();
    for kind in KINDS.iter().filter(|kind| kind.group == group) {
        let mut short = vec![kind.short];
        short.retain(|short| !short.is_empty());
        list.push(json!({
            "name": kind.resource, "singularName": kind.singular, "kind": kind.kind,
            "namespaced": kind.resource != "namespaces",
            "shortNames": short,
            "verbs": ["get", "list", "watch"],
        }));
    }
    if group.is_empty() {
        for (name, options) in [
            ("exec", "PodExecOptions"),
            ("attach", "PodAttachOptions"),
            ("log", "Pod"),
            ("portforward", "PodPortForwardOptions"),
        ] {
            list.push(json!({
                "name": format!("pods/{name}"), "singularName": "", "kind": options,
                "namespaced": true, "verbs": ["get", "create"],
            }));
        }
    }
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": list})
}

const GROUPS: [&str; 3] = ["apps", "batch", "discovery.k8s.io"];

const KINDS: &[Kind] = &[
    kind("", "namespaces", "Namespace", "namespace", "ns"),
    kind("", "pods", "Pod", "pod", "po"),
    kind(
        "",
        "replicationcontrollers",
        "ReplicationController",
        "replicationcontroller",
        "rc",
    ),
    kind("", "services", "Service", "service", "svc"),
    kind("apps", "daemonsets", "DaemonSet", "daemonset", "ds"),
    kind("apps", "deployments", "Deployment", "deployment", "deploy"),
    kind("apps", "replicasets", "ReplicaSet", "replicaset", "rs"),
    kind("apps", "statefulsets", "StatefulSet", "statefulset", "sts"),
    kind("batch", "jobs", "Job", "job", "job"),
    kind(
        "discovery.k8s.io",
        "endpointslices",
        "EndpointSlice",
        "endpointslice",
        "",
    ),
];

const fn kind(
    group: &'static str,
    resource: &'static str,
    kind: &'static str,
    singular: &'static str,
    short: &'static str,
) -> Kind {
    Kind {
        group,
        resource,
        kind,
        singular,
        short,
    }
}
