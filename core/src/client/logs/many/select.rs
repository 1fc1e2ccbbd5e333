//! Which pods' logs are read.
//!
//! Lives here: from a target and options to a selection. Never here: watching, reading.

use crate::client::pod::{PodList, best_for_logs};
use crate::client::resolve::selector;
use crate::client::server::Server;
use crate::client::target::Target;
use crate::client::watch::{Resource, Selection};
use crate::error::Result;
use crate::protocol::logs::LogsOptions;
use crate::protocol::text::escape;

/// Finds out what selects the pods that are asked for. Of a workload without `all_pods` it is the
/// pod that kubectl takes for logs.
///
/// # Errors
/// `NotFound` … as the server says of the workload, `NotFound` when it has no pod.
pub(super) async fn select(
    server: &Server,
    target: Option<&Target>,
    namespace: &str,
    options: &LogsOptions,
) -> Result<Selection> {
    let connect = options.limits.connect;
    let mut selection = Selection {
        resource: Resource::Pods,
        namespace: (!options.all_namespaces).then(|| namespace.to_owned()),
        labels: options.selector.clone().filter(|text| !text.is_empty()),
        name: None,
        words: String::new(),
    };
    selection.words = match target {
        Some(Target::Pod(name)) => {
            selection.name = Some(name.clone());
            format!("pod/{name}")
        }
        Some(target @ Target::Workload(workload, name)) => {
            let labels = selector(server, *workload, namespace, name, connect).await?;
            selection.labels = Some(labels);
            target.to_string()
        }
        None => match &selection.labels {
            Some(labels) => format!("a pod with the labels {}", escape(labels)),
            None => "a pod".to_owned(),
        },
    };
    if let (Some(Target::Workload(..)), false) = (target, options.all_pods) {
        let list: PodList = selection.list(server, connect).await?;
        let best = best_for_logs(&list.items).ok_or_else(|| selection.nobody())?;
        selection.name = Some(best.metadata.name.clone());
    }
    Ok(selection)
}
