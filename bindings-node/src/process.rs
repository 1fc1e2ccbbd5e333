//! A running remote process, as things to take and to give that never wait.
//!
//! A method that finds nothing arms the bell: the function given to `listen` is called once there may
//! be more. So nothing is ever taken by a wait that was given up.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use napi::Env;
use napi::bindgen_prelude::{BufferSlice, Function, Uint32Array};
use napi_derive::napi;
use wsx_core::session::{Exit, Stdin};
use wsx_core::{ExitStatus, Pipe, Process, Taken};

use crate::bell::Bell;
use crate::characters;
use crate::error::rejected;
use crate::options::TerminalSize;

/// A running remote process. Its drop closes the session.
#[napi]
pub struct NativeProcess {
    stdout: Option<Pipe>,
    stderr: Option<Pipe>,
    stdin: Option<Stdin>,
    terminal: bool,
    exit: Exit,
    outcome: Outcome,
    ended: Option<wsx_core::Result<ExitStatus>>,
    /// What text has of a character that is not complete, of both outputs.
    characters: [Vec<u8>; 2],
    bell: Option<Arc<Bell>>,
}

/// A future rather than a task: nobody has to end it.
type Outcome = Pin<Box<dyn Future<Output = wsx_core::Result<ExitStatus>> + Send>>;

/// How a command ended.
#[napi(object)]
pub struct NativeStatus {
    /// Its exit code.
    pub code: u8,
    /// How sure a code of 0 is.
    pub confidence: String,
}

/// Whole lines in one buffer.
#[napi(object)]
pub struct NativeLines<'env> {
    /// The lines, one after the other, each with its line feed.
    pub data: BufferSlice<'env>,
    /// Where each ends.
    pub ends: Uint32Array,
}

/// An output of a process.
#[napi]
#[derive(Clone, Copy)]
pub enum Channel {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How many lines make a batch at most.
pub(crate) const LINES: usize = 1024;
/// How many bytes make a batch at most.
pub(crate) const BATCH: usize = 256 * 1024;

impl NativeProcess {
    pub(crate) fn new(process: Process, (stdout, stderr): (bool, bool)) -> Self {
        let terminal = process.has_terminal();
        let (output, stdin, exit) = process.split();
        let (out, err) = output.split();
        let waiting = exit.clone();
        // A pipe that is dropped here discards what was not asked for.
        Self {
            stdout: stdout.then_some(out),
            stderr: (stderr && !terminal).then_some(err),
            stdin,
            terminal,
            exit,
            outcome: Box::pin(async move { waiting.wait().await }),
            ended: None,
            characters: Default::default(),
            bell: None,
        }
    }

    fn pipe(&self, channel: Channel) -> Option<&Pipe> {
        match channel {
            Channel::Stdout => self.stdout.as_ref(),
            Channel::Stderr => self.stderr.as_ref(),
        }
    }

    fn waker(&self) -> Waker {
        match &self.bell {
            Some(bell) => bell.waker(),
            None => Waker::noop().clone(),
        }
    }

    /// Takes what is there; after `Nothing` the bell will ring.
    fn take<T>(
        &self,
        channel: Channel,
        mut pick: impl FnMut(&Pipe) -> Taken<T>,
        ready: impl Fn(&Pipe, &mut Context<'_>) -> Poll<()>,
    ) -> Taken<T> {
        let Some(pipe) = self.pipe(channel) else {
            return Taken::End;
        };
        loop {
            match pick(pipe) {
                Taken::Nothing => {}
                found => return found,
            }
            if ready(pipe, &mut Context::from_waker(&self.waker())).is_pending() {
                return Taken::Nothing;
            }
        }
    }
}

#[napi]
impl NativeProcess {
    /// Has this function called when something that was not there may be.
    #[napi(catch_unwind)]
    pub fn listen(&mut self, callback: Function<'_, (), ()>) -> napi::Result<()> {
        self.bell = Some(Bell::new(&callback)?);
        Ok(())
    }

    /// Says that the function was called.
    #[napi(catch_unwind)]
    pub fn heard(&self) {
        if let Some(bell) = &self.bell {
            bell.heard();
        }
    }

    /// Fills a buffer with what is there, and tells how many bytes that is: 0 when there are none yet,
    /// `null` when there never will be.
    #[napi(catch_unwind)]
    pub fn read(&self, channel: Channel, mut target: BufferSlice<'_>) -> Option<u32> {
        let fill = |pipe: &Pipe| {
            let mut used = 0;
            while used < target.len() {
                match pipe.try_read(target.len() - used) {
                    Taken::Data(data) => {
                        let end = used + data.len();
                        target[used..end].copy_from_slice(&data);
                        used = end;
                    }
                    Taken::End if used == 0 => return Taken::End,
                    _ => break,
                }
            }
            // At most the buffer, which is far below 4 GiB.
            match u32::try_from(used).unwrap_or(u32::MAX) {
                0 => Taken::Nothing,
                used => Taken::Data(used),
            }
        };
        match self.take(channel, fill, Pipe::poll_ready) {
            Taken::Data(bytes) => Some(bytes),
            Taken::End => None,
            _ => Some(0),
        }
    }

    /// Takes lines: no `ends` when there are none yet, `null` when there never will be. With `text` no
    /// character is cut where a long line is: its first bytes wait for the next piece.
    #[napi(catch_unwind)]
    pub fn lines<'env>(
        &mut self,
        env: &'env Env,
        channel: Channel,
        text: bool,
    ) -> napi::Result<Option<NativeLines<'env>>> {
        let pick = |pipe: &Pipe| pipe.try_lines(LINES, BATCH);
        let taken = self.take(channel, pick, Pipe::poll_line);
        let held = &mut self.characters[channel as usize];
        let (data, ends) = match taken {
            Taken::Data(mut lines) => {
                if text {
                    characters::complete(held, &mut lines);
                }
                (lines.data, lines.ends)
            }
            Taken::End if held.is_empty() => return Ok(None),
            Taken::End => {
                let end = u32::try_from(held.len()).unwrap_or(u32::MAX);
                (std::mem::take(held).into(), vec![end])
            }
            _ => Default::default(),
        };
        Ok(Some(NativeLines {
            data: BufferSlice::copy_from(env, data)?,
            ends: Uint32Array::new(ends),
        }))
    }

    /// Drops what is there and what will come.
    #[napi(catch_unwind)]
    pub fn discard(&self, channel: Channel) {
        if let Some(pipe) = self.pipe(channel) {
            pipe.discard();
        }
    }

    /// Takes input, all of it; tells whether there is room for more.
    #[napi(catch_unwind)]
    pub fn write(&self, data: &[u8]) -> napi::Result<bool> {
        let Some(stdin) = &self.stdin else {
            return Ok(true);
        };
        let data = Bytes::copy_from_slice(data);
        stdin.try_write(data).map_err(|error| self.failed(&error))
    }

    /// Tells whether there is room for more input; otherwise the bell will ring.
    #[napi(catch_unwind)]
    pub fn drained(&self) -> napi::Result<bool> {
        let Some(stdin) = &self.stdin else {
            return Ok(true);
        };
        match stdin.poll_drained(&mut Context::from_waker(&self.waker())) {
            Poll::Ready(Ok(())) => Ok(true),
            Poll::Ready(Err(error)) => Err(self.failed(&error)),
            Poll::Pending => Ok(false),
        }
    }

    /// Ends the input.
    #[napi(catch_unwind)]
    pub fn end(&mut self) {
        self.stdin = None;
    }

    /// Tells how the command ended: nothing while it runs, and the bell will ring.
    #[napi(catch_unwind)]
    pub fn status(&mut self) -> napi::Result<Option<NativeStatus>> {
        if self.ended.is_none() {
            let waker = self.waker();
            let mut context = Context::from_waker(&waker);
            let Poll::Ready(outcome) = self.outcome.as_mut().poll(&mut context) else {
                return Ok(None);
            };
            self.ended = Some(outcome);
        }
        match &self.ended {
            None => Ok(None),
            Some(Ok(status)) => Ok(Some(NativeStatus {
                code: status.code,
                confidence: status.confidence.as_str().to_owned(),
            })),
            Some(Err(error)) => Err(self.failed(error)),
        }
    }

    /// Says the terminal's new size.
    #[napi(catch_unwind)]
    pub fn resize(&self, size: TerminalSize) -> napi::Result<()> {
        self.exit.resize(size.checked()?);
        Ok(())
    }

    /// Ends the session; its status follows.
    #[napi(catch_unwind)]
    pub fn close(&self) {
        self.exit.close();
    }

    /// Whether the remote process has a terminal.
    #[napi(getter)]
    pub fn has_terminal(&self) -> bool {
        self.terminal
    }

    /// The subprotocol that was agreed with the server.
    #[napi(getter)]
    pub fn protocol(&self) -> String {
        self.exit.report().protocol.name().to_owned()
    }

    fn failed(&self, error: &wsx_core::Error) -> napi::Error {
        rejected(error, Some(&self.exit.report()))
    }
}
