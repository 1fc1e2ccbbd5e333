//! The choice of pods and containers.

use serde_json::{Value, json};

use super::super::pod::{Pod, Readiness, best, best_for_logs};
use crate::error::ErrorKind;

/// A pod with one running container.
pub(super) fn pod(name: &str, id: &str) -> Value {
    json!({
        "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"nodeName": "n", "containers": [{"name": "app"}]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
            "containerStatuses": [
                {"name": "app", "containerID": id, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}},
            ],
        },
    })
}

fn parse(value: Value) -> Pod {
    serde_json::from_value(value).unwrap()
}

/// What differs, by JSON pointer.
type Changes = Vec<(&'static str, Value)>;

/// A pod that differs from the usual one in these places.
fn changed(name: &str, changes: &[(&str, Value)]) -> Pod {
    let mut value = pod(name, "a");
    for (pointer, change) in changes {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = value.pointer_mut(parent).unwrap();
        match parent {
            Value::Array(items) => items[key.parse::<usize>().unwrap()] = change.clone(),
            _ => parent[key] = change.clone(),
        }
    }
    parse(value)
}

const COMPLETED: &str = "cannot exec into a container in a completed pod; current phase is";

/// kubectl pkg/util/podutils: one pair for each of the rules, the better pod first.

#[test]
fn each_rule_of_the_order_of_pods_counts() {
    let not_ready = json!([{"type": "Ready", "status": "False"}]);
    let ready_since =
        |time: &str| json!([{"type": "Ready", "status": "True", "lastTransitionTime": time}]);
    let deleted = |time: &str| ("/metadata/deletionTimestamp", json!(time));
    let rules: [(&str, Changes, Changes); 8] = [
        (
            "assigned",
            vec![("/status/phase", json!("Pending"))],
            vec![("/spec/nodeName", json!(""))],
        ),
        (
            "phase",
            vec![("/status/conditions", not_ready.clone())],
            vec![("/status/phase", json!("Unknown"))],
        ),
        (
            "phase",
            vec![("/status/phase", json!("Unknown"))],
            vec![("/status/phase", json!("Pending"))],
        ),
        (
            "ready",
            vec![deleted("2026-01-01T00:00:00Z")],
            vec![("/status/conditions", not_ready)],
        ),
        ("deleted", vec![], vec![deleted("2026-01-01T00:00:00Z")]),
        (
            "deleted later",
            vec![deleted("2026-01-02T00:00:00Z")],
            vec![deleted("2026-01-01T00:00:00Z")],
        ),
        (
            "longer ready",
            vec![(
                "/status/containerStatuses/0",
                json!({"name": "app", "restartCount": 3}),
            )],
            vec![("/status/conditions", ready_since("2026-01-02T00:00:00Z"))],
        ),
        (
            "restarts",
            vec![("/metadata/creationTimestamp", json!("2026-02-01T00:00:00Z"))],
            vec![(
                "/status/containerStatuses/0",
                json!({"name": "app", "restartCount": 1}),
            )],
        ),
    ];
    for (rule, better, worse) in rules {
        let pods = [changed("worse", &worse), changed("better", &better)];
        assert_eq!(best(&pods).unwrap().metadata.name, "better", "{rule}");
    }
    let older = ("/metadata/creationTimestamp", json!("2025-01-01T00:00:00Z"));
    let pods = [changed("worse", &[]), changed("better", &[older])];
    assert_eq!(best(&pods).unwrap().metadata.name, "better", "older");
    assert_eq!(
        best(&[changed("first", &[]), changed("second", &[])])
            .unwrap()
            .metadata
            .name,
        "first"
    );
    assert!(best(&[]).is_none());
}

fn full() -> Value {
    json!({
        "metadata": {"name": "p", "annotations": null},
        "spec": {
            "containers": [{"name": "a"}, {"name": "b"}],
            "initContainers": [{"name": "init"}],
            "ephemeralContainers": [{"name": "dbg"}],
        },
        "status": {"phase": "Running"},
    })
}

#[test]
fn the_first_container_is_the_default_and_told() {
    let (container, notice) = parse(full()).container(None).unwrap();
    let text = "Defaulted container \"a\" out of: a, b, dbg (ephem), init (init)";
    assert_eq!(
        (container.as_str(), notice.unwrap().to_string().as_str()),
        ("a", text)
    );
    assert_eq!(
        parse(pod("p", "a")).container(None).unwrap(),
        ("app".to_owned(), None)
    );
}

#[test]
fn a_named_container_must_exist() {
    for name in ["b", "init", "dbg"] {
        assert_eq!(
            parse(full()).container(Some(name)).unwrap(),
            (name.to_owned(), None)
        );
    }
    let error = parse(full()).container(Some("c")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.to_string(), "container c not found in pod p");
    assert_eq!(
        error.why(),
        Some("the pod has: a, b, dbg (ephem), init (init)")
    );
}

#[test]
fn the_annotation_chooses_the_container() {
    let mut value = full();
    value["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/default-container": "b"});
    assert_eq!(
        parse(value.clone()).container(None).unwrap(),
        ("b".to_owned(), None)
    );
    assert_eq!(parse(value.clone()).container(Some("a")).unwrap().0, "a");
    value["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/default-container": "c"});
    let error = parse(value).container(None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.why().unwrap().contains("default-container names it"));
}

#[test]
fn readiness_follows_the_container() {
    let state = |state: Value| {
        let status = json!([{"name": "app", "state": state}]);
        changed("p", &[("/status/containerStatuses", status)]).readiness("app", COMPLETED)
    };
    assert_eq!(state(json!({"running": {}})), Readiness::Now);
    assert_eq!(
        state(json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}})),
        Readiness::Wait("container app is waiting: CrashLoopBackOff (back-off 5m0s)".to_owned())
    );
    assert_eq!(
        state(json!({"terminated": {"reason": "Error", "exitCode": 3}})),
        Readiness::Wait("container app is terminated: Error, exit code 3".to_owned())
    );
    assert_eq!(
        state(json!({})),
        Readiness::Wait("container app is waiting".to_owned())
    );
}

#[test]
fn what_will_never_run_is_not_waited_for() {
    let phase = changed("p", &[("/status/phase", json!("Succeeded"))]);
    let text = "cannot exec into a container in a completed pod; current phase is Succeeded";
    assert_eq!(
        phase.readiness("app", COMPLETED),
        Readiness::Never(text.to_owned())
    );
    let ended =
        json!([{"name": "app", "state": {"terminated": {"reason": "Completed", "exitCode": 0}}}]);
    let pod = changed(
        "p",
        &[
            ("/spec/restartPolicy", json!("Never")),
            ("/status/containerStatuses", ended),
        ],
    );
    let text = "container app is terminated: Completed, exit code 0";
    assert_eq!(
        pod.readiness("app", COMPLETED),
        Readiness::Never(text.to_owned())
    );
}

#[test]
fn a_pod_that_cannot_be_scheduled_says_why() {
    let pod = parse(json!({
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "app"}]},
        "status": {"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"},
        ]},
    }));
    let text = "the pod is Pending: Unschedulable (0/3 nodes)";
    assert_eq!(
        pod.readiness("app", COMPLETED),
        Readiness::Wait(text.to_owned())
    );
}

#[test]
fn the_exit_code_is_that_of_the_instance_that_was_meant() {
    let ended = |id: &str, code: i32| serde_json::json!({"terminated": {"containerID": id, "exitCode": code}});
    let status = serde_json::json!([{
        "name": "app", "containerID": "c", "restartCount": 2,
        "state": ended("c", 3), "lastState": ended("b", 4),
    }]);
    let pod = changed("p", &[("/status/containerStatuses", status)]);
    let code = |id| pod.exit_code("app", Some(id));
    assert_eq!((code("c"), code("b"), code("a")), (Some(3), Some(4), None));
}

/// kubectl pkg/util/podutils `ByLogging`: one pair for each of its rules, the better pod first.
#[test]
fn each_rule_of_the_order_of_pods_for_logs_counts() {
    let ready_since = |time: &str| {
        let ready = json!([{"type": "Ready", "status": "True", "lastTransitionTime": time}]);
        ("/status/conditions", ready)
    };
    let restarts = |count: u32| json!([{"name": "app", "restartCount": count}]);
    let sidecar = |count: u32| {
        vec![
            (
                "/spec/initContainers",
                json!([{"name": "s", "restartPolicy": "Always"}]),
            ),
            (
                "/status/initContainerStatuses",
                json!([{"name": "s", "restartCount": count}]),
            ),
        ]
    };
    let phase = |phase: &str| ("/status/phase", json!(phase));
    let not_ready = ("/status/conditions", json!([]));
    let created = |time: &str| ("/metadata/creationTimestamp", json!(time));
    let rules: [(&str, Changes, Changes); 9] = [
        (
            "assigned",
            vec![phase("Pending")],
            vec![("/spec/nodeName", json!(""))],
        ),
        (
            "phase",
            vec![phase("Unknown"), not_ready.clone()],
            vec![phase("Pending")],
        ),
        // A pod that has ended ranks with those that run: it has a log.
        (
            "phase",
            vec![phase("Failed"), not_ready.clone()],
            vec![phase("Unknown")],
        ),
        (
            "ready",
            vec![],
            vec![
                not_ready.clone(),
                ("/status/containerStatuses", restarts(9)),
            ],
        ),
        (
            "ready time",
            vec![],
            vec![ready_since("2026-01-02T00:00:00Z")],
        ),
        (
            "restarts",
            vec![
                ("/status/containerStatuses", restarts(2)),
                created("2026-01-03T00:00:00Z"),
            ],
            vec![("/status/containerStatuses", restarts(1))],
        ),
        (
            "sidecars",
            [sidecar(2), vec![created("2026-01-03T00:00:00Z")]].concat(),
            sidecar(1),
        ),
        ("age", vec![], vec![created("2026-01-02T00:00:00Z")]),
        // Unlike for exec, a pod that is being deleted is not put back.
        (
            "deletion",
            vec![("/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z"))],
            vec![created("2026-01-02T00:00:00Z")],
        ),
    ];
    for (rule, better, worse) in rules {
        let pods = [changed("worse", &worse), changed("better", &better)];
        assert_eq!(
            best_for_logs(&pods).unwrap().metadata.name,
            "better",
            "{rule}"
        );
    }
}
