//! The slices of endpoints that follow from services and pods, as the controller writes them.
//!
//! Lives here: a pure function. Never here: changes over time (`pods`).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::objects;

/// The slices of all services that have a selector.
pub(super) fn slices<'a>(objects: impl Iterator<Item = &'a Value> + Clone) -> Vec<Value> {
    let services = objects::services().into_iter();
    let selecting = services.filter(|service| {
        service["spec"]["selector"].is_object() && service["spec"]["type"] != "ExternalName"
    });
    selecting
        .flat_map(|service| of_service(&service, objects.clone()))
        .collect()
}

/// The slices of one service: one for each set of ports that its pods have, or one of nothing.
fn of_service<'a>(service: &Value, objects: impl Iterator<Item = &'a Value>) -> Vec<Value> {
    let namespace = &service["metadata"]["namespace"];
    let wanted = service["spec"]["selector"].as_object();
    let mut by_ports: BTreeMap<String, (Value, Vec<Value>)> = BTreeMap::new();
    for pod in objects {
        let fits = pod["kind"] == "Pod"
            && pod["metadata"]["namespace"] == *namespace
            && wanted.is_some_and(|wanted| {
                let mut labels = wanted.iter();
                labels.all(|(name, value)| pod["metadata"]["labels"][name] == *value)
            });
        let ended =
            ["Failed", "Succeeded"].contains(&pod["status"]["phase"].as_str().unwrap_or(""));
        if !fits || ended || !pod["status"]["podIP"].is_string() {
            continue;
        }
        let ports = ports(service, pod);
        let (_, endpoints) = by_ports
            .entry(ports.to_string())
            .or_insert_with(|| (ports, Vec::new()));
        endpoints.push(endpoint(service, pod));
    }
    if by_ports.is_empty() {
        return vec![slice(service, 0, &Value::Null, Value::Null)];
    }
    let found = by_ports.into_values().enumerate();
    found
        .map(|(nth, (ports, endpoints))| slice(service, nth, &ports, endpoints.into()))
        .collect()
}

/// The ports of a service as one pod has them; a name that the pod has not is left out.
fn ports(service: &Value, pod: &Value) -> Value {
    let number = |port: &Value| match &port["targetPort"] {
        Value::String(name) => container_port(pod, name, &port["protocol"]),
        number => Some(number.clone()),
    };
    let all = service["spec"]["ports"].as_array().into_iter().flatten();
    all.filter_map(|port| {
        let name = port["name"].as_str().unwrap_or_default();
        Some(json!({"name": name, "port": number(port)?, "protocol": port["protocol"]}))
    })
    .collect()
}

fn container_port(pod: &Value, name: &str, protocol: &Value) -> Option<Value> {
    let containers = pod["spec"]["containers"].as_array()?.iter();
    let mut ports = containers
        .filter_map(|container| container["ports"].as_array())
        .flatten();
    let found = ports.find(|port| port["name"] == name && port["protocol"] == *protocol);
    Some(found?["containerPort"].clone())
}

fn endpoint(service: &Value, pod: &Value) -> Value {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let mut conditions = conditions.filter(|condition| condition["type"] == "Ready");
    let serving = conditions.any(|condition| condition["status"] == "True");
    let terminating = pod["metadata"]["deletionTimestamp"].is_string();
    let mut endpoint = json!({
        "addresses": [pod["status"]["podIP"]],
        "conditions": {
            "ready": serving && !terminating, "serving": serving, "terminating": terminating,
        },
        "nodeName": pod["spec"]["nodeName"],
        "targetRef": {
            "kind": "Pod", "namespace": pod["metadata"]["namespace"],
            "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"],
        },
    });
    if service["spec"]["clusterIP"] == "None" {
        endpoint["hostname"] = pod["metadata"]["name"].clone();
    }
    endpoint
}

fn slice(service: &Value, nth: usize, ports: &Value, endpoints: Value) -> Value {
    let name = service["metadata"]["name"].as_str().unwrap_or_default();
    json!({
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": {
            "name": format!("{name}-{}", ["x7k2p", "b9d4q", "m5t8w", "c3h6z"][nth % 4]),
            "generateName": format!("{name}-"),
            "namespace": service["metadata"]["namespace"],
            "uid": super::pods::uid(&format!("slice/{name}/{nth}")),
            "resourceVersion": "1000",
            "creationTimestamp": "2026-11-01T08:00:02Z",
            "labels": {
                "kubernetes.io/service-name": name,
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            },
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Service", "name": name,
                "uid": service["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": ports,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_has_ports_by_number_and_endpoints_with_their_state() {
        let mut pod = super::super::pods::fresh("ports", "p", &["app"]);
        super::super::pods::declare_ports(&mut pod);
        pod["metadata"]["labels"] = json!({"app": "front"});
        pod["metadata"]["deletionTimestamp"] = "2026-11-01T08:00:00Z".into();
        let slices = slices([&pod].into_iter());
        let front = slices
            .iter()
            .find(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == "front");
        let front = front.unwrap();
        assert_eq!(
            front["ports"],
            json!([
                {"name": "http", "port": 8080, "protocol": "TCP"},
                {"name": "echo", "port": 7, "protocol": "TCP"},
                {"name": "dns", "port": 53, "protocol": "UDP"},
            ])
        );
        assert_eq!(
            front["endpoints"][0]["conditions"],
            json!({"ready": false, "serving": true, "terminating": true})
        );
        let empty = slices
            .iter()
            .find(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == "empty");
        assert_eq!(empty.unwrap()["endpoints"], Value::Null);
    }
}
