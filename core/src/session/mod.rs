//! Who moves the bytes: tasks, time limits and queues over a stream that somebody else opened.
//!
//! - [`transport`]: what a session needs from below: an upgraded stream, and a second opinion
//! - [`queue`]: a queue bounded in bytes
//! - `driver`: the only pump
//! - `outcome`: what the last word and the ending mean together
//! - [`process`]: exec and attach as a running thing
//! - [`forward`]: a port-forward as a running thing
//! - [`logs`]: the log of a container as a running thing
//! - [`pipe`]: its two outputs, read apart

mod driver;
pub mod forward;
pub mod logs;
mod outcome;
pub mod pipe;
pub mod process;
pub mod queue;
pub mod transport;

pub use forward::{
    ForwardEvent, ForwardReader, ForwardReport, ForwardStream, ForwardWriter, ForwardedPort,
    PortForward,
};
pub use logs::{LogEnd, LogEvent, LogItem, LogLine, LogReport, LogSource, Logs};
pub use pipe::{Lines, Pipe, Taken};
pub use process::{Chunk, Completed, Exit, Output, Process, Report, Stdin, Stream};
pub use transport::{Dial, Io, Upgraded};
