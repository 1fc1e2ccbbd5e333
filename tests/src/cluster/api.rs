//! Routes: which answer belongs to which path, and what right it takes.
//!
//! Lives here: the API server's front. Never here: objects, streams, sockets.

use serde_json::{Value, json};

use super::forward;
use super::http::{Request, Response};
use super::identity::{self, Attributes};
use super::listener::Listener;
use super::logs::{self, control::At};
use super::objects::{self, Kind};
use super::pods::{POD, SLICE};
use super::remote::{self, Next, Verb};
use super::watch::Watch;
use super::world::World;

/// Answers a request on the paths of logs and ports that belong to tests, with its body.
pub(crate) async fn control(world: &World, request: &Request, body: &[u8]) -> Response {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    let mut answers = Vec::new();
    for line in String::from_utf8_lossy(body).lines() {
        let done = match path[..] {
            ["__wsx", "log", namespace, pod, container] => {
                let at = At {
                    namespace,
                    pod,
                    container,
                };
                logs::control::perform(world, at, line).await
            }
            ["__wsx", "forward", namespace, pod] => {
                forward::control::perform(world, namespace, pod, line).await
            }
            _ => return unknown_path(),
        };
        match done {
            Ok(answer) => answers.push(answer),
            Err(text) => return Response::bad_request(&text),
        }
    }
    Response::json(200, &answers.into())
}

/// Answers one request.
pub(crate) fn answer(
    world: &World,
    listener: &Listener,
    request: &Request,
    certificate: Option<&[u8]>,
) -> Next {
    let path: Vec<&str> = request
        .path
        .iter()
        .map(String::as_str)
        .filter(|step| !step.is_empty())
        .collect();
    if path == ["__wsx", "requests"] {
        return answered(records(world, request));
    }
    let user = match identity::user(request, certificate, &world.secrets, listener.tls.is_none()) {
        Ok(user) => user,
        Err(refusal) => return answered(refusal),
    };
    if request.method == "GET"
        && let Some(value) = objects::discovery(&path, listener.version.minor())
    {
        return answered(Response::json(200, &value));
    }
    let (group, rest) = match &path[..] {
        ["api", "v1", rest @ ..] => ("", rest),
        ["apis", group, "v1", rest @ ..] => (*group, rest),
        _ => return answered(unknown_path()),
    };
    let (namespace, resource, name, subresource) = match *rest {
        ["namespaces", name] => (None, "namespaces", Some(name), None),
        ["namespaces", namespace, resource] => (Some(namespace), resource, None, None),
        ["namespaces", namespace, resource, name] => (Some(namespace), resource, Some(name), None),
        ["namespaces", namespace, resource, name, sub] => {
            (Some(namespace), resource, Some(name), Some(sub))
        }
        [resource] => (None, resource, None, None),
        _ => return answered(unknown_path()),
    };
    let wanted = match (&*request.method, name) {
        ("GET" | "HEAD", Some(_)) => "get",
        ("GET" | "HEAD", None) if request.flag("watch") => "watch",
        ("GET" | "HEAD", None) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", Some(_)) => "delete",
        ("DELETE", None) => "deletecollection",
        _ => return answered(not_allowed()),
    };
    let full = match subresource {
        Some(sub) => format!("{resource}/{sub}"),
        None => resource.to_owned(),
    };
    let attributes = Attributes {
        verb: wanted,
        group,
        resource: &full,
        namespace,
        name,
    };
    // Rights come first: who may not, does not learn what there is.
    if let Err(refusal) = identity::authorize(&user, attributes) {
        return answered(refusal);
    }
    let Some(kind) = Kind::find(group, resource) else {
        return answered(unknown_path());
    };
    let streams = wanted == "create" && subresource.is_some();
    if !(streams || ["get", "list", "watch"].contains(&wanted)) {
        return answered(not_allowed());
    }

    match (kind.resource, name, subresource, namespace) {
        ("pods", Some(name), Some("exec" | "attach"), Some(namespace)) => {
            // kubernetes #134577: since 1.35 a GET needs `create` too, on v4 and v5 alike.
            let create = Attributes {
                verb: "create",
                ..attributes
            };
            if listener.version.wants_create() && identity::authorize(&user, create).is_err() {
                return answered(identity::forbidden_without_reason("pods", name));
            }
            let verb = if subresource == Some("exec") {
                Verb::Exec
            } else {
                Verb::Attach
            };
            match world.pods.get(namespace, name) {
                Some(pod) => remote::answer(world, listener, request, verb, &pod),
                None => answered(Response::not_found("", "pods", name)),
            }
        }
        ("pods", Some(name), Some("portforward"), Some(namespace)) => {
            let create = Attributes {
                verb: "create",
                ..attributes
            };
            if listener.version.wants_create() && identity::authorize(&user, create).is_err() {
                return answered(identity::forbidden_without_reason("pods", name));
            }
            match world.pods.get(namespace, name) {
                Some(pod) => forward::answer(world, listener, request, &pod),
                None => answered(Response::not_found("", "pods", name)),
            }
        }
        ("pods", Some(name), Some("log"), Some(namespace)) if wanted == "get" => {
            logs::answer(world, listener, request, &user, (namespace, name))
        }
        (_, _, Some(_), _) => answered(unknown_path()),
        ("pods", Some(name), None, Some(namespace)) => {
            answered(match world.pods.get(namespace, name) {
                Some(pod) => Response::json(200, &pod),
                None => Response::not_found("", "pods", name),
            })
        }
        ("endpointslices", Some(name), None, Some(namespace)) => {
            answered(match world.pods.find(SLICE, namespace, name) {
                Some(slice) => Response::json(200, &slice),
                None => Response::not_found(group, resource, name),
            })
        }
        (resource, Some(name), None, namespace) => {
            let all = objects::objects(kind);
            let found = all
                .iter()
                .find(|object| object["metadata"]["name"] == name && within(object, namespace));
            answered(match found {
                Some(object) => Response::json(200, object),
                None => Response::not_found(group, resource, name),
            })
        }
        ("pods", None, None, namespace) if wanted == "watch" => {
            Next::Watch(Box::new(Watch::new(&world.pods, POD, namespace, request)))
        }
        ("endpointslices", None, None, namespace) if wanted == "watch" => {
            Next::Watch(Box::new(Watch::new(&world.pods, SLICE, namespace, request)))
        }
        // Nothing else changes here that a watch would tell of.
        (_, None, None, _) if wanted == "watch" => Next::Silence(logs::CHUNKED_JSON.to_vec()),
        (_, None, None, namespace) => answered(list(world, kind, namespace, request)),
    }
}

fn list(world: &World, kind: &Kind, namespace: Option<&str>, request: &Request) -> Response {
    let (version, all) = match kind.resource {
        "pods" => world.pods.list(POD),
        "endpointslices" => world.pods.list(SLICE),
        _ => (1000, objects::objects(kind)),
    };
    let (labels, fields) = (
        request.parameter("labelSelector"),
        request.parameter("fieldSelector"),
    );
    let items: Vec<Value> = all
        .into_iter()
        .filter(|object| within(object, namespace) && objects::fits(object, labels, fields))
        .collect();
    Response::json(
        200,
        &json!({
            "kind": format!("{}List", kind.kind),
            "apiVersion": kind.api_version(),
            "metadata": {"resourceVersion": version.to_string()},
            "items": items,
        }),
    )
}

fn within(object: &Value, namespace: Option<&str>) -> bool {
    namespace.is_none_or(|namespace| object["metadata"]["namespace"] == namespace)
}

fn records(world: &World, request: &Request) -> Response {
    match &*request.method {
        "GET" => Response::json(200, &json!(world.records.all())),
        "DELETE" => {
            world.records.clear();
            Response::json(200, &json!({}))
        }
        _ => unknown_path(),
    }
}

fn not_allowed() -> Response {
    let message = "the server does not allow this method on the requested resource";
    Response::refusal(405, "MethodNotAllowed", message, &Value::Null)
}

fn unknown_path() -> Response {
    let message = "the server could not find the requested resource";
    Response::refusal(404, "NotFound", message, &json!({}))
}

fn answered(response: Response) -> Next {
    Next::Answer(Box::new(response))
}
