//! How another thread tells the event loop that there is something to take.
//!
//! Lives here: one wake-up however often it rings. Never here: what is there to take.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use napi::Status;
use napi::bindgen_prelude::Function;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};

/// Calls a JavaScript function on its own thread, without arguments and without holding up the end of
/// the program. Until [`heard`](Self::heard), further rings change nothing.
pub(crate) struct Bell {
    function: ThreadsafeFunction<(), (), (), Status, false, true>,
    rung: AtomicBool,
}

impl Bell {
    pub(crate) fn new(callback: &Function<'_, (), ()>) -> napi::Result<Arc<Self>> {
        let function = callback
            .build_threadsafe_function::<()>()
            .callee_handled::<false>()
            .weak::<true>()
            .build()?;
        Ok(Arc::new(Self {
            function,
            rung: AtomicBool::new(false),
        }))
    }

    /// Says that the function was called; from now on a ring calls it again.
    pub(crate) fn heard(&self) {
        self.rung.store(false, Ordering::Release);
    }

    pub(crate) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // Refused while the environment ends: then nobody listens any more.
            self.function
                .call((), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }
}
