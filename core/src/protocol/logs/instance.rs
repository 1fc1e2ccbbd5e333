//! What became of the container whose log was read: step 7 of reliability.md E.2.
//!
//! Lives here: comparing what the pod says before and after a cut. Never here: asking for the pod.

/// One run of a container, as `status.containerStatuses[]` tells it.
///
/// A log file belongs to a pod's UID, a container and its restart count (kubelet: the file is named by
/// the count); the container ID changes with the count.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Instance {
    /// `metadata.uid` of the pod.
    pub pod_uid: String,
    /// `restartCount`.
    pub restart_count: u32,
}

/// What to do after a cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// The pod is another one, or its count went back: a new stream, nothing of the old one is left.
    Replaced,
    /// One restart: read the rest of the old run with `previous=true`, then the new one from its start.
    Restarted,
    /// Nothing: resume in the same file.
    Same,
    /// More than one restart: the rest of the old run is gone, and this many whole runs were never seen.
    Unseen {
        /// Runs between the old one and the one now.
        instances: u32,
    },
}

impl Instance {
    /// Names a run.
    pub fn new(pod_uid: impl Into<String>, restart_count: u32) -> Self {
        Self {
            pod_uid: pod_uid.into(),
            restart_count,
        }
    }

    /// Compares with what the pod says now.
    #[must_use]
    pub fn change(&self, now: &Self) -> Change {
        if self.pod_uid != now.pod_uid {
            return Change::Replaced;
        }
        match now.restart_count.checked_sub(self.restart_count) {
            None => Change::Replaced,
            Some(0) => Change::Same,
            Some(1) => Change::Restarted,
            Some(more) => Change::Unseen {
                instances: more - 1,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_restart_count_tells_what_was_missed() {
        let old = Instance::new("a", 3);
        for (uid, count, change) in [
            ("a", 3, Change::Same),
            ("a", 4, Change::Restarted),
            ("a", 5, Change::Unseen { instances: 1 }),
            ("a", 9, Change::Unseen { instances: 5 }),
            ("a", 2, Change::Replaced),
            ("b", 3, Change::Replaced),
        ] {
            assert_eq!(
                old.change(&Instance::new(uid, count)),
                change,
                "{uid} {count}"
            );
        }
    }
}
