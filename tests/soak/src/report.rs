//! What a run came to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// How many mistakes are told in words.
const TOLD: usize = 20;

/// Counts, and what was wrong.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) requests: AtomicU64,
    pub(crate) checked: AtomicU64,
    /// Not answered by a part that was dead.
    pub(crate) excused: AtomicU64,
    mismatches: AtomicU64,
    kinds: Mutex<BTreeMap<String, u64>>,
    told: Mutex<Vec<String>>,
}

impl Report {
    /// Counts a request to a host.
    pub(crate) fn count(&self, host: &str, kind: &str) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        *kinds.entry(format!("{host} {kind}")).or_default() += 1;
    }

    /// An answer was right.
    pub(crate) fn right(&self) {
        self.checked.fetch_add(1, Ordering::Relaxed);
    }

    /// An answer, or something else, was wrong.
    pub(crate) fn wrong(&self, what: String) {
        self.mismatches.fetch_add(1, Ordering::Relaxed);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < TOLD {
            eprintln!("WRONG {what}");
            told.push(what);
        }
    }

    pub(crate) fn mismatches(&self) -> u64 {
        self.mismatches.load(Ordering::Relaxed)
    }

    /// How often everything was asked.
    pub(crate) fn kinds(&self) -> String {
        let kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let mut by_kind: BTreeMap<&str, u64> = BTreeMap::new();
        for (name, count) in kinds.iter() {
            let kind = name.split_once(' ').map_or(name.as_str(), |(_, kind)| kind);
            *by_kind.entry(kind).or_default() += count;
        }
        let told: Vec<String> = by_kind
            .iter()
            .map(|(kind, count)| format!("{kind} {count}"))
            .collect();
        told.join(", ")
    }
}
