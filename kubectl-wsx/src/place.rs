//! Where a command runs, as far as it becomes known.
//!
//! Lives here: names of pod and container for the status file. Never here: how they are chosen.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wsx_core::client::Notice;

/// The pod and the container, shared with whoever learns them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place(Arc<Mutex<Names>>);

#[derive(Debug, Default)]
struct Names {
    pod: Option<String>,
    container: Option<String>,
}

impl Place {
    /// Takes over what the caller named.
    pub(crate) fn name(&self, target: &str, container: Option<&str>) {
        let mut names = self.names();
        names.pod = match target.split_once('/') {
            None => Some(target.to_owned()),
            Some(("pod" | "pods" | "po", pod)) => Some(pod.to_owned()),
            Some(_) => None,
        };
        names.container = container.map(str::to_owned);
    }

    /// Takes over what the library chose.
    pub(crate) fn learn(&self, notice: &Notice) {
        let mut names = self.names();
        match notice {
            Notice::Attaching { pod, container } | Notice::ChosenPod { pod, container, .. } => {
                names.pod = Some(pod.clone());
                names.container = Some(container.clone());
            }
            Notice::DefaultedContainer { container, .. } => {
                names.container = Some(container.clone());
            }
            _ => {}
        }
    }

    /// Returns the pod and the container.
    pub(crate) fn known(&self) -> (Option<String>, Option<String>) {
        let names = self.names();
        (names.pod.clone(), names.container.clone())
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        // No code panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_known_by_its_name_and_the_rest_is_learned() {
        let place = Place::default();
        place.name("pod/web-0", None);
        assert_eq!(place.known(), (Some("web-0".to_owned()), None));
        place.name("deploy/web", Some("app"));
        assert_eq!(place.known(), (None, Some("app".to_owned())));
        let (pod, container) = ("web-1".to_owned(), "app".to_owned());
        place.learn(&Notice::ChosenPod {
            pod,
            count: 2,
            container,
        });
        assert_eq!(
            place.known(),
            (Some("web-1".to_owned()), Some("app".to_owned()))
        );
    }
}
