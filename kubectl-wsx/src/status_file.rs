//! `--status-file`: how a run ended, for programs.
//!
//! Lives here: the file and its one line of JSON. Never here: what happened, exit codes.
//!
//! The fields are described in `docs/status.schema.json`; every field is always there, and `null`
//! where it is not known:
//!
//! | field | meaning |
//! |---|---|
//! | `v` | version of this format: 1 |
//! | `class` | `exited`, `detached`, `not_started`, `lost`, `timeout`, `interrupted` or `local_io` |
//! | `code` | exit code of the remote command |
//! | `exit` | exit code of this program: it differs from `code` unless `class` is `exited` |
//! | `kind` | kind of the error, the same word as in all languages |
//! | `reason` | why, in one line |
//! | `message` | what standard error said, in one line |
//! | `stdin` | bytes of input that the session took |
//! | `stdout`, `stderr` | bytes of output that arrived |
//! | `unwritten` | bytes of those that could not be written here |
//! | `close_code` | code of the server's Close frame |
//! | `protocol` | subprotocol that was agreed |
//! | `confidence` | of a code of 0: `confirmed` (v4), `checked` or `unchecked` (v5, looked into or not) |
//! | `pod`, `container` | where the command ran, as far as it was looked up or named |

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::Serialize;
use wsx_core::{Error, ErrorKind};

use crate::ending::plain;

/// The file, open and empty.
#[derive(Debug)]
pub(crate) struct StatusFile {
    file: File,
    path: PathBuf,
}

/// What the file says.
#[derive(Debug, Default, Eq, PartialEq, Serialize)]
pub(crate) struct Record {
    pub(crate) v: u8,
    pub(crate) class: &'static str,
    pub(crate) code: Option<u8>,
    pub(crate) exit: u8,
    pub(crate) kind: Option<&'static str>,
    pub(crate) reason: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) stdin: u64,
    pub(crate) stdout: u64,
    pub(crate) stderr: u64,
    pub(crate) unwritten: u64,
    pub(crate) close_code: Option<u16>,
    pub(crate) protocol: Option<&'static str>,
    pub(crate) confidence: Option<&'static str>,
    pub(crate) pod: Option<String>,
    pub(crate) container: Option<String>,
}

/// The version of the format.
pub(crate) const VERSION: u8 = 1;

impl StatusFile {
    /// Creates the file, readable for its owner only, or empties it. A symbolic link is not
    /// followed, and nothing waits for the reader of a pipe.
    ///
    /// # Errors
    /// `Invalid` when it cannot be written.
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(flags.cast_signed())
            .open(path)
            .map(|file| Self {
                file,
                path: path.to_owned(),
            })
            .map_err(|error| refused(path, &error))
    }

    /// Writes the one line.
    ///
    /// # Errors
    /// `LocalIo` when the file does not take it.
    pub(crate) fn write(mut self, record: &Record) -> Result<(), Error> {
        let written = serde_json::to_string(record)
            .map_err(io::Error::from)
            .and_then(|line| self.file.write_all(format!("{line}\n").as_bytes()));
        written.map_err(|error| {
            let text = format!("cannot write {}: {}", self.path.display(), plain(&error));
            Error::new(ErrorKind::LocalIo, text)
        })
    }
}

fn refused(path: &Path, error: &io::Error) -> Error {
    let text = format!(
        "cannot write --status-file {}: {}",
        path.display(),
        plain(error)
    );
    let refusal = Error::new(ErrorKind::Invalid, text);
    if path.is_symlink() {
        return refusal.because("it is a symbolic link, which is not followed");
    }
    refusal
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn the_file_holds_one_line_for_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("status");
        let record = Record {
            v: VERSION,
            class: "exited",
            code: Some(3),
            exit: 3,
            ..Record::default()
        };
        StatusFile::create(&path).unwrap().write(&record).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            concat!(
                r#"{"v":1,"class":"exited","code":3,"exit":3,"kind":null,"reason":null,"#,
                r#""message":null,"stdin":0,"stdout":0,"stderr":0,"unwritten":0,"#,
                r#""close_code":null,"protocol":null,"confidence":null,"pod":null,"#,
                "\"container\":null}\n"
            )
        );
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn an_old_status_is_gone_before_the_start() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("status");
        fs::write(&path, "old").unwrap();
        let _open = StatusFile::create(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
    }

    #[test]
    fn a_link_and_a_missing_directory_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (target, link) = (
            directory.path().join("target"),
            directory.path().join("link"),
        );
        fs::write(&target, "kept").unwrap();
        symlink(&target, &link).unwrap();
        let error = StatusFile::create(&link).unwrap_err();
        assert_eq!(
            error.why(),
            Some("it is a symbolic link, which is not followed")
        );
        assert_eq!(fs::read_to_string(&target).unwrap(), "kept");
        let error = StatusFile::create(&directory.path().join("a/b")).unwrap_err();
        assert_eq!((error.kind(), error.why()), (ErrorKind::Invalid, None));
    }

    #[test]
    fn a_pipe_without_a_reader_is_refused_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
        assert_eq!(
            StatusFile::create(&path).unwrap_err().kind(),
            ErrorKind::Invalid
        );
    }

    #[test]
    fn a_full_device_is_an_error_of_this_machine() {
        let file = StatusFile::create(Path::new("/dev/full")).unwrap();
        assert_eq!(
            file.write(&Record::default()).unwrap_err().kind(),
            ErrorKind::LocalIo
        );
    }
}
