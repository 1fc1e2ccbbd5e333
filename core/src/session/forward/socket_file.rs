//! A Unix socket to listen on: made for its owner alone, removed only while it is ours.
//!
//! Lives here: the file. Never here: connections.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use futures_util::FutureExt as _;
use tokio::net::{UnixListener, UnixSocket};

use super::holder;
use super::listen::{BACKLOG, plain};
use crate::error::{Error, ErrorKind, Result};

/// The file of a socket; dropping it removes it, unless somebody else's has its name by now.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

/// Device and number of a file.
type Identity = (u64, u64);

/// For the owner alone.
const MODE: u32 = 0o600;

/// Listens on a new Unix socket with mode 0600.
///
/// The name may not be taken, nor be a symbolic link, which is not followed. A socket of our own
/// user that nobody listens on any more is what a process left behind that was killed: it is replaced.
///
/// # Errors
/// `NotStarted` when the name is taken, naming by whom where it can be found out, or the system refuses.
pub(super) fn listen(path: &Path) -> Result<(UnixListener, SocketFile)> {
    let failed = |error: &io::Error| refused(path, &plain(error));
    let socket = open().map_err(|error| failed(&error))?;
    // Linux takes over the mode that the socket has when it gets its name.
    let early = File::from(
        socket
            .as_fd()
            .try_clone_to_owned()
            .map_err(|error| failed(&error))?,
    );
    let early = early.set_permissions(Permissions::from_mode(MODE));
    match socket.bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_stale(path, &socket)?;
            socket.bind(path).map_err(|error| failed(&error))?;
        }
        bound => bound.map_err(|error| failed(&error))?,
    }
    if early.is_err() {
        // Nobody can connect before `listen`.
        let private = fs::set_permissions(path, Permissions::from_mode(MODE));
        private.map_err(|error| failed(&error))?;
    }
    let identity = identity(path).map_err(|error| failed(&error))?;
    let file = SocketFile {
        path: path.to_owned(),
        identity,
    };
    let listener = socket.listen(BACKLOG).map_err(|error| failed(&error))?;
    Ok((listener, file))
}

fn open() -> io::Result<UnixSocket> {
    UnixSocket::new_stream()
}

fn identity(path: &Path) -> io::Result<Identity> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

/// Removes a socket that nobody listens on.
fn remove_stale(path: &Path, ours: &UnixSocket) -> Result<()> {
    let failed = |error: &io::Error| refused(path, &plain(error));
    let file = fs::symlink_metadata(path).map_err(|error| failed(&error))?;
    if file.is_symlink() {
        return Err(refused(
            path,
            "it is a symbolic link, which is not followed",
        ));
    }
    if !file.file_type().is_socket() {
        return Err(refused(path, "there is a file, and it is no socket"));
    }
    if has_listener(path).map_err(|error| failed(&error))? {
        let why = holder::of_path(path).map_or_else(
            || "somebody listens on it".to_owned(),
            |holder| holder.to_string(),
        );
        return Err(refused(path, &why));
    }
    let own = ours.as_fd().try_clone_to_owned().map(File::from);
    let user = own.and_then(|own| own.metadata()).map(|own| own.uid());
    if user.is_ok_and(|user| user != file.uid()) {
        return Err(refused(path, "there is a socket of somebody else"));
    }
    if identity(path).is_ok_and(|now| now == (file.dev(), file.ino())) {
        fs::remove_file(path).map_err(|error| failed(&error))?;
    }
    Ok(())
}

/// Whether somebody listens. Nothing waits: a full queue of connections is an answer, too.
fn has_listener(path: &Path) -> io::Result<bool> {
    let answer = open()?.connect(path).now_or_never();
    Ok(!matches!(answer, Some(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused))
}

fn refused(path: &Path, why: &str) -> Error {
    let text = format!("cannot listen on {}", path.display());
    Error::new(ErrorKind::NotStarted, text)
        .because(why)
        .remedy("name a path that is free, in a folder that you may write")
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            // A folder that was taken from us keeps a dead socket, which the next run replaces.
            let _ = fs::remove_file(&self.path);
        }
    }
}
