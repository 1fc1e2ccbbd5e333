//! The watch of pods, or of slices of endpoints: what has changed, as events, to the end of the request.
//!
//! Lives here: which change is which event for a selector, and the sending. Never here: the changes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use super::http::Request;
use super::inlet::Inlet;
use super::logs::{CHUNKED_JSON, Cut, LAST_CHUNK};
use super::objects;
use super::pods::{Change, Order, Pods, SLICE};

/// A watch that may begin.
pub(crate) struct Watch {
    pods: Arc<Pods>,
    kind: &'static str,
    namespace: Option<String>,
    labels: Option<String>,
    fields: Option<String>,
    from: Option<u64>,
    limit: Option<Duration>,
}

impl Watch {
    pub(crate) fn new(
        pods: &Arc<Pods>,
        kind: &'static str,
        namespace: Option<&str>,
        request: &Request,
    ) -> Self {
        let text = |name: &str| request.parameter(name).map(str::to_owned);
        let number = |name: &str| request.parameter(name)?.parse::<u64>().ok();
        Self {
            pods: pods.clone(),
            kind,
            namespace: namespace.map(str::to_owned),
            labels: text("labelSelector"),
            fields: text("fieldSelector"),
            // Without a version, or with 0, it begins with all there is.
            from: number("resourceVersion").filter(|version| *version > 0),
            limit: number("timeoutSeconds").map(Duration::from_secs),
        }
    }

    /// Sends events until somebody ends it; true when the connection can carry another request.
    pub(crate) async fn run(self, inlet: &mut Inlet) -> io::Result<bool> {
        let mut connection = inlet.connection.clone();
        let (mut orders_rx, mut changed_rx) = self.pods.watched();
        connection.write_all(CHUNKED_JSON).await?;
        connection.flush().await?;
        let limit = self.limit.unwrap_or(Duration::from_secs(3600));
        let over = tokio::time::sleep(limit);
        let mut over = std::pin::pin!(over);
        let mut from = match self.from {
            Some(from) => from,
            None => {
                let (version, all) = self.pods.list(self.kind);
                for pod in all.iter().filter(|pod| self.fits(pod)) {
                    event(&mut connection, "ADDED", pod).await?;
                }
                version
            }
        };
        loop {
            changed_rx.borrow_and_update();
            match self.pods.since(from) {
                Err(oldest) => {
                    let text = format!("too old resource version: {from} ({oldest})");
                    event(&mut connection, "ERROR", &failure(410, "Expired", &text)).await?;
                    connection.write_all(LAST_CHUNK).await?;
                    connection.flush().await?;
                    return Ok(true);
                }
                Ok(changes) => {
                    for change in changes {
                        from = change.version;
                        if let Some((kind, pod)) = self.event_of(&change) {
                            event(&mut connection, kind, pod).await?;
                        }
                    }
                }
            }
            let order = tokio::select! {
                filled = inlet.fill() => match filled {
                    Ok(1..) => continue,
                    Ok(0) | Err(_) => return Ok(false),
                },
                _ = changed_rx.changed() => continue,
                // What becomes ready by time alone tells nobody.
                () = tokio::time::sleep(LOOK) => {
                    self.pods.look();
                    continue;
                }
                order = orders_rx.recv() => order.unwrap_or(Order::Cut(Cut::Eof)),
                () = &mut over => Order::Cut(Cut::Eof),
            };
            match order {
                Order::Bookmark => {
                    let version = json!({"resourceVersion": from.to_string()});
                    let group = if self.kind == SLICE {
                        "discovery.k8s.io/v1"
                    } else {
                        "v1"
                    };
                    let object =
                        json!({"kind": self.kind, "apiVersion": group, "metadata": version});
                    event(&mut connection, "BOOKMARK", &object).await?;
                }
                Order::Error(code, reason, text) => {
                    event(&mut connection, "ERROR", &failure(code, reason, text)).await?;
                    connection.write_all(LAST_CHUNK).await?;
                    connection.flush().await?;
                    return Ok(true);
                }
                Order::Cut(how) => return super::logs::sever(inlet, how).await,
            }
        }
    }

    fn fits(&self, pod: &Value) -> bool {
        let namespace = self.namespace.as_deref();
        pod["kind"] == self.kind
            && namespace.is_none_or(|namespace| pod["metadata"]["namespace"] == namespace)
            && objects::fits(pod, self.labels.as_deref(), self.fields.as_deref())
    }

    /// A pod that no longer fits is as good as deleted, one that fits now as good as new.
    fn event_of<'a>(&self, change: &'a Change) -> Option<(&'static str, &'a Value)> {
        let was = change.old.as_ref().filter(|pod| self.fits(pod));
        let is = change.new.as_ref().filter(|pod| self.fits(pod));
        match (was, is) {
            (None, None) => None,
            (None, Some(pod)) => Some(("ADDED", pod)),
            (Some(_), Some(pod)) => Some(("MODIFIED", pod)),
            (Some(old), None) => Some(("DELETED", change.new.as_ref().unwrap_or(old))),
        }
    }
}

async fn event(
    connection: &mut super::connection::Connection,
    kind: &str,
    object: &Value,
) -> io::Result<()> {
    let line = format!("{}\n", json!({"type": kind, "object": object}));
    let chunk = format!("{:x}\r\n{line}\r\n", line.len());
    connection.write_all(chunk.as_bytes()).await?;
    connection.flush().await
}

fn failure(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    })
}

const LOOK: Duration = Duration::from_millis(200);
