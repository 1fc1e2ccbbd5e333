//! `--filename`: the pod, or what has pods, that a manifest describes.
//!
//! Lives here: reading kind and name. Never here: everything else a manifest says.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde::Deserialize;
use wsx_core::{Error, ErrorKind};

use crate::ending::plain;

/// What a manifest names.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Named {
    /// `type/name`.
    pub(crate) target: String,
    /// Its namespace, where it says one.
    pub(crate) namespace: Option<String>,
}

impl Named {
    /// Returns the namespace to use, given the one that the command line names.
    ///
    /// # Errors
    /// `Invalid` when both name one, and not the same.
    pub(crate) fn namespace_beside(&self, named: Option<&str>) -> Result<Option<String>, Error> {
        match (&self.namespace, named) {
            // cli-runtime pkg/resource/visitor.go, RequireNamespace: the same words.
            (Some(own), Some(named)) if own != named => Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "the namespace from the provided object {own:?} does not match the namespace \
                     {named:?}. You must pass '--namespace={own}' to perform this operation."
                ),
            )),
            (own, _) => Ok(own.clone()),
        }
    }
}

#[derive(Deserialize)]
struct Manifest {
    kind: String,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
}

/// The most that a manifest may say; the API server takes less.
const LIMIT: u64 = 4 * 1024 * 1024;

/// Reads a file of YAML or JSON that describes one object.
///
/// # Errors
/// `Invalid` when it cannot be read, or names no one object.
pub(crate) fn read(path: &Path) -> Result<Named, Error> {
    let shown = path.display();
    let wrong = |text: String| Error::new(ErrorKind::Invalid, format!("{shown}: {text}"));
    if path == Path::new("-") {
        return Err(wrong(
            "a manifest cannot come from standard input here".to_owned(),
        ));
    }
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(LIMIT).read_to_string(&mut text));
    read.map_err(|error| wrong(plain(&error)))?;
    parse(&text).map_err(wrong)
}

fn parse(text: &str) -> Result<Named, String> {
    let objects: Vec<Manifest> = serde_saphyr::from_multiple(text)
        .map_err(|_| "is no manifest: it has no kind and metadata in YAML or JSON".to_owned())?;
    let [Manifest { kind, metadata }] = objects.as_slice() else {
        // kubectl pkg/cmd/exec/exec.go: the same words for more than one.
        return Err("cannot exec into multiple objects at a time".to_owned());
    };
    let Some(name) = metadata.name.as_deref().filter(|name| !name.is_empty()) else {
        return Err(format!("the {kind} has no name"));
    };
    let target = format!("{}/{name}", kind.to_lowercase());
    Ok(Named {
        target,
        namespace: metadata.namespace.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(target: &str, namespace: Option<&str>) -> Result<Named, String> {
        Ok(Named {
            target: target.to_owned(),
            namespace: namespace.map(str::to_owned),
        })
    }

    #[test]
    fn yaml_and_json_name_an_object() {
        let yaml = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n  \
                    labels: {a: b}\nspec:\n  replicas: 2\n";
        let json = r#"{"kind": "Pod", "metadata": {"name": "web-0", "namespace": "prod"}}"#;
        assert_eq!(parse(yaml), named("deployment/web", None));
        assert_eq!(
            parse(&format!("---\n{yaml}")),
            named("deployment/web", None)
        );
        assert_eq!(parse(json), named("pod/web-0", Some("prod")));
    }

    #[test]
    fn what_names_no_one_object_is_refused() {
        let pod = "kind: Pod\nmetadata: {name: a}\n";
        assert!(
            parse(&format!("{pod}---\n{pod}"))
                .unwrap_err()
                .contains("multiple objects")
        );
        assert_eq!(
            parse("kind: Pod\nmetadata: {}\n"),
            Err("the Pod has no name".to_owned())
        );
        for text in ["", "hello", "kind: Pod", "a: [", "\u{0}"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn two_namespaces_must_be_the_same() {
        let named = named("pod/a", Some("prod")).unwrap();
        assert_eq!(
            named.namespace_beside(None).unwrap().as_deref(),
            Some("prod")
        );
        assert_eq!(
            named.namespace_beside(Some("prod")).unwrap().as_deref(),
            Some("prod")
        );
        assert_eq!(
            named.namespace_beside(Some("dev")).unwrap_err().kind(),
            ErrorKind::Invalid
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read(Path::new("/no/such.yaml")).unwrap_err();
        assert_eq!(error.report(), "/no/such.yaml: No such file or directory");
    }
}
