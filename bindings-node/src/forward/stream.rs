//! A connection to a port of a pod, as things to take and to give that never wait.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf as _, Bytes};
use napi::bindgen_prelude::{BufferSlice, Function};
use napi_derive::napi;
use wsx_core::{Error, ErrorKind, ForwardReader, ForwardStream, ForwardWriter};

use crate::bell::Bell;
use crate::error::rejected;

/// A connection to a port of a pod. Its drop resets it.
#[napi]
pub struct NativeForwardStream {
    /// Nothing once it was left.
    halves: Option<(ForwardReader, ForwardWriter)>,
    /// What was fetched and not yet taken.
    data: VecDeque<Bytes>,
    bell: Option<Arc<Bell>>,
}

impl NativeForwardStream {
    pub(crate) fn new(stream: ForwardStream) -> Self {
        Self {
            halves: Some(stream.split()),
            data: VecDeque::new(),
            bell: None,
        }
    }

    fn waker(&self) -> Waker {
        match &self.bell {
            Some(bell) => bell.waker(),
            None => Waker::noop().clone(),
        }
    }
}

#[napi]
impl NativeForwardStream {
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
    /// `null` when the pod has ended. Fails with why the connection was cut, after all that came.
    #[napi(catch_unwind)]
    pub fn read(&mut self, mut target: BufferSlice<'_>) -> napi::Result<Option<u32>> {
        let waker = self.waker();
        let Some((reader, _)) = &mut self.halves else {
            return Ok(None);
        };
        let mut used = 0;
        while used < target.len() {
            if let Some(data) = self.data.front_mut() {
                let count = data.len().min(target.len() - used);
                target[used..used + count].copy_from_slice(&data[..count]);
                data.advance(count);
                used += count;
                if data.is_empty() {
                    self.data.pop_front();
                }
                continue;
            }
            let mut batch = Vec::new();
            match reader.poll_batch(&mut Context::from_waker(&waker), &mut batch) {
                Poll::Ready(Ok(true)) => self.data.extend(batch),
                // They are said again when what came before was taken.
                _ if used > 0 => break,
                Poll::Ready(Ok(false)) => return Ok(None),
                Poll::Ready(Err(error)) => return Err(rejected(&error, None)),
                Poll::Pending => break,
            }
        }
        // At most the buffer, which is far below 4 GiB.
        Ok(Some(u32::try_from(used).unwrap_or(u32::MAX)))
    }

    /// Tells whether there is room for more; otherwise the bell will ring. Fails when nobody takes any.
    #[napi(catch_unwind)]
    pub fn room(&mut self) -> napi::Result<bool> {
        let waker = self.waker();
        let Some((_, writer)) = &mut self.halves else {
            return Err(left());
        };
        match writer.poll_room(&mut Context::from_waker(&waker)) {
            Poll::Ready(true) => Ok(true),
            Poll::Ready(false) => Err(rejected(&writer.error(), None)),
            Poll::Pending => Ok(false),
        }
    }

    /// Takes bytes for the pod, whatever the room. Fails when nobody takes any.
    #[napi(catch_unwind)]
    pub fn write(&mut self, data: &[u8]) -> napi::Result<()> {
        let Some((_, writer)) = &mut self.halves else {
            return Err(left());
        };
        let pushed = writer.push(Bytes::copy_from_slice(data));
        pushed.map_err(|_| rejected(&writer.error(), None))
    }

    /// Says that nothing more is given.
    #[napi(catch_unwind)]
    pub fn end(&mut self) {
        if let Some((_, writer)) = &mut self.halves {
            writer.end();
        }
    }

    /// Resets the connection, where it has not ended, and lets go of it.
    #[napi(catch_unwind)]
    pub fn leave(&mut self) {
        self.halves = None;
        self.data.clear();
        self.bell = None;
    }
}

fn left() -> napi::Error {
    let error = Error::new(ErrorKind::Closed, "the connection was left");
    rejected(&error, None)
}
