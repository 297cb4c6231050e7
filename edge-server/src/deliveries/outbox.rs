//! Deliveries that wait on disk until the control plane has confirmed them.
//!
//! `outbox/<number>-<kind>.json`, one [`Delivery`] a file with its id: a delivery is stored before it is first sent,
//! so every attempt, also after a restart, sends the same.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::PathBuf;

use yardarm_core::edge::delivery::Delivery;

use crate::durable;

/// Most identities in one delivery; with short names some 100 KB.
pub(super) const IDENTITIES: usize = 500;
/// Most rows of usage in one delivery; likewise.
pub(super) const USAGE_ROWS: usize = 2_000;

/// The deliveries, oldest first.
#[derive(Debug)]
pub(super) struct Outbox {
    directory: PathBuf,
    waiting: VecDeque<Waiting>,
    next: u64,
}

/// One that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) path: PathBuf,
    /// Whether it carries usage, of which only so much is kept.
    pub(super) usage: bool,
    bytes: u64,
}

impl Outbox {
    /// Opens it. Blocks, as all here.
    pub(super) fn open(directory: PathBuf) -> io::Result<Self> {
        durable::create_directory(&directory)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let parts = name.to_str().and_then(|name| {
                let (number, kind) = name.strip_suffix(".json")?.split_once('-')?;
                Some((number.parse::<u64>().ok()?, kind == "usage"))
            });
            if let Some((number, usage)) = parts {
                let waiting = Waiting {
                    path: entry.path(),
                    usage,
                    bytes: entry.metadata()?.len(),
                };
                found.push((number, waiting));
            }
        }
        found.sort_unstable_by_key(|(number, _)| *number);
        Ok(Self {
            directory,
            next: found.last().map_or(1, |(number, _)| number + 1),
            waiting: found.into_iter().map(|(_, waiting)| waiting).collect(),
        })
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Those that wait, oldest first.
    pub(super) fn waiting(&self) -> Vec<Waiting> {
        self.waiting.iter().cloned().collect()
    }

    /// Whether identities wait. Their changes keep their order: later ones are packed when none wait, since a deletion
    /// that overtook the change before it would be undone by it.
    pub(super) fn has_identities(&self) -> bool {
        self.waiting.iter().any(|waiting| !waiting.usage)
    }

    /// Bytes of usage that wait.
    pub(super) fn usage_bytes(&self) -> u64 {
        let usage = self.waiting.iter().filter(|waiting| waiting.usage);
        usage.map(|waiting| waiting.bytes).sum()
    }

    /// Stores a delivery for good; it gets its id here.
    pub(super) fn put(&mut self, mut delivery: Delivery) -> io::Result<()> {
        delivery.id = hex::encode(rand::random::<[u8; 16]>());
        let usage = delivery.identities.is_empty();
        let kind = if usage { "usage" } else { "identities" };
        let path = self
            .directory
            .join(format!("{:020}-{kind}.json", self.next));
        let content = serde_json::to_vec(&delivery)?;
        durable::replace(&path, &content)?;
        self.next += 1;
        self.waiting.push_back(Waiting {
            path,
            usage,
            bytes: content.len() as u64,
        });
        Ok(())
    }

    /// Reads one as it was stored. One that is damaged is set aside and gone from here, as is one that somebody deleted.
    pub(super) fn read(&mut self, waiting: &Waiting) -> io::Result<Option<Vec<u8>>> {
        let content = match fs::read(&waiting.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::error!(file = %waiting.path.display(), "somebody deleted a delivery; it is not sent");
                self.forget(waiting);
                return Ok(None);
            }
            read => read?,
        };
        if serde_json::from_slice::<Delivery>(&content).is_ok() {
            return Ok(Some(content));
        }
        let aside = durable::set_aside(&waiting.path)?;
        tracing::error!(file = %aside.display(), "damaged delivery set aside; it is not sent");
        self.forget(waiting);
        Ok(None)
    }

    /// Deletes one that was confirmed or refused for good.
    pub(super) fn remove(&mut self, waiting: &Waiting) -> io::Result<()> {
        fs::remove_file(&waiting.path)?;
        self.forget(waiting);
        Ok(())
    }

    /// Stores both halves of one that is too large, and deletes it. False where it cannot be cut.
    pub(super) fn cut(&mut self, waiting: &Waiting) -> io::Result<bool> {
        let Ok(delivery) = serde_json::from_slice::<Delivery>(&fs::read(&waiting.path)?) else {
            return Ok(false);
        };
        let Some((first, second)) = delivery.halves() else {
            return Ok(false);
        };
        // A crash in between sends a part twice: identities do not mind, usage is counted twice then.
        self.put(first)?;
        self.put(second)?;
        self.remove(waiting)?;
        Ok(true)
    }

    fn forget(&mut self, gone: &Waiting) {
        self.waiting.retain(|waiting| waiting != gone);
    }
}

#[cfg(test)]
mod tests {
    use yardarm_core::edge::delivery::IdentityChange;

    use super::*;

    fn change(identifier: &str) -> IdentityChange {
        IdentityChange {
            environment_key: "env".to_owned(),
            identifier: identifier.to_owned(),
            created_at_micros: 1,
            traits: Vec::new(),
        }
    }

    fn delivery(identifiers: &[&str]) -> Delivery {
        Delivery {
            edge: "native".to_owned(),
            identities: identifiers.iter().map(|name| change(name)).collect(),
            ..Delivery::default()
        }
    }

    #[test]
    fn what_waits_is_found_again_unchanged_and_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Outbox::open(directory.path().join("outbox")).unwrap();
        let mut outbox = open();
        for name in ["a", "b", "c"] {
            outbox.put(delivery(&[name])).unwrap();
        }
        outbox
            .put(Delivery {
                dropped: 1,
                ..Delivery::default()
            })
            .unwrap();
        let stored: Vec<_> = outbox.waiting();
        let first = outbox.read(&stored[0]).unwrap().unwrap();
        let mut outbox = open();
        assert_eq!(outbox.waiting(), stored);
        assert_eq!(outbox.read(&stored[0]).unwrap().unwrap(), first);
        assert!(outbox.usage_bytes() > 0 && outbox.usage_bytes() < 200);
        outbox.remove(&stored[0]).unwrap();
        outbox.put(delivery(&["d"])).unwrap();
        assert_eq!(open().len(), 4);
        fs::write(&stored[1].path, "{").unwrap();
        assert_eq!(outbox.read(&stored[1]).unwrap(), None);
        assert_eq!(outbox.waiting()[0], stored[2]);
        fs::remove_file(&stored[2].path).unwrap();
        assert_eq!(outbox.read(&stored[2]).unwrap(), None);
        assert_eq!(outbox.waiting()[0], stored[3]);
    }

    #[test]
    fn one_that_is_too_large_is_cut_down_to_single_rows() {
        let directory = tempfile::tempdir().unwrap();
        let mut outbox = Outbox::open(directory.path().to_owned()).unwrap();
        outbox.put(delivery(&["a", "b", "c"])).unwrap();
        let mut whole = 0;
        while let Some(waiting) = outbox.waiting().get(whole) {
            if !outbox.cut(waiting).unwrap() {
                whole += 1;
            }
        }
        assert_eq!(outbox.len(), 3);
        let mut ids: Vec<String> = Vec::new();
        for waiting in outbox.waiting() {
            let content = outbox.read(&waiting).unwrap().unwrap();
            let one: Delivery = serde_json::from_slice(&content).unwrap();
            assert_eq!(one.identities.len(), 1);
            ids.push(one.id);
        }
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 3);
    }
}
