//! Which pods' logs are read: by name, by labels, everywhere.
//!
//! Lives here: paths and queries of a selection, and its words. Never here: watching, reading.

use std::fmt;

use crate::client::pod::{PodList, best_for_logs};
use crate::client::resolve::selector;
use crate::client::server::Server;
use crate::client::target::Target;
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::logs::LogsOptions;
use crate::protocol::request::encode;
use crate::protocol::text::escape;

/// The pods of a list, or of a watch.
#[derive(Clone, Debug)]
pub(in crate::client::logs) struct Selection {
    /// Absent: all of them.
    namespace: Option<String>,
    labels: Option<String>,
    name: Option<String>,
    words: String,
}

impl Selection {
    /// Finds out what selects the pods that are asked for. Of a workload without `all_pods` it is the
    /// pod that kubectl takes for logs.
    ///
    /// # Errors
    /// `NotFound` … as the server says of the workload, `NotFound` when it has no pod.
    pub(super) async fn of(
        server: &Server,
        target: Option<&Target>,
        namespace: &str,
        options: &LogsOptions,
    ) -> Result<Self> {
        let connect = options.limits.connect;
        let mut selection = Self {
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
            let list = selection.list(server, options).await?;
            let best = best_for_logs(&list.items).ok_or_else(|| selection.nobody())?;
            selection.name = Some(best.metadata.name.clone());
        }
        Ok(selection)
    }

    /// Asks for all of them. A pod that is named must be there.
    ///
    /// # Errors
    /// As the server says.
    pub(super) async fn list(&self, server: &Server, options: &LogsOptions) -> Result<PodList> {
        let path = self.path();
        let query = self.query();
        let query: Vec<_> = query
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        server
            .object(&path, &query, Some(options.limits.connect))
            .await
    }

    pub(super) fn path(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("/api/v1/namespaces/{}/pods", encode(namespace)),
            None => "/api/v1/pods".to_owned(),
        }
    }

    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let name = self.name.as_ref();
        let name = name.map(|name| ("fieldSelector", format!("metadata.name={name}")));
        let labels = self.labels.clone().map(|labels| ("labelSelector", labels));
        labels.into_iter().chain(name).collect()
    }

    /// The error of a selection that has no pod.
    pub(super) fn nobody(&self) -> Error {
        let place = match &self.namespace {
            Some(namespace) => format!("in the namespace {namespace}"),
            None => "in any namespace".to_owned(),
        };
        let what = match self.words.strip_prefix("a ") {
            Some(pod) => pod.to_owned(),
            None if self.name.is_some() => self.words.clone(),
            None => format!("pod of {self}"),
        };
        let message = format!("there is no {what} {place}");
        Error::new(ErrorKind::NotFound, message)
            .because("the list of pods is empty")
            .remedy("kubectl get pods --show-labels")
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_in_the_words_of_the_selection() {
        let selection = |words: &str, namespace: Option<&str>, name: Option<&str>| Selection {
            namespace: namespace.map(str::to_owned),
            labels: Some("a=b".to_owned()),
            name: name.map(str::to_owned),
            words: words.to_owned(),
        };
        for (selection, expected) in [
            (
                selection("a pod with the labels a=b", Some("n"), None),
                "there is no pod with the labels a=b in the namespace n",
            ),
            (
                selection("a pod", None, None),
                "there is no pod in any namespace",
            ),
            (
                selection("deployment/web", Some("n"), None),
                "there is no pod of deployment/web in the namespace n",
            ),
            (
                selection("pod/web-0", Some("n"), Some("web-0")),
                "there is no pod/web-0 in the namespace n",
            ),
        ] {
            assert_eq!(selection.nobody().to_string(), expected);
        }
    }
}
