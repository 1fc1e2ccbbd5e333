//! The log of one container, for tests that are written in Rust.
//!
//! Lives here: the same words as on the cluster's own path, as functions. Never here: their doing.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::control::{At, perform};
use crate::cluster::world::World;

/// What a test can do to a container and its log. `tests/README.md` has the words.
pub struct Log {
    pub(crate) world: Arc<World>,
    pub(crate) runtime: Handle,
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) container: String,
}

impl Log {
    /// Does one operation and waits until it is done, from blocking and asynchronous code alike.
    ///
    /// # Panics
    /// When it makes no sense: a test asked for it.
    #[expect(clippy::needless_pass_by_value, reason = "callers write json!(…)")]
    pub fn run(&self, operation: Value) -> Value {
        let at = At {
            namespace: &self.namespace,
            pod: &self.pod,
            container: &self.container,
        };
        let line = operation.to_string();
        // A thread of its own, because the caller may stand on a runtime that must not be blocked on.
        let done = std::thread::scope(|scope| {
            let work = || self.runtime.block_on(perform(&self.world, at, &line));
            scope.spawn(work).join()
        });
        match done {
            Ok(Ok(answer)) => answer,
            Ok(Err(text)) => panic!("{line}: {text}"),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Writes output of the container, now, in records as containerd would.
    pub fn write(&self, text: &str) {
        self.run(json!({"write": [{"text": text}]}));
    }

    /// Waits until exactly so many replies follow.
    pub fn await_follows(&self, count: usize) {
        self.run(json!({"await_follows": count}));
    }

    /// Cuts every reply that follows, and tells how many.
    pub fn cut(&self, how: &str) -> u64 {
        let answer = self.run(json!({"cut": how}));
        answer["cut"].as_u64().unwrap_or_default()
    }
}
