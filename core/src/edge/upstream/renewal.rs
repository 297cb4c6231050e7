//! A document from upstream made into the package that replaces the one held.

use super::keys::KeyPair;
use super::pull::Fetched;
use crate::snapshot::{Package, Publication, Snapshot, compile};
use crate::time::Timestamp;

/// What a document comes to.
#[derive(Debug, Clone)]
pub enum Renewal {
    /// What is held says the same.
    Same,
    /// It is older than what is held.
    Older,
    /// It replaces what is held.
    New {
        /// To be installed.
        package: Package,
        /// What is odd about the document.
        warnings: Vec<String>,
    },
}

/// Compares a document with the package held and compiles it where it differs, under a version that is
/// higher than the one held: the time of its change in microseconds, or else the next number.
///
/// Whether it differs is seen by the content hash, so that also another pair of keys, another compiler and an
/// override that did not touch `updated_at` count. An older document is told apart unless `believe_older`.
pub fn renew(
    fetched: &Fetched,
    pair: &KeyPair,
    held: Option<&Snapshot>,
    believe_older: bool,
    now: Timestamp,
) -> Renewal {
    let serving = held.filter(|held| !held.settings().gone);
    let held_at = serving.map(Snapshot::updated_at);
    if let Some((updated_at, held_at)) = fetched.updated_at.zip(held_at)
        && updated_at < held_at
        && !believe_older
    {
        return Renewal::Older;
    }
    let mut publication = Publication {
        version: held.map_or(0, Snapshot::version),
        updated_at_micros: fetched.updated_at.or(held_at).unwrap_or(now).micros(),
        document: fetched.document.clone(),
        details: None,
        server_keys: vec![pair.server_key(true)],
    };
    if let Some(serving) = serving {
        let (package, _) = compile(&publication);
        if package.meta().content_hash == serving.content_hash() {
            return Renewal::Same;
        }
    }
    let changed_at = fetched.updated_at.unwrap_or(now).micros();
    publication.updated_at_micros = changed_at;
    let after_held = held.map_or(1, |held| held.version().saturating_add(1));
    publication.version = u64::try_from(changed_at).unwrap_or(0).max(after_held);
    let (package, warnings) = compile(&publication);
    Renewal::New { package, warnings }
}
