//! Masking keys.
//!
//! Lives here: where randomness comes from. Never here: masking itself (`protocol::websocket`).

/// Masking keys, fetched in batches from the operating system (RFC 6455, 5.3: unpredictable).
pub(super) struct Masks {
    keys: [u8; 256],
    used: usize,
}

impl Default for Masks {
    fn default() -> Self {
        Self {
            keys: [0; 256],
            used: 256,
        }
    }
}

impl Masks {
    pub(super) fn next(&mut self) -> [u8; 4] {
        if self.used + 4 > self.keys.len() {
            // Without random numbers there would have been no TLS and no handshake.
            let filled = getrandom::fill(&mut self.keys);
            tracing::trace!(ok = filled.is_ok(), "masking keys");
            self.used = 0;
        }
        let key = [0, 1, 2, 3].map(|index| self.keys[self.used + index]);
        self.used += 4;
        key
    }
}
