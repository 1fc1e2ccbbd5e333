//! The kubeconfig of a cluster: every listener and every user as a context.
//!
//! Lives here: the document. Never here: files or sockets.

use serde_json::{Value, json};

/// What is needed to write the contexts down.
pub(crate) struct Entries {
    clusters: Vec<Value>,
    users: Vec<Value>,
    contexts: Vec<Value>,
}

impl Entries {
    pub(crate) fn new() -> Self {
        Self {
            clusters: Vec::new(),
            users: Vec::new(),
            contexts: Vec::new(),
        }
    }

    /// Adds a cluster; without an authority none is named.
    pub(crate) fn cluster(&mut self, name: &str, server: &str, authority: Option<&str>) {
        let mut cluster = json!({"server": server});
        if let Some(pem) = authority {
            cluster["certificate-authority-data"] = base64(pem).into();
        }
        self.clusters
            .push(json!({"name": name, "cluster": cluster}));
    }

    /// Adds a user.
    pub(crate) fn user(&mut self, name: &str, user: Value) {
        self.users.push(json!({"name": name, "user": user}));
    }

    /// Adds a context.
    pub(crate) fn context(&mut self, name: &str, cluster: &str, user: &str) {
        let context = json!({"cluster": cluster, "user": user, "namespace": "default"});
        self.contexts
            .push(json!({"name": name, "context": context}));
    }

    /// The document; JSON, which every reader of YAML takes.
    pub(crate) fn document(&self, current: &str) -> String {
        let document = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": current,
            "clusters": self.clusters,
            "users": self.users,
            "contexts": self.contexts,
            "preferences": {},
        });
        format!("{document:#}\n")
    }
}

/// PEM text as the `…-data` fields carry it.
pub(crate) fn base64(pem: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(pem)
}
