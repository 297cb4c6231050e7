//! Snapshots kept in the instance's memory: a bonus. An instance may live for one request; when it
//! lives on, a request that read the head and finds its tag here need not read the snapshot.

use std::cell::RefCell;

use yardarm_core::snapshot::Snapshot;

/// Bytes of snapshots kept; an instance has 128 MB on the smallest platform.
const MAX_BYTES: usize = 16 << 20;

thread_local! {
    /// The most recently used last.
    static RECENT: RefCell<Vec<(String, String, Snapshot)>> = const { RefCell::new(Vec::new()) };
}

/// The snapshot of an environment's version, if it is here.
pub(crate) fn recall(environment_key: &str, tag: &str) -> Option<Snapshot> {
    RECENT.with_borrow_mut(|recent| {
        let place = recent
            .iter()
            .position(|(key, held, _)| key == environment_key && held == tag)?;
        recent[place..].rotate_left(1);
        recent.last().map(|(_, _, snapshot)| snapshot.clone())
    })
}

/// Keeps a snapshot instead of any other version of the same environment.
pub(crate) fn keep(environment_key: &str, tag: &str, snapshot: &Snapshot) {
    RECENT.with_borrow_mut(|recent| {
        recent.retain(|(key, _, _)| key != environment_key);
        recent.push((environment_key.to_owned(), tag.to_owned(), snapshot.clone()));
        let bytes = |recent: &[(String, String, Snapshot)]| -> usize {
            recent
                .iter()
                .map(|(_, _, snapshot)| snapshot.bytes().len())
                .sum()
        };
        while bytes(recent) > MAX_BYTES {
            recent.remove(0);
        }
    });
}
