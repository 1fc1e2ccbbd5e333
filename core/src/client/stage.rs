//! Where a call has got to, so that a time limit can say what it interrupted.
//!
//! Lives here: one word behind a lock. Never here: clocks.

use std::sync::{Mutex, PoisonError};

/// What is being waited for.
pub(super) struct Stage(Mutex<&'static str>);

impl Stage {
    pub(super) const fn new(name: &'static str) -> Self {
        Self(Mutex::new(name))
    }

    pub(super) fn enter(&self, name: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = name;
    }

    pub(super) fn name(&self) -> &'static str {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
