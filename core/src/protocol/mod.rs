//! What bytes mean, and how talks go: pure, without waiting, clock, socket or environment.
//!
//! - [`subprotocol`]: the WebSocket subprotocols of Kubernetes and what each can say
//! - [`websocket`]: frames of RFC 6455, read piece by piece and written whole
//! - [`handshake`]: the upgrade request's secret and the checks of its answer
//! - [`status`]: the last word of a session: exit code, failure to start, or nothing usable
//! - [`portforward`]: ports and addresses, as kubectl writes them
//! - [`query`]: a query string carried past hops that drop it, and restored
//! - [`spdy`]: the frames inside a port-forward tunnel
//! - [`request`]: what is asked for, with all defaults, and the request each verb makes
//! - [`text`]: foreign text made safe for terminals and logs
//! - [`machine`]: conversations that remember what was said before
//! - [`logs`]: the log of a container: lines, and resuming without loss or repeats
//! - [`loki`]: Loki's messages, and following it without loss or repeats

pub mod error;
pub mod handshake;
pub mod logs;
pub mod loki;
pub mod machine;
pub mod portforward;
pub mod query;
pub mod request;
pub mod spdy;
pub mod status;
pub mod subprotocol;
pub mod text;
pub mod websocket;
