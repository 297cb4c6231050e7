//! The identities of a batch, brought together: pure.
//!
//! One identity may appear several times; what cannot be stored is left out and counted, so that one bad row
//! keeps none of the others away.

use std::collections::{BTreeMap, HashMap};

use yardarm_core::edge::TraitScalar;
use yardarm_core::edge::delivery::{IdentityChange, TraitVersion};

/// Longest identifier, in characters (flagsmith-api.md A.4).
const IDENTIFIER_MAX: usize = 2000;
/// Longest name of a trait.
const TRAIT_KEY_MAX: usize = 200;
/// Longest text of a trait.
const TRAIT_TEXT_MAX: usize = 2000;
/// How far ahead of ours the clock of an edge may be.
const SKEW_MICROS: i64 = 5 * 60 * 1_000_000;

/// An environment's id, by which what is in it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The environment.
    pub(crate) environment_id: i64,
    /// Its project.
    pub(crate) project_id: i64,
}

/// What a batch says of one identity.
#[derive(Debug, PartialEq)]
pub(super) struct Seen<'a> {
    /// Microseconds since the epoch.
    pub(super) created_at: i64,
    /// The latest version of each trait.
    pub(super) traits: BTreeMap<&'a str, (Option<&'a TraitScalar>, i64)>,
}

/// Identities by environment and identifier, in the order in which everybody locks them.
pub(super) type Gathered<'a> = BTreeMap<(i64, &'a str), Seen<'a>>;

/// Brings the identities together; also tells how many identities and traits were left out.
pub(super) fn gather<'a>(
    changes: &'a [IdentityChange],
    places: &HashMap<String, Place>,
    now: i64,
) -> (Gathered<'a>, u64) {
    let mut gathered = Gathered::new();
    let mut skipped = 0;
    for change in changes {
        let place = places.get(&change.environment_key);
        let Some(place) = place.filter(|_| is_identifier(&change.identifier)) else {
            skipped += 1;
            continue;
        };
        let created_at = plausible(change.created_at_micros, now);
        let seen = gathered
            .entry((place.environment_id, change.identifier.as_str()))
            .or_insert_with(|| Seen {
                created_at,
                traits: BTreeMap::new(),
            });
        seen.created_at = seen.created_at.min(created_at);
        for version in &change.traits {
            if !can_be_stored(version) {
                skipped += 1;
                continue;
            }
            let at = plausible(version.changed_at_micros, now);
            let latest = seen.traits.entry(&version.key).or_insert((None, i64::MIN));
            if latest.1 < at {
                *latest = (version.value.as_ref(), at);
            }
        }
    }
    (gathered, skipped)
}

/// A time that an edge's clock told: one that cannot be yet is now.
fn plausible(micros: i64, now: i64) -> i64 {
    if micros > now.saturating_add(SKEW_MICROS) {
        now
    } else {
        micros.max(0)
    }
}

fn is_identifier(identifier: &str) -> bool {
    !identifier.is_empty() && fits(identifier, IDENTIFIER_MAX)
}

fn can_be_stored(version: &TraitVersion) -> bool {
    let value = match &version.value {
        Some(TraitScalar::Text(text)) => fits(text, TRAIT_TEXT_MAX),
        Some(TraitScalar::Float(number)) => number.is_finite(),
        Some(TraitScalar::Bool(_) | TraitScalar::Int(_)) | None => true,
    };
    value && !version.key.is_empty() && fits(&version.key, TRAIT_KEY_MAX)
}

/// Postgres cannot store the null character.
pub(crate) fn fits(text: &str, characters: usize) -> bool {
    (text.len() <= characters || text.chars().nth(characters).is_none()) && !text.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000_000;

    fn version(key: &str, value: Option<i64>, at: i64) -> TraitVersion {
        TraitVersion {
            key: key.to_owned(),
            value: value.map(TraitScalar::Int),
            changed_at_micros: at,
        }
    }

    fn change(key: &str, identifier: &str, at: i64, traits: Vec<TraitVersion>) -> IdentityChange {
        IdentityChange {
            environment_key: key.to_owned(),
            identifier: identifier.to_owned(),
            created_at_micros: at,
            traits,
        }
    }

    fn places() -> HashMap<String, Place> {
        let place = Place {
            environment_id: 7,
            project_id: 1,
        };
        HashMap::from([("env".to_owned(), place)])
    }

    #[test]
    fn one_identity_is_one_with_its_earliest_beginning_and_its_latest_traits() {
        let changes = [
            change(
                "env",
                "a",
                50,
                vec![version("k", Some(1), 20), version("l", Some(1), 20)],
            ),
            change(
                "env",
                "a",
                40,
                vec![version("k", Some(2), 19), version("l", None, 21)],
            ),
        ];
        let (gathered, skipped) = gather(&changes, &places(), NOW);
        let seen = &gathered[&(7, "a")];
        assert_eq!((seen.created_at, skipped, gathered.len()), (40, 0, 1));
        assert_eq!(seen.traits["k"], (Some(&TraitScalar::Int(1)), 20));
        assert_eq!(seen.traits["l"], (None, 21));
    }

    #[test]
    fn what_cannot_be_stored_is_left_out_alone() {
        let long = "x".repeat(2001);
        let text = |text: &str| TraitVersion {
            value: Some(TraitScalar::Text(text.to_owned())),
            ..version("t", None, 1)
        };
        let traits = vec![
            version("good", Some(1), 1),
            version("", Some(1), 1),
            version(&long[..201], Some(1), 1),
            version("nul\0", Some(1), 1),
            text(&long),
            text("nul\0"),
        ];
        let changes = [
            change("env", "a", 1, traits),
            change("gone", "a", 1, Vec::new()),
            change("env", "", 1, Vec::new()),
            change("env", &long, 1, Vec::new()),
            change("env", "nul\0", 1, Vec::new()),
            change("env", &"é".repeat(2000), 1, Vec::new()),
        ];
        let (gathered, skipped) = gather(&changes, &places(), NOW);
        assert_eq!((gathered.len(), skipped), (2, 5 + 4));
        assert_eq!(gathered[&(7, "a")].traits.len(), 1);
    }

    #[test]
    fn a_clock_that_is_ahead_does_not_win_for_ever() {
        let traits = vec![
            version("near", Some(1), NOW + SKEW_MICROS),
            version("far", Some(1), i64::MAX),
            version("before", Some(1), -5),
        ];
        let changes = [change("env", "a", i64::MAX, traits)];
        let (gathered, _) = gather(&changes, &places(), NOW);
        let seen = &gathered[&(7, "a")];
        let at: Vec<i64> = seen.traits.values().map(|(_, at)| *at).collect();
        assert_eq!(
            (seen.created_at, at),
            (NOW, vec![0, NOW, NOW + SKEW_MICROS])
        );
    }
}
