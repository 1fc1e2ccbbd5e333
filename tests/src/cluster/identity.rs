//! Who is asking, and what they may do.
//!
//! Lives here: authentication, impersonation, and rules in the words of RBAC. Never here: routes.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;

use super::http::{Request, Response};

/// The secrets of one cluster, made anew for each.
pub(crate) struct Secrets {
    suffix: String,
    /// The client certificate of the user `cert`, as it arrives in a handshake.
    pub(crate) certificate: Vec<u8>,
}

/// What is asked of whom, in the terms of RBAC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attributes<'a> {
    pub(crate) verb: &'a str,
    pub(crate) group: &'a str,
    /// `pods`, or `pods/exec`.
    pub(crate) resource: &'a str,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) name: Option<&'a str>,
}

impl Secrets {
    pub(crate) fn new(suffix: String, certificate: Vec<u8>) -> Self {
        Self {
            suffix,
            certificate,
        }
    }

    /// The bearer token of `user`.
    pub(crate) fn token(&self, user: &str) -> String {
        format!("{user}.{}", self.suffix)
    }

    /// The password of the user `basic`.
    pub(crate) fn password(&self) -> String {
        format!("password.{}", self.suffix)
    }

    fn owner(&self, token: &str) -> Option<String> {
        let (user, suffix) = token.split_once('.')?;
        (suffix == self.suffix).then(|| user.to_owned())
    }
}

/// Finds out who sent `request`, honouring impersonation.
pub(crate) fn user(
    request: &Request,
    certificate: Option<&[u8]>,
    secrets: &Secrets,
    anonymous_is_admin: bool,
) -> Result<String, Response> {
    let user = if let Some(value) = request.header("Authorization") {
        by_header(value, secrets)
    } else if let Some(token) = bearer_subprotocol(request)? {
        secrets.owner(&token)
    } else if certificate.is_some_and(|der| der == secrets.certificate) {
        Some("cert".to_owned())
    } else if anonymous_is_admin {
        Some("admin".to_owned())
    } else {
        Some(ANONYMOUS.to_owned())
    };
    let user = user.ok_or_else(Response::unauthorized)?;
    let Some(other) = request.header("Impersonate-User") else {
        return Ok(user);
    };
    if !powerful(&user) {
        let attributes = Attributes {
            verb: "impersonate",
            group: "",
            resource: "users",
            namespace: None,
            name: Some(other),
        };
        return Err(forbidden(&user, attributes));
    }
    let masters = request
        .headers("Impersonate-Group")
        .any(|group| group == "system:masters");
    Ok(if masters {
        "admin".to_owned()
    } else {
        other.to_owned()
    })
}

/// Whether `user` may, or the refusal in the words of the API server.
pub(crate) fn authorize(user: &str, attributes: Attributes<'_>) -> Result<(), Response> {
    let reads = ["get", "list", "watch"].contains(&attributes.verb);
    let enters = ["pods/exec", "pods/attach", "pods/portforward"].contains(&attributes.resource);
    let may = match user {
        "get-only" => reads,
        "create-only" => {
            if enters {
                attributes.verb == "create"
            } else {
                reads
            }
        }
        "exec-only" => enters,
        "no-list" => enters || attributes.verb == "get",
        "no-watch" => enters || ["get", "list"].contains(&attributes.verb),
        user => powerful(user),
    };
    if may {
        Ok(())
    } else {
        Err(forbidden(user, attributes))
    }
}

fn powerful(user: &str) -> bool {
    ["admin", "basic", "cert", "tokenfile"].contains(&user)
}

fn by_header(value: &str, secrets: &Secrets) -> Option<String> {
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("Bearer") {
        return secrets.owner(rest.trim());
    }
    let decoded = STANDARD.decode(rest.trim()).ok()?;
    let expected = format!("basic:{}", secrets.password());
    (scheme.eq_ignore_ascii_case("Basic") && decoded == expected.as_bytes())
        .then(|| "basic".to_owned())
}

// apiserver authentication/request/websocket/protocol.go: one token, beside at least one other name.
fn bearer_subprotocol(request: &Request) -> Result<Option<String>, Response> {
    let names: Vec<&str> = request
        .headers("Sec-WebSocket-Protocol")
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .collect();
    let mut tokens = names.iter().filter_map(|name| name.strip_prefix(BEARER));
    let Some(token) = tokens.next() else {
        return Ok(None);
    };
    if tokens.next().is_some() || names.len() < 2 {
        return Err(Response::unauthorized());
    }
    let bytes = URL_SAFE_NO_PAD
        .decode(token)
        .map_err(|_| Response::unauthorized())?;
    Ok(Some(
        String::from_utf8(bytes).map_err(|_| Response::unauthorized())?,
    ))
}

/// The refusal of the handler's own check, which hands an empty reason on (recorded from the real
/// API server 1.36.3: the message ends after "forbidden: ").
pub(crate) fn forbidden_without_reason(plain: &str, name: &str) -> Response {
    let message = format!("{plain} \"{name}\" is forbidden: ");
    Response::refusal(
        403,
        "Forbidden",
        &message,
        &json!({"kind": plain, "name": name}),
    )
}

fn forbidden(user: &str, attributes: Attributes<'_>) -> Response {
    let Attributes {
        verb,
        group,
        resource,
        namespace,
        name,
    } = attributes;
    let plain = resource.split('/').next().unwrap_or_default();
    let what = match (group, name) {
        ("", Some(name)) => format!("{plain} \"{name}\""),
        (group, Some(name)) => format!("{plain}.{group} \"{name}\""),
        ("", None) => plain.to_owned(),
        (group, None) => format!("{plain}.{group}"),
    };
    let scope = match namespace {
        Some(namespace) => format!("in the namespace \"{namespace}\""),
        None => "at the cluster scope".to_owned(),
    };
    let message = format!(
        "{what} is forbidden: User \"{user}\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {scope}"
    );
    let mut details = json!({"kind": plain});
    if let Some(name) = name {
        details["name"] = name.into();
    }
    if !group.is_empty() {
        details["group"] = group.into();
    }
    let mut refusal = Response::refusal(403, "Forbidden", &message, &details);
    // Who is refused by the filter, before any handler, hears this too.
    let nosniff = ("X-Content-Type-Options", "nosniff".to_owned());
    refusal.extra.push(nosniff);
    refusal
}

/// Who brings no credentials; the API server lets them in by default, and RBAC lets them do nothing.
const ANONYMOUS: &str = "system:anonymous";
/// The subprotocol that carries a browser's token.
pub(crate) const BEARER: &str = "base64url.bearer.authorization.k8s.io.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_the_words_of_the_api_server() {
        let attributes = Attributes {
            verb: "create",
            group: "",
            resource: "pods/exec",
            namespace: Some("default"),
            name: Some("web-0"),
        };
        let refusal = authorize("get-only", attributes).expect_err("get-only may not create");
        let body: serde_json::Value =
            serde_json::from_slice(&refusal.body).expect("the body is JSON");
        let expected = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "pods \"web-0\" is forbidden: User \"get-only\" cannot create resource \
                \"pods/exec\" in API group \"\" in the namespace \"default\"",
            "reason": "Forbidden", "details": {"name": "web-0", "kind": "pods"}, "code": 403,
        });
        assert_eq!(body, expected);
    }
}
