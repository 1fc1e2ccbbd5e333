//! The log of a container, for those who ask for a little of it.
//!
//! Lives here: plain GET. Never here: the WebSocket reader, which comes with the logs verb.

use serde_json::{Value, json};

use super::http::{Request, Response};
use super::pods;

/// Answers `GET …/log`.
pub(crate) fn answer(request: &Request, user: &str, pod: &Value) -> Response {
    let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default();
    let name = text("name");
    let container = match pods::choose_container(pod, request.parameter("container")) {
        Ok(container) => container,
        Err(text) => return Response::bad_request(&text),
    };
    match name {
        "lost-kubelet-0" => {
            let message =
                "error dialing backend: dial tcp 10.0.0.9:10250: connect: connection refused";
            return Response::refusal(500, "", message, &Value::Null);
        }
        "nolog-0" => {
            let message = format!(
                "pods \"nolog-0\" is forbidden: User \"{user}\" cannot get resource \"pods/log\" in \
                 API group \"\" in the namespace \"{}\"",
                text("namespace")
            );
            return Response::refusal(
                403,
                "Forbidden",
                &message,
                &json!({"name": name, "kind": "pods"}),
            );
        }
        _ => {}
    }
    if let Some(reason) = pods::waiting_reason(pod, &container)
        && reason == "ContainerCreating"
    {
        return Response::bad_request(&format!(
            "container \"{container}\" in pod \"{name}\" is waiting to start: {reason}"
        ));
    }
    let number = |name: &str| match request.parameter(name) {
        None => Ok(None),
        Some(text) => text
            .parse::<usize>()
            .map(Some)
            .map_err(|_| Response::bad_request(name)),
    };
    let (tail, limit) = match (number("tailLines"), number("limitBytes")) {
        (Ok(tail), Ok(limit)) => (tail, limit),
        (Err(refusal), _) | (_, Err(refusal)) => return refusal,
    };
    let lines: Vec<String> = (1..=LINES)
        .map(|line| format!("{container} line {line}\n"))
        .collect();
    let mut body = lines[LINES - tail.unwrap_or(LINES).min(LINES)..]
        .concat()
        .into_bytes();
    body.truncate(limit.unwrap_or(body.len()));
    Response::text(200, body)
}

const LINES: usize = 100;
