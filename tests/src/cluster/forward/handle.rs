//! The ports of one pod, for tests that are written in Rust.
//!
//! Lives here: the same words as on the cluster's own path. Never here: their doing.

use std::sync::Arc;

use serde_json::Value;
use tokio::runtime::Handle;

use super::control::perform;
use crate::cluster::world::World;

/// What a test can do to the ports of a pod. `tests/README.md` has the words.
pub struct Forward {
    pub(crate) world: Arc<World>,
    pub(crate) runtime: Handle,
    pub(crate) namespace: String,
    pub(crate) pod: String,
}

impl Forward {
    /// Does one operation and waits until it is done, from blocking and asynchronous code alike.
    ///
    /// # Panics
    /// When it makes no sense: a test asked for it.
    #[expect(clippy::needless_pass_by_value, reason = "callers write json!(…)")]
    pub fn run(&self, operation: Value) -> Value {
        let line = operation.to_string();
        // A thread of its own, because the caller may stand on a runtime that must not be blocked on.
        let done = std::thread::scope(|scope| {
            let work = || {
                let performing = perform(&self.world, &self.namespace, &self.pod, &line);
                self.runtime.block_on(performing)
            };
            scope.spawn(work).join()
        });
        match done {
            Ok(Ok(answer)) => answer,
            Ok(Err(text)) => panic!("{line}: {text}"),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}
