//! Loki: what is asked of it, what it sends, and following it without loss or repeats.
//!
//! - [`TailRequest`], [`RangeRequest`]: the two requests, at a [`Place`]
//! - [`Decoder`]: the JSON of a tail and of `query_range` as [`Entry`]s
//! - [`Ending`]: why either ended, and which setting of Loki's changes that
//! - [`Tail`]: which tail or page comes next, and which of their entries are new
//! - [`time`]: times as logcli writes them
//!
//! What Loki does was read in its source (grafana/loki `pkg/querier`, `pkg/loghttp`), and stands where a rule
//! rests on it.

mod ending;
mod entry;
mod message;
mod pass;
mod request;
mod step;
mod tail;
pub mod time;
mod window;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub use ending::{Ending, Limit, Retry, position};
pub use entry::{Entry, Labels};
pub use message::{Decoder, Dropped, LokiError, TailMessage};
pub use request::{Place, RangeRequest, TailRequest};
pub use step::{Id, Notice, Now, Origin, Step, TailOptions, Why};
pub use tail::Tail;
