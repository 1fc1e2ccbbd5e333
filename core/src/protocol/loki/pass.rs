//! Going through `query_range` page by page.
//!
//! Lives here: where the next page begins, and how long it may be. Never here: which of its entries are new.

use std::time::Duration;

use super::step::{Id, Now, Origin};

/// What the entries are asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Purpose {
    /// A tail has missed some.
    CatchUp,
    /// A tail may have missed some.
    Verify,
}

impl Purpose {
    pub(super) const fn origin(self) -> Origin {
        match self {
            Self::CatchUp => Origin::CaughtUp,
            Self::Verify => Origin::Recovered,
        }
    }
}

/// What follows a page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Turn {
    /// The next page, without the rest of this nanosecond, which does not fit in any.
    Crowded(i64),
    /// Nothing.
    Finished,
    /// The next page.
    Next,
}

/// A range that is read forward. A page begins with the nanosecond that the one before it ended with, as
/// that may not have been whole.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) began: i64,
    pub(super) cursor: i64,
    pub(super) end: i64,
    pub(super) failing: Option<Duration>,
    pub(super) id: Id,
    pub(super) limit: u32,
    /// The longest page that Loki gives, as far as is known.
    pub(super) most: u32,
    pub(super) purpose: Purpose,
}

impl Pass {
    pub(super) const fn new(purpose: Purpose, from: i64, end: i64, page: u32, now: Now) -> Self {
        Self {
            began: now.server,
            cursor: from,
            end,
            failing: None,
            id: Id(0),
            limit: page,
            most: u32::MAX,
            purpose,
        }
    }

    /// Moves behind a page of so many entries, the last of this time.
    pub(super) fn turn(&mut self, length: usize, last: Option<i64>, page: u32) -> Turn {
        self.failing = None;
        let full = length >= self.limit as usize;
        let Some(last) = last.filter(|_| full) else {
            return Turn::Finished;
        };
        // Behind the page stands the cursor where some of it was skipped.
        if last != self.cursor {
            self.cursor = self.cursor.max(last);
            self.limit = page.min(self.most);
            return Turn::Next;
        }
        // All of one nanosecond: only a longer page can show where it ends.
        let longer = self
            .limit
            .saturating_mul(4)
            .min(self.most)
            .min(page.saturating_mul(64));
        if longer > self.limit {
            self.limit = longer;
            return Turn::Next;
        }
        self.limit = page.min(self.most);
        self.cursor = last.saturating_add(1);
        Turn::Crowded(last)
    }

    /// Loki gives no more than `allowed`; tells whether that helps.
    pub(super) fn lower(&mut self, allowed: u64) -> bool {
        let allowed = u32::try_from(allowed).unwrap_or(u32::MAX);
        if allowed == 0 || allowed >= self.limit {
            return false;
        }
        self.most = allowed;
        self.limit = allowed;
        true
    }
}
