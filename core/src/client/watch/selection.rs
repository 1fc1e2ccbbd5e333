//! Which objects are meant: by name, by labels, everywhere.
//!
//! Lives here: paths and queries of a selection, and its words. Never here: watching, what they are for.

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use serde::de::DeserializeOwned;

use super::Watched;
use crate::client::pod::{List, ListMetadata};
use crate::client::server::Server;
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::request::encode;

/// What is on a list, or watched.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::client) enum Resource {
    EndpointSlices,
    Pods,
}

/// The objects of a list, or of a watch.
#[derive(Clone, Debug)]
pub(in crate::client) struct Selection {
    pub(in crate::client) resource: Resource,
    /// Absent: all of them.
    pub(in crate::client) namespace: Option<String>,
    pub(in crate::client) labels: Option<String>,
    pub(in crate::client) name: Option<String>,
    /// What people call it.
    pub(in crate::client) words: String,
}

impl Selection {
    /// Asks for all of them. One that is named must be there.
    ///
    /// # Errors
    /// As the server says.
    pub(in crate::client) async fn list<T: DeserializeOwned>(
        &self,
        server: &Server,
        connect: Duration,
    ) -> Result<List<T>> {
        let path = self.path();
        let query = self.query();
        let query: Vec<_> = query
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        server.object(&path, &query, Some(connect)).await
    }

    /// Asks for the one that is named, by the right to `get` alone; nothing where none is.
    ///
    /// # Errors
    /// As the server says.
    pub(super) async fn get<T: Watched>(
        &self,
        server: &Server,
        connect: Duration,
    ) -> Result<List<T>> {
        let name = self.name.as_deref().unwrap_or_default();
        let path = format!("{}/{}", self.path(), encode(name));
        let items = match server.object::<T>(&path, &[], Some(connect)).await {
            Ok(object) => vec![object],
            Err(error) if error.http_status() == Some(StatusCode::NOT_FOUND.as_u16()) => vec![],
            Err(error) => return Err(error),
        };
        let version = items
            .first()
            .map(|it| it.metadata().resource_version.clone());
        let resource_version = version.unwrap_or_default();
        Ok(List {
            metadata: ListMetadata { resource_version },
            items,
        })
    }

    pub(super) fn path(&self) -> String {
        let (group, plural) = match self.resource {
            Resource::EndpointSlices => ("apis/discovery.k8s.io/v1", "endpointslices"),
            Resource::Pods => ("api/v1", "pods"),
        };
        match &self.namespace {
            Some(namespace) => format!("/{group}/namespaces/{}/{plural}", encode(namespace)),
            None => format!("/{group}/{plural}"),
        }
    }

    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let name = self.name.as_ref();
        let name = name.map(|name| ("fieldSelector", format!("metadata.name={name}")));
        let labels = self.labels.clone().map(|labels| ("labelSelector", labels));
        labels.into_iter().chain(name).collect()
    }

    /// The error of a selection that has no pod.
    pub(in crate::client) fn nobody(&self) -> Error {
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
            resource: Resource::Pods,
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
