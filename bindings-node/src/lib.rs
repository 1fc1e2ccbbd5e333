//! The native half of the Node module `kubectl-wsx`: convert, call, convert.
//!
//! JavaScript sees it through `lib/` only. Nothing here waits: `connect`, `exec`, `attach`, `logs`,
//! `portForward`, `open`, `run` and `version` are promises, all else takes what is there and rings a
//! bell when there is more.

mod bell;
pub mod cancel;
mod characters;
pub mod client;
mod error;
pub mod forward;
pub mod logs;
pub mod options;
pub mod process;

use napi::bindgen_prelude::create_custom_tokio_runtime;
use tokio::runtime::Builder;

/// Panics in a call, or in what was begun, so that the tests see what becomes of it.
#[cfg(debug_assertions)]
#[napi_derive::napi(catch_unwind, skip_typescript)]
pub fn defect(
    env: &napi::Env,
    begun: bool,
) -> napi::Result<napi::bindgen_prelude::PromiseRaw<'_, ()>> {
    assert!(begun, "in a call");
    env.spawn_future(async { panic!("in what was begun") })
}

/// One thread serves what JavaScript can take; with two, sessions bounce between them: 1 GiB costs 15 % more CPU.
#[napi_derive::module_init]
fn init() {
    // Without it, napi makes one of its own.
    if let Ok(runtime) = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("wsx")
        .enable_all()
        .build()
    {
        create_custom_tokio_runtime(runtime);
    }
}
