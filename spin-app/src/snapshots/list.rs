//! The list of all environments: what the control plane is told that is held.
//!
//! It is cut into a few values, so that with thousands of environments none comes near the limit of a
//! value, a publication writes little, and listing all is not a read for each.

use sha2::{Digest as _, Sha256};
use yardarm_core::edge::Unavailable;

use super::{Head, Homes};
use crate::key_value::{Change, KeyValue, update};
use crate::stored_json;

/// Into how many values the list of all environments is cut: with ten thousand of them, of some 30 KB
/// each.
const LISTS: u8 = 64;
/// Has the list of all environments say what serves.
pub(super) async fn list<K: KeyValue>(store: &K, head: &Head) -> Result<(), Unavailable> {
    update(store, &list_key(&head.environment_key), |bytes| {
        let mut all = listed(bytes)?;
        let known = all
            .iter_mut()
            .find(|known| known.environment_key == head.environment_key);
        match known {
            Some(known) if known.is_readable() && known.version >= head.version => {
                return Ok(Change::Keep(()));
            }
            Some(known) => *known = head.as_listed(),
            None => all.push(head.as_listed()),
        }
        Ok(Change::Store(stored_json::write(&all)?, ()))
    })
    .await
}

/// Every environment's head as it is listed, where this Yardarm can read what it names.
pub(crate) async fn held<K: KeyValue>(store: &K) -> Result<Vec<Head>, Unavailable> {
    let mut heads = Vec::new();
    for number in 0..LISTS {
        heads.extend(listed(store.get(&list_name(number)).await?.as_deref())?);
    }
    heads.retain(Head::is_readable);
    Ok(heads)
}

/// The list that an environment is in.
pub(super) fn list_key(environment_key: &str) -> String {
    let [first, ..] = Sha256::digest(environment_key).0;
    list_name(first % LISTS)
}

fn list_name(number: u8) -> String {
    format!("environments/{}", hex::encode([number]))
}

fn listed(bytes: Option<&[u8]>) -> Result<Vec<Head>, Unavailable> {
    bytes.map_or(Ok(Vec::new()), |bytes| {
        stored_json::read("environments", bytes)
    })
}

impl Head {
    /// What the list of all environments has of it.
    fn as_listed(&self) -> Self {
        Self {
            previous: None,
            homes: Homes::default(),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use yardarm_core::snapshot::Snapshot;

    use super::*;
    use crate::key_value::memory::{Memory, block_on};

    #[test]
    fn ten_thousand_environments_are_listed_in_small_values() {
        let head = |n: u32| Head {
            environment_key: format!("{n:022}"),
            version: u64::from(n),
            content_hash: "0".repeat(64),
            gone: false,
            format: Snapshot::FORMAT,
            inline: true,
            previous: Some("a tag".to_owned()),
            homes: Homes {
                tags: vec!["1".to_owned(), "2".to_owned()],
                of: vec![0; 800],
            },
        };
        let store = Memory::new();
        let mut lists: HashMap<String, Vec<Head>> = HashMap::new();
        for head in (0..10_000).map(head) {
            let list = lists.entry(list_key(&head.environment_key)).or_default();
            list.push(head.as_listed());
        }
        for (key, list) in &lists {
            let bytes = stored_json::write(list).unwrap();
            assert!(bytes.len() < 50_000, "{} bytes", bytes.len());
            block_on(store.set(key, &bytes)).unwrap();
        }
        let held = block_on(held(&store)).unwrap();
        let mut versions: Vec<u64> = held.iter().map(|head| head.version).collect();
        versions.sort_unstable();
        assert_eq!(versions, (0..10_000).collect::<Vec<_>>());
    }
}
