//! A pseudo-terminal: the master side of it, for asynchronous use.
//!
//! Lives here: reading, writing, resizing. Never here: the process on the other side.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::unix::pipe;

/// The master side, as far as the client's input goes.
pub(crate) struct Terminal {
    /// Not a pipe, but read and written like one; `AsyncFd` would need `unsafe`.
    input: pipe::Sender,
    detached: AtomicBool,
}

/// The three ends of a new terminal.
pub(crate) struct Ends {
    pub(crate) terminal: Arc<Terminal>,
    pub(crate) output: TerminalOutput,
    /// The side of the process.
    pub(crate) slave: OwnedFd,
}

/// The reading side; its end is the end of the last process on the terminal.
pub(crate) struct TerminalOutput(pipe::Receiver);

impl Terminal {
    /// Opens a pair.
    pub(crate) fn open() -> io::Result<Ends> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let slave = ioctl_tiocgptpeer(&master, flags)?;
        fcntl_setfl(&master, OFlags::RDWR | OFlags::NONBLOCK)?;
        let output = TerminalOutput(pipe::Receiver::from_owned_fd_unchecked(
            master.try_clone()?,
        )?);
        let input = pipe::Sender::from_owned_fd_unchecked(master)?;
        let terminal = Arc::new(Self {
            input,
            detached: AtomicBool::new(false),
        });
        Ok(Ends {
            terminal,
            output,
            slave,
        })
    }

    /// Types `bytes`, waiting while the process does not read.
    pub(crate) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.input.writable().await?;
            match self.input.try_write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sets the size of the window; the process hears of it by signal.
    pub(crate) fn resize(&self, width: u16, height: u16) {
        let size = Winsize {
            ws_row: height,
            ws_col: width,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        // A terminal without a process left needs no size.
        let _ = tcsetwinsize(&self.input, size);
    }

    /// Output goes nowhere from now on.
    // containerd internal/cri/io/exec_io.go: the end of stdin closes the outputs of a TTY session.
    pub(crate) fn detach(&self) {
        self.detached.store(true, Ordering::Relaxed);
    }

    /// Whether output goes nowhere.
    pub(crate) fn is_detached(&self) -> bool {
        self.detached.load(Ordering::Relaxed)
    }
}

impl AsyncRead for TerminalOutput {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let is_hung_up = |read: &io::Result<()>| {
            let error = read.as_ref().err();
            error.and_then(io::Error::raw_os_error) == Some(rustix::io::Errno::IO.raw_os_error())
        };
        let mut read = ready!(Pin::new(&mut self.0).poll_read(context, buffer));
        if is_hung_up(&read) {
            // Linux looks for output first and then whether the other side is closed: what came in
            // between is behind the first EIO.
            read = ready!(Pin::new(&mut self.0).poll_read(context, buffer));
        }
        Poll::Ready(match is_hung_up(&read) {
            true => Ok(()),
            false => read,
        })
    }
}
