//! Changes of identities on their way to the control plane: a log that a change is written to before the identity
//! itself is.
//!
//! `changes/<number>.log`, one [`IdentityChange`] a line. What was appended is on disk when [`Journal::append`]
//! returns; changes that come at the same time share one flush. A log that is finished is cut into
//! deliveries and deleted ([`super::outbox`]); one that a crash left is applied to the identities again first, so that
//! what the control plane is told of is always what this edge holds. Doing so twice changes nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use yardarm_core::edge::delivery::IdentityChange;

use crate::durable;

/// How large a log gets; it is read into memory whole.
const LARGEST: u64 = 4 << 20;

/// The log that is being written, and those that are finished.
#[derive(Debug)]
pub struct Journal {
    directory: PathBuf,
    /// Read for as long as a change is under way, written to wait for all of them.
    changing: RwLock<()>,
    waiting: Mutex<Group>,
    writer: Mutex<Writer>,
}

/// Changes that will be flushed together.
#[derive(Debug, Default)]
struct Group {
    lines: Vec<u8>,
    outcome: Arc<OnceLock<Result<(), io::ErrorKind>>>,
}

#[derive(Debug)]
struct Writer {
    directory: PathBuf,
    /// Of the log that is written, or of the next one.
    number: u64,
    /// None until something is to be written.
    file: Option<File>,
    size: u64,
}

/// A change that is being journaled and stored.
#[derive(Debug)]
pub(crate) struct Changing<'j> {
    journal: &'j Journal,
    _under_way: RwLockReadGuard<'j, ()>,
}

impl Journal {
    /// Opens the logs in a directory, making it where it is missing. Blocks.
    pub(crate) fn open(directory: PathBuf) -> io::Result<Self> {
        durable::create_directory(&directory)?;
        let last = numbers(&directory)?.into_iter().max();
        let writer = Writer {
            directory: directory.clone(),
            number: last.map_or(1, |last| last + 1),
            file: None,
            size: 0,
        };
        Ok(Self {
            directory,
            changing: RwLock::default(),
            waiting: Mutex::default(),
            writer: Mutex::new(writer),
        })
    }

    /// Begins a change: until the value is dropped, what it appends stays in a log that is not finished.
    pub(crate) fn begin(&self) -> Changing<'_> {
        Changing {
            journal: self,
            _under_way: self.changing.read().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Finishes the log that is written, once no change is under way, and gives all of them, oldest first: what is in
    /// these is in the identities, too.
    pub(crate) fn finish(&self) -> io::Result<Vec<PathBuf>> {
        let _none = self
            .changing
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        self.writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .finish();
        let mut finished = numbers(&self.directory)?;
        finished.sort_unstable();
        Ok(finished.iter().map(|n| path(&self.directory, *n)).collect())
    }

    fn append(&self, line: &[u8]) -> io::Result<()> {
        let outcome = {
            let mut group = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            group.lines.extend_from_slice(line);
            Arc::clone(&group.outcome)
        };
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if outcome.get().is_none() {
            // Nobody wrote for us while we waited: this is our group, and whoever else is in it.
            let group = {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::take(&mut *waiting)
            };
            let written = writer.write(&group.lines);
            let _ours = group.outcome.set(written.map_err(|error| error.kind()));
        }
        match outcome.get() {
            Some(Ok(())) => Ok(()),
            Some(Err(kind)) => Err((*kind).into()),
            None => Err(io::ErrorKind::Other.into()),
        }
    }
}

impl Changing<'_> {
    /// Writes down what the change will tell the control plane; on disk when it returns.
    pub(crate) fn append(&self, change: &IdentityChange) -> io::Result<()> {
        let mut line = serde_json::to_vec(change)?;
        line.push(b'\n');
        self.journal.append(&line)
    }
}

impl Writer {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.size > LARGEST {
            self.finish();
        }
        let written = self.file().and_then(|file| {
            file.write_all(lines)?;
            file.sync_data()
        });
        if written.is_ok() {
            self.size += lines.len() as u64;
        } else {
            // Whoever wrote these lines is told that they are not there. Should they stay after all, or half of them:
            // the next ones begin elsewhere.
            if let Some(file) = &self.file {
                let _attempt = file.set_len(self.size);
            }
            self.finish();
        }
        written
    }

    fn file(&mut self) -> io::Result<&mut File> {
        if self.file.is_none() {
            let path = path(&self.directory, self.number);
            let file = OpenOptions::new()
                .append(true)
                .create_new(true)
                .open(path)?;
            self.file = Some(file);
            durable::flush_directory(&self.directory)?;
        }
        self.file.as_mut().ok_or(io::ErrorKind::NotFound.into())
    }

    fn finish(&mut self) {
        if self.file.take().is_some() {
            self.number += 1;
            self.size = 0;
        }
    }
}

/// Reads a finished log. A line that is not whole was never answered for; any other damage is reported.
pub(crate) fn read(log: &Path) -> io::Result<Vec<IdentityChange>> {
    let content = fs::read(log)?;
    let mut changes = Vec::new();
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        match serde_json::from_slice(line) {
            Ok(change) if line.ends_with(b"\n") => changes.push(change),
            Err(error) if line.ends_with(b"\n") => tracing::error!(
                log = %log.display(), %error,
                "a change of an identity is damaged and will not reach the control plane",
            ),
            _ => {}
        }
    }
    Ok(changes)
}

fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:020}.log"))
}

fn numbers(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".log"));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(identifier: &str) -> IdentityChange {
        IdentityChange {
            environment_key: "env".to_owned(),
            identifier: identifier.to_owned(),
            created_at_micros: 1,
            traits: Vec::new(),
        }
    }

    fn names(logs: &[PathBuf]) -> Vec<Vec<String>> {
        let read = |log: &PathBuf| {
            let changes = read(log).unwrap();
            changes
                .into_iter()
                .map(|change| change.identifier)
                .collect()
        };
        logs.iter().map(read).collect()
    }

    #[test]
    fn what_was_appended_is_there_after_a_crash() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::open(directory.path().join("changes")).unwrap();
        journal.begin().append(&change("a")).unwrap();
        journal.begin().append(&change("b")).unwrap();
        // A kill closes nothing and finishes nothing.
        std::mem::forget(journal);

        let journal = Journal::open(directory.path().join("changes")).unwrap();
        assert_eq!(names(&journal.finish().unwrap()), [["a", "b"]]);
        journal.begin().append(&change("c")).unwrap();
        assert_eq!(
            names(&journal.finish().unwrap()),
            [vec!["a", "b"], vec!["c"]]
        );
    }

    #[test]
    fn half_a_line_is_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::open(directory.path().to_owned()).unwrap();
        journal.begin().append(&change("a")).unwrap();
        let log = journal.finish().unwrap().remove(0);
        let mut content = fs::read(&log).unwrap();
        let whole = content.clone();
        content.extend_from_slice(&whole[..whole.len() - 1]);
        fs::write(&log, content).unwrap();
        assert_eq!(read(&log).unwrap(), [change("a")]);
        fs::write(&log, [b"nonsense\n", &whole[..]].concat()).unwrap();
        assert_eq!(read(&log).unwrap(), [change("a")]);
    }

    #[test]
    fn many_at_once_are_all_there() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::open(directory.path().to_owned()).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let journal = &journal;
                scope.spawn(move || {
                    for number in 0..50 {
                        let name = format!("{thread}-{number}");
                        journal.begin().append(&change(&name)).unwrap();
                        if number % 20 == 0 {
                            journal.finish().unwrap();
                        }
                    }
                });
            }
        });
        let mut all = names(&journal.finish().unwrap()).concat();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 400);
    }

    #[test]
    fn a_disk_that_takes_nothing_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("changes");
        let journal = Journal::open(path.clone()).unwrap();
        fs::remove_dir(&path).unwrap();
        assert!(journal.begin().append(&change("a")).is_err());
        fs::create_dir(&path).unwrap();
        journal.begin().append(&change("b")).unwrap();
        assert_eq!(names(&journal.finish().unwrap()), [["b"]]);
    }
}
