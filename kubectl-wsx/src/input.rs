//! Standard input of this process, read only as fast as the remote side takes it.
//!
//! Lives here: reading in pieces, at most two ahead. Never here: terminal modes, what is sent.
//!
//! Regular files are read directly. Pipes are opened once more, without blocking: the flag belongs
//! to what was opened, and we must not set it on what other processes share with us. Everything
//! else (terminals, sockets, what cannot be opened again) is read by a thread, which the end of the
//! process does not wait for.

use std::io;
use std::thread;

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};
use rustix::io::{Errno, fcntl_dupfd_cloexec, read, retry_on_intr};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use wsx_core::session::Stdin;

use crate::detach::DetachKeys;
use crate::terminal;

/// Where input comes from.
#[derive(Debug)]
pub(crate) struct Input {
    way: Way,
    buffer: Vec<u8>,
}

#[derive(Debug)]
enum Way {
    /// Read at once: it does not block for long.
    Direct(OwnedFd),
    /// Read when there is something.
    Pipe(pipe::Receiver),
    /// Read by a thread, from the first time on that somebody asks.
    Thread(Option<OwnedFd>, Option<mpsc::Receiver<io::Result<Bytes>>>),
}

/// How much is read at once: what goes into one message.
const PIECE: usize = 32 * 1024;

/// Pieces below this size are copied, so that a key does not keep a whole buffer.
const SMALL: usize = PIECE / 8;

impl Input {
    /// Looks at a descriptor and chooses how to read it. Nothing is read yet.
    ///
    /// # Errors
    /// When it is a directory, or the system has no more descriptors.
    pub(crate) fn open(descriptor: impl AsFd) -> io::Result<Self> {
        // The standard descriptors stay free for nobody.
        let descriptor = fcntl_dupfd_cloexec(descriptor, 3)?;
        let way = match FileType::from_raw_mode(fstat(&descriptor)?.st_mode) {
            FileType::Directory => return Err(Errno::ISDIR.into()),
            FileType::RegularFile => Way::Direct(descriptor),
            FileType::Fifo => Way::pipe(descriptor),
            _ => Way::Thread(Some(descriptor), None),
        };
        Ok(Self {
            way,
            buffer: Vec::new(),
        })
    }

    /// Reads the next piece; nothing at the end.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let buffer = &mut self.buffer;
        let count = match &mut self.way {
            Way::Direct(file) => read_piece(file, buffer)?,
            Way::Pipe(pipe) => {
                buffer.reserve(PIECE);
                loop {
                    match pipe.try_read_buf(buffer) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            pipe.readable().await?;
                        }
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        result => break result?,
                    }
                }
            }
            Way::Thread(descriptor, pieces) => {
                if let Some(descriptor) = descriptor.take() {
                    *pieces = Some(start_thread(descriptor)?);
                }
                let piece = match pieces {
                    Some(pieces) => pieces.recv().await,
                    None => None,
                };
                return piece.transpose();
            }
        };
        Ok((count > 0).then(|| take(buffer)))
    }

    /// Hands everything to the remote command, and ends its input at the end of ours. Stops when
    /// the remote side takes no more, and tells whether `keys` were typed.
    ///
    /// # Errors
    /// When input cannot be read. `stdin` is left open then: what the command got so far must not
    /// look like all of it.
    ///
    /// # Cancel safety
    /// A piece may be lost, so do not go on with either.
    pub(crate) async fn feed(
        &mut self,
        stdin: &mut Option<Stdin>,
        mut keys: Option<&mut DetachKeys>,
    ) -> io::Result<bool> {
        while let Some(open) = stdin {
            let piece = tokio::select! {
                biased;
                () = open.closed() => return Ok(false),
                piece = self.next() => piece?,
            };
            let Some(piece) = piece else {
                // Its drop says so.
                drop(stdin.take());
                return Ok(false);
            };
            let (piece, detached) = match &mut keys {
                Some(keys) => {
                    let sifted = keys.sift(piece);
                    (sifted.pass, sifted.detached)
                }
                None => (piece, false),
            };
            // An error means that the command ended or the connection did; the session's outcome
            // tells which.
            if open.write(piece).await.is_err() || detached {
                return Ok(detached);
            }
        }
        Ok(false)
    }
}

impl Way {
    /// Opens a pipe once more, or leaves it to a thread.
    fn pipe(descriptor: OwnedFd) -> Self {
        let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
        let readable = fcntl_getfl(&descriptor)
            .is_ok_and(|flags| flags.intersection(OFlags::RWMODE) != OFlags::WRONLY);
        // What we are not allowed to read must not become readable.
        let own = readable
            .then(|| pipe::OpenOptions::new().open_receiver(path).ok())
            .flatten();
        own.map_or_else(|| Self::Thread(Some(descriptor), None), Self::Pipe)
    }
}

/// Reads once into the free room of a buffer that is empty.
fn read_piece(descriptor: &OwnedFd, buffer: &mut Vec<u8>) -> io::Result<usize> {
    buffer.reserve(PIECE);
    match retry_on_intr(|| read(descriptor, spare_capacity(buffer))) {
        // A terminal that was hung up has nothing more to say.
        Err(Errno::IO) if terminal::is_terminal(descriptor) => Ok(0),
        result => Ok(result?),
    }
}

/// Takes what was read out of the buffer, and keeps the buffer where that is cheaper.
fn take(buffer: &mut Vec<u8>) -> Bytes {
    if buffer.len() < SMALL {
        let piece = Bytes::copy_from_slice(buffer);
        buffer.clear();
        piece
    } else {
        Bytes::from(std::mem::take(buffer))
    }
}

/// Reads ahead by one piece that waits and one that was just read.
fn start_thread(descriptor: OwnedFd) -> io::Result<mpsc::Receiver<io::Result<Bytes>>> {
    // thread --pieces of input--> session
    let (piece_tx, piece_rx) = mpsc::channel(1);
    thread::Builder::new()
        .name("input".to_owned())
        .spawn(move || {
            let mut buffer = Vec::new();
            loop {
                let piece = match read_piece(&descriptor, &mut buffer) {
                    Ok(0) => return,
                    Ok(_) => Ok(take(&mut buffer)),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        // Somebody else made what we share non-blocking.
                        let mut ready =
                            [PollFd::from_borrowed_fd(descriptor.as_fd(), PollFlags::IN)];
                        // An error shows again at the next read.
                        let _ = poll(&mut ready, None);
                        continue;
                    }
                    Err(error) => Err(error),
                };
                let failed = piece.is_err();
                if piece_tx.blocking_send(piece).is_err() || failed {
                    return;
                }
            }
        })?;
    Ok(piece_rx)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    async fn read_all(mut input: Input) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(piece) = input.next().await.unwrap() {
            assert!((1..=PIECE).contains(&piece.len()), "{}", piece.len());
            all.extend_from_slice(&piece);
        }
        all
    }

    fn noise(len: usize) -> Vec<u8> {
        (0..len).map(|index| (index % 251) as u8).collect()
    }

    #[tokio::test]
    async fn a_file_is_read_to_its_end() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let data = noise(100_001);
        file.write_all(&data).unwrap();
        let input = Input::open(File::open(file.path()).unwrap()).unwrap();
        assert!(matches!(input.way, Way::Direct(_)));
        assert_eq!(read_all(input).await, data);
    }

    #[tokio::test]
    async fn a_pipe_is_read_without_changing_it_for_others() {
        let (reader, mut writer) = io::pipe().unwrap();
        let input = Input::open(&reader).unwrap();
        assert!(matches!(input.way, Way::Pipe(_)));
        let data = noise(300_000);
        let sent = data.clone();
        let writing = thread::spawn(move || writer.write_all(&sent).unwrap());
        assert_eq!(read_all(input).await, data);
        writing.join().unwrap();
        assert!(!fcntl_getfl(&reader).unwrap().contains(OFlags::NONBLOCK));
    }

    #[tokio::test]
    async fn a_socket_is_read_by_a_thread_even_when_it_does_not_block() {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::NONBLOCK,
            None,
        )
        .unwrap();
        rustix::fs::fcntl_setfl(&theirs, OFlags::empty()).unwrap();
        let data = noise(300_000);
        let sent = data.clone();
        let writing = thread::spawn(move || File::from(theirs).write_all(&sent).unwrap());
        let input = Input::open(ours).unwrap();
        assert!(matches!(input.way, Way::Thread(..)));
        assert_eq!(read_all(input).await, data);
        writing.join().unwrap();
    }

    #[tokio::test]
    async fn nothing_is_read_before_somebody_asks() {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"left alone").unwrap();
        drop((Input::open(&reader).unwrap(), writer));
        assert_eq!(read_all(Input::open(&reader).unwrap()).await, b"left alone");
    }

    #[test]
    fn a_directory_is_refused() {
        let error = Input::open(File::open("/").unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
    }

    #[tokio::test]
    async fn a_pipe_that_may_only_be_written_is_an_error() {
        let (_reader, writer) = io::pipe().unwrap();
        let error = Input::open(&writer).unwrap().next().await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::BADF.raw_os_error()));
    }
}
