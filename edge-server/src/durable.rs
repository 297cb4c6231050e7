//! Files that are either the old or the new one, also after a power cut.
//!
//! One writer a path at a time: the callers' locks see to it, and [`DataDirectory`] to there being
//! one process.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// What a file is called while it is written; never read.
const UNFINISHED: &str = ".tmp";

/// Replaces a file's content. After `Ok` the new content survives a power cut; after `Err` the old
/// one is still there, except where only the directory could not be flushed.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let unfinished = appended(path, UNFINISHED);
    write(&unfinished, content)
        .and_then(|()| fs::rename(&unfinished, path))
        .inspect_err(|_| {
            // A disk that is full is not made emptier by what could not be finished.
            let _ = fs::remove_file(&unfinished);
        })?;
    flush_directory(parent(path))
}

/// Adds files to a directory, each whole or not at all. After `Ok` they survive a power cut.
pub(crate) fn add<'a>(
    directory: &Path,
    files: impl Iterator<Item = (&'a OsStr, &'a [u8])>,
) -> io::Result<()> {
    for (name, content) in files {
        let path = directory.join(name);
        let unfinished = appended(&path, UNFINISHED);
        write(&unfinished, content)
            .and_then(|()| fs::rename(&unfinished, &path))
            .inspect_err(|_| {
                let _ = fs::remove_file(&unfinished);
            })?;
    }
    flush_directory(directory)
}

/// Whether [`replace`] was interrupted before this file was whole.
pub(crate) fn is_unfinished(path: &Path) -> bool {
    path.as_os_str()
        .as_encoded_bytes()
        .ends_with(UNFINISHED.as_bytes())
}

/// Makes a directory and those above it, each entered into its parent for good.
pub(crate) fn create_directory(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Ok(()) => flush_directory(parent(path)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create_directory(parent(path))?;
            create_directory(path)
        }
        Err(error) => Err(error),
    }
}

/// Renames a damaged file out of the way, so that a person can look at it. Tells the new name.
pub(crate) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = appended(path, ".damaged");
    fs::rename(path, &aside)?;
    Ok(aside)
}

/// A directory that belongs to this process alone for as long as the value lives.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    _lock: File,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirectoryError {
    /// It cannot be made, read or locked.
    #[error("data directory {}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process serves from it; two would overwrite each other's identities.
    #[error("data directory {} is in use by another process", .0.display())]
    InUse(PathBuf),
}

impl DataDirectory {
    /// Makes the directory where it is missing, readable by its owner only, and locks it.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, DataDirectoryError> {
        let path = path.into();
        match Self::lock(&path) {
            Ok(Ok(lock)) => Ok(Self { path, _lock: lock }),
            Ok(Err(TryLockError::WouldBlock)) => Err(DataDirectoryError::InUse(path)),
            Ok(Err(TryLockError::Error(source))) | Err(source) => {
                Err(DataDirectoryError::Io { path, source })
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn lock(path: &Path) -> io::Result<Result<File, TryLockError>> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path)?;
        let lock = File::create(path.join("lock"))?;
        Ok(lock.try_lock().map(|()| lock))
    }
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(content)?;
    file.sync_data()
}

/// Makes what was entered into a directory, or renamed within it, survive a power cut.
pub(crate) fn flush_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn appended(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_whole_files_and_leaves_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join("a/b");
        create_directory(&deep).unwrap();
        create_directory(&deep).unwrap();
        let file = deep.join("f");
        fs::write(appended(&file, UNFINISHED), "half of a longer te").unwrap();
        for content in ["longer text", "short"] {
            replace(&file, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), content);
        }
        assert_eq!(fs::read_dir(&deep).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_replacement_leaves_the_old_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("f");
        replace(&file, b"old").unwrap();
        // A directory in the way of the unfinished file stands in for a disk that takes no more.
        fs::create_dir(appended(&file, UNFINISHED)).unwrap();
        assert!(replace(&file, b"new").is_err());
        assert_eq!(fs::read(&file).unwrap(), b"old");
    }

    #[test]
    fn a_data_directory_has_one_owner() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data");
        let first = DataDirectory::open(&path).unwrap();
        assert!(matches!(
            DataDirectory::open(&path),
            Err(DataDirectoryError::InUse(_))
        ));
        drop(first);
        DataDirectory::open(&path).unwrap();
        fs::write(directory.path().join("file"), "").unwrap();
        let error = DataDirectory::open(directory.path().join("file/data")).unwrap_err();
        assert!(matches!(error, DataDirectoryError::Io { .. }), "{error}");
    }
}
