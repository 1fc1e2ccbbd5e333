//! `--ready-file`: there while the ports are ready, with all of them in it.
//!
//! Lives here: the file and its one line of JSON. Never here: when it is written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use wsx_core::{Error, ErrorKind};

use crate::ending::plain;

/// The file: first under another name beside it, then under its own. Dropping it removes it, unless
/// it is somebody else's by now.
#[derive(Debug)]
pub(super) struct ReadyFile {
    file: File,
    path: PathBuf,
    /// Where it is now.
    at: PathBuf,
}

impl ReadyFile {
    /// Removes what an earlier run left, and prepares the new file, readable for its owner only. A
    /// symbolic link is neither followed nor replaced.
    ///
    /// # Errors
    /// `Invalid` when it cannot be written.
    pub(super) fn prepare(path: &Path) -> Result<Self, Error> {
        match fs::symlink_metadata(path) {
            Ok(old) if old.is_symlink() => {
                let why = "it is a symbolic link, which is not followed";
                return Err(refused(path, None).because(why));
            }
            Ok(old) if !old.is_file() => {
                return Err(refused(path, None).because("it is no regular file"));
            }
            // A file that is there says that ports are ready, and they are not.
            Ok(_) => fs::remove_file(path).map_err(|error| refused(path, Some(&error)))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(refused(path, Some(&error))),
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.tmp", std::process::id()));
        let at = path.with_file_name(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(&at)
            .map_err(|error| refused(path, Some(&error)))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            at,
        })
    }

    /// Writes the one line, and gives the file its name.
    ///
    /// # Errors
    /// `LocalIo` when it is not taken.
    pub(super) fn write(&mut self, line: &[u8]) -> Result<(), Error> {
        let written = self.file.write_all(line).and_then(|()| self.file.flush());
        written
            .and_then(|()| fs::rename(&self.at, &self.path))
            .map_err(|error| {
                let text = format!("cannot write {}: {}", self.path.display(), plain(&error));
                Error::new(ErrorKind::LocalIo, text)
            })?;
        self.at.clone_from(&self.path);
        Ok(())
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        let identity = |file: fs::Metadata| (file.dev(), file.ino());
        let ours = self.file.metadata().map(identity);
        let theirs = fs::symlink_metadata(&self.at).map(identity);
        if let (Ok(ours), Ok(theirs)) = (ours, theirs)
            && ours == theirs
        {
            // In a folder that was taken from us it stays.
            let _ = fs::remove_file(&self.at);
        }
    }
}

fn refused(path: &Path, error: Option<&io::Error>) -> Error {
    let why = error.map_or_else(String::new, |error| format!(": {}", plain(error)));
    let text = format!("cannot write --ready-file {}{why}", path.display());
    Error::new(ErrorKind::Invalid, text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn it_is_there_only_while_the_ports_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready");
        fs::write(&path, "of an earlier run").unwrap();
        let mut file = ReadyFile::prepare(&path).unwrap();
        assert!(fs::symlink_metadata(&path).is_err());
        file.write(b"[]\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "[]\n");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(file);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn one_that_was_never_ready_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        drop(ReadyFile::prepare(&folder.path().join("ready")).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_somebody_else_put_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready");
        let mut file = ReadyFile::prepare(&path).unwrap();
        file.write(b"[]\n").unwrap();
        fs::rename(&path, folder.path().join("moved")).unwrap();
        fs::write(&path, "theirs").unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
    }

    #[test]
    fn links_folders_and_missing_folders_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let [target, link] = ["target", "link"].map(|name| folder.path().join(name));
        fs::write(&target, "kept").unwrap();
        symlink(&target, &link).unwrap();
        let error = ReadyFile::prepare(&link).unwrap_err();
        let why = "it is a symbolic link, which is not followed";
        assert_eq!((error.kind(), error.why()), (ErrorKind::Invalid, Some(why)));
        assert_eq!(fs::read_to_string(&target).unwrap(), "kept");
        let error = ReadyFile::prepare(folder.path()).unwrap_err();
        assert_eq!(error.why(), Some("it is no regular file"));
        let error = ReadyFile::prepare(&folder.path().join("a/b")).unwrap_err();
        assert!(error.to_string().ends_with(": No such file or directory"));
    }
}
