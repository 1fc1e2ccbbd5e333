//! Who moves the bytes: tasks, time limits and queues over a stream that somebody else opened.
//!
//! - [`transport`]: what a session needs from below: an upgraded stream, and a second opinion
//! - [`queue`]: a queue bounded in bytes
//! - `driver`: the only pump
//! - `outcome`: what the last word and the ending mean together
//! - [`process`]: exec and attach as a running thing

mod driver;
mod outcome;
pub mod process;
pub mod queue;
pub mod transport;

pub use process::{Chunk, Completed, Exit, Output, Process, Report, Stdin, Stream};
pub use transport::{Dial, Io, Upgraded};
