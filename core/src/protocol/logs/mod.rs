//! The log of a container: its lines, and following it over cuts, rotations and restarts.
//!
//! - [`LineReader`]: bytes of one reply in, lines with their timestamps out
//! - [`Resume`]: which request comes next, and which lines of its reply are new
//! - [`Ring`], [`Budget`]: what was shown last, and the memory that all streams share for it
//! - [`Instance`]: what became of the container meanwhile
//! - [`LogsOptions`]: what a caller asks for
//! - [`request`](mod@request): the request for a log, plain and as an offer of WebSocket subprotocols
//!
//! The algorithm is E.2 of our reference on reliability: align by position, never by time, and accept a
//! place only on enough evidence. What the kubelet does was read in kubernetes staging
//! `cri-client/pkg/logs/logs.go`: timestamps stand at the start of lines only, `tailLines` counts
//! records (a long line has several), and only the current file is ever read.

mod ask;
mod instance;
mod line;
mod matching;
mod options;
pub mod request;
mod resume;
mod ring;
mod stamp;

#[cfg(test)]
mod model;

pub use ask::{Ask, Notice, Pace, Start, Step};
pub use instance::{Change, Instance};
pub use line::{Given, LINE_LIMIT, Line, LineReader};
pub use options::{LogProtocol, LogsOptions};
pub use resume::Resume;
pub use ring::{Budget, Key, Ring};
