//! How JavaScript takes back what it asked for.

use napi_derive::napi;
use tokio::sync::watch;

use crate::error;

/// A wish that may be withdrawn, once.
#[napi]
#[derive(Default)]
pub struct Cancel {
    cancelled: watch::Sender<bool>,
}

#[napi]
impl Cancel {
    /// Makes a wish that holds.
    #[napi(constructor)]
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Withdraws it: what is under way is dropped, and its promise rejected.
    #[napi]
    pub fn cancel(&self) {
        self.cancelled.send_replace(true);
    }
}

impl Cancel {
    /// Bounds a future by this wish.
    pub(crate) fn bound<T, F: Future<Output = napi::Result<T>>>(
        &self,
        wish: F,
    ) -> impl Future<Output = napi::Result<T>> + use<T, F> {
        let mut cancelled = self.cancelled.subscribe();
        async move {
            tokio::select! {
                biased;
                Ok(_) = cancelled.wait_for(|cancelled| *cancelled) => Err(error::cancelled()),
                outcome = wish => outcome,
            }
        }
    }
}
