//! Loki: what is asked of it, what it sends, and following it without loss or repeats.
//!
//! - [`TailRequest`], [`RangeRequest`]: the two requests, at a [`Place`]
//! - [`Decoder`]: the JSON of a tail and of `query_range` as [`Entry`]s
//! - [`Ending`]: why either ended, and which setting of Loki's changes that
//! - [`time`]: times as logcli writes them
//!
//! What Loki does was read in its source (grafana/loki `pkg/querier`, `pkg/loghttp`), and stands where a rule
//! rests on it.

mod ending;
mod entry;
mod message;
mod request;
pub mod time;

pub use ending::{Ending, Limit, Retry, position};
pub use entry::{Entry, Labels};
pub use message::{Decoder, Dropped, LokiError, TailMessage};
pub use request::{Place, RangeRequest, TailRequest};
