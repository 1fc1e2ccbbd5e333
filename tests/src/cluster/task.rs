//! Tasks of a cluster.
//!
//! Lives here: the one place that spawns. Never here: what the tasks do.

use tokio::task::JoinHandle;

/// Spawns a task that the cluster's runtime owns and ends when the cluster is dropped.
#[expect(
    clippy::disallowed_methods,
    reason = "the runtime lives in `Cluster` and ends every task"
)]
pub(crate) fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(future)
}
