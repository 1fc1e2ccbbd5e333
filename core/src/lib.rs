//! Streams to and from Kubernetes over WebSocket that never lie about how they ended.
//!
//! Three promises hold for everything here: never a false success, never a silent loss, never a
//! hang. A missing exit status is an error ([`ErrorKind::Lost`]), every wait has a deadline with a
//! name, every queue is bounded in bytes, and a slow reader slows the sender instead of losing data.
//!
//! # Layout
//!
//! | floor | feature | what it knows |
//! |---|---|---|
//! | [`protocol`] | none | what bytes mean: no clock, no socket, no environment |
//! | [`session`] | `session` | who moves the bytes: tasks, time limits, queues |
//! | [`client`] | `client` (default) | whom we reach: kubeconfig, credentials, pods, the handshake |
//!
//! Arrows point down only; the build of each floor alone proves it.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

#[cfg(feature = "client")]
pub mod client;
pub mod error;
pub mod protocol;
#[cfg(feature = "session")]
pub mod session;

#[cfg(feature = "client")]
pub use client::{Client, Config, Notice};
pub use error::{Error, ErrorKind, Result};
pub use protocol::logs::request::LogSubprotocol;
pub use protocol::logs::{LogProtocol, LogsOptions};
pub use protocol::machine::forward::HalfClose;
pub use protocol::portforward::{Balance, ForwardOptions, ForwardProtocol, ForwardSubprotocol};
pub use protocol::portforward::{OnConflict, Reconnect};
pub use protocol::request::{AttachOptions, ExecOptions, Limits, Offer, Size, Verify};
pub use protocol::status::{Confidence, ExitStatus};
pub use protocol::subprotocol::Subprotocol;
#[cfg(feature = "session")]
pub use session::forward::{ForwardEvent, ForwardReport, ForwardedPort, Opener, PortForward};
#[cfg(feature = "session")]
pub use session::forward::{ForwardReader, ForwardStream, ForwardWriter};
#[cfg(feature = "session")]
pub use session::{Chunk, Completed, Lines, Pipe, Process, Report, Stream, Taken};
#[cfg(feature = "session")]
pub use session::{LogEnd, LogEvent, LogItem, LogLine, LogReport, LogSource, Logs};
