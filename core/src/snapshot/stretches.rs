//! Stretches: features in a row that an answer decides on at once. Whoever asks gets all of them by the
//! same segment or by default, and their flags lie side by side. (Identity overrides aside, which are no part
//! of a snapshot.)

use std::collections::BTreeSet;

use crate::engine::binary::{Span, count};
use crate::engine::plan::Plan;

/// What a state comes to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    /// Where its flag is, with the control value; of no length where it is not to be shown.
    pub(super) flag: Span,
    /// Whether a variant's may take its place.
    pub(super) is_split: bool,
}

impl Outcome {
    /// Whether the two are copied at once wherever both are answered.
    fn goes_on_with(self, next: Self) -> bool {
        !self.is_split && !next.is_split && self.flag.at + self.flag.len == next.flag.at
    }
}

/// The features in stretches.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stretches {
    /// Where each stretch ends: the number of the feature after it.
    pub(super) ends: Vec<u32>,
    /// For each state the length of its flag and of those that follow in the stretch.
    pub(super) lengths: Vec<u32>,
}

impl Stretches {
    /// Finds the longest ones. `server_only` has a place for every feature, `outcomes` for every state.
    pub(super) fn find(plan: &Plan<'_>, server_only: &[bool], outcomes: &[Outcome]) -> Self {
        let mut lengths: Vec<u32> = outcomes.iter().map(|outcome| outcome.flag.len).collect();
        let mut ends = Vec::new();
        let choices: Vec<_> = (0..count(server_only.len()))
            .map(|number| choices(plan, number))
            .collect();
        // A feature that is there twice shares the states that override it, which have one length each.
        let mut seen = BTreeSet::new();
        let mut all = choices.iter().flatten();
        let is_shared = !all.all(|(_, state)| seen.insert(state));
        for number in (0..choices.len()).rev() {
            let next = choices.get(number + 1).filter(|next| {
                let mut pairs = choices[number].iter().zip(*next);
                !is_shared
                    && server_only[number] == server_only[number + 1]
                    && choices[number].len() == next.len()
                    && pairs.all(|((segment, state), (next_segment, next_state))| {
                        segment == next_segment
                            && outcomes[*state].goes_on_with(outcomes[*next_state])
                    })
            });
            match next {
                Some(next) => {
                    for ((_, state), (_, next_state)) in choices[number].iter().zip(next) {
                        lengths[*state] += lengths[*next_state];
                    }
                }
                None => ends.push(count(number + 1)),
            }
        }
        ends.reverse();
        Self { ends, lengths }
    }
}

/// The states that a feature may be in, strongest first, each with the segment that makes it so.
fn choices(plan: &Plan<'_>, feature: u32) -> Vec<(Option<u32>, usize)> {
    let Some(feature) = plan.feature(feature) else {
        return Vec::new();
    };
    let candidates = plan.candidates(feature.candidates);
    candidates
        .map(|candidate| (Some(candidate.segment), candidate.state as usize))
        .chain([(None, feature.state as usize)])
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::layout::Part;
    use super::super::{
        Identity, OverrideBucket, Package, Publication, Side, Trait, TraitValue, compile,
    };

    fn state(feature: usize, of: &str, options: usize) -> Value {
        let options: Vec<Value> = (0..options)
            .map(|id| {
                json!({"multivariate_feature_option": {"value": id, "id": id},
                "percentage_allocation": 100.0, "id": id, "mv_fs_value_uuid": "u"})
            })
            .collect();
        json!({"feature": {"id": feature, "name": format!("f{feature}")}, "enabled": ![0, 6].contains(&feature),
            "django_id": 1, "featurestate_uuid": "u", "feature_state_value": of,
            "multivariate_feature_state_values": options})
    }

    /// Ten features, of which two are disabled, and the first of these has a variant; a segment overrides the features of each list.
    fn package(segments: &[&[usize]], change: impl Fn(&mut Value)) -> Package {
        let features: Vec<Value> = (0..10)
            .map(|number| state(number, "default", usize::from(number == 0)))
            .collect();
        let segments: Vec<Value> = segments
            .iter()
            .enumerate()
            .map(|(id, features)| {
                let of = format!("segment {id}");
                let states: Vec<Value> = features.iter().map(|number| state(*number, &of, 0)).collect();
                json!({"id": id, "name": of, "feature_states": states, "rules": [{"type": "ALL",
                    "conditions": [{"operator": "EQUAL", "property_": "in", "value": id.to_string()}]}]})
            })
            .collect();
        let mut document = json!({"id": 1, "api_key": "key", "name": "n", "feature_states": features,
            "project": {"id": 1, "organisation": {"id": 1}, "segments": segments},
            "identity_overrides": [{"identifier": "has-own", "environment_api_key": "key",
                "identity_features": [state(3, "own", 0)]}]});
        change(&mut document);
        let publication = Publication {
            version: 1,
            updated_at_micros: 1,
            document: serde_json::from_value(document).expect("a document"),
            details: None,
            server_keys: Vec::new(),
        };
        compile(&publication).0
    }

    fn ends(package: &Package) -> Vec<u32> {
        let (ends, _) = package.opened().part(Part::Stretches).as_chunks();
        ends.iter().map(|end| u32::from_le_bytes(*end)).collect()
    }

    /// All flags at once are the flags one by one, whoever asks.
    fn check(package: &Package, names: &[&str]) {
        let snapshot = package.opened();
        for (identifier, segment) in [
            ("a", -1),
            ("a", 0),
            ("a", 1),
            ("has-own", -1),
            ("has-own", 0),
        ] {
            let traits = [Trait {
                key: "in",
                value: TraitValue::Int(segment),
            }];
            let identity = Identity {
                identifier,
                hash_key: None,
                traits: &traits,
            };
            let bucket = snapshot
                .override_part(identifier)
                .and_then(|part| package.part(part));
            let bucket = bucket.map(OverrideBucket::new);
            for side in [Side::Client, Side::Server] {
                let mut all = Vec::new();
                snapshot.write_identity_flags(side, &identity, bucket.as_ref(), &mut all);
                let mut one_by_one = Vec::new();
                for name in names {
                    let mut flag = Vec::new();
                    if snapshot.write_identity_flag(
                        side,
                        &identity,
                        bucket.as_ref(),
                        name,
                        &mut flag,
                    ) {
                        one_by_one.push(String::from_utf8(flag).expect("text"));
                    }
                }
                let one_by_one = format!("[{}]", one_by_one.join(","));
                assert_eq!(
                    String::from_utf8(all).expect("text"),
                    one_by_one,
                    "{identifier} {segment}"
                );
            }
        }
    }

    #[test]
    fn what_is_decided_alike_is_one_stretch() {
        let names: Vec<String> = (0..10).map(|number| format!("f{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let server_only = |document: &mut Value| {
            document["project"]["server_key_only_feature_ids"] = json!([2]);
        };
        let hiding = |document: &mut Value| document["hide_disabled_flags"] = true.into();
        let all: Vec<usize> = (0..10).collect();
        for (package, expected) in [
            (package(&[], |_| {}), vec![1, 10]),
            (package(&[&all, &all], |_| {}), vec![1, 10]),
            // Wherever the overrides stand in their segment.
            (package(&[&[4, 2, 3]], |_| {}), vec![1, 2, 5, 10]),
            (package(&[&[1, 2], &[2, 3]], |_| {}), vec![1, 2, 3, 4, 10]),
            // Another override lies between the two that would be copied.
            (package(&[&[1, 2, 1]], |_| {}), vec![1, 2, 3, 10]),
            (package(&[&all], server_only), vec![1, 2, 3, 10]),
            // What is hidden is nothing to copy, a variant of it neither.
            (package(&[&all], hiding), vec![10]),
            (package(&[], hiding), vec![10]),
        ] {
            assert_eq!(ends(&package), expected);
            check(&package, &names);
        }
    }

    #[test]
    fn features_that_are_there_twice_are_told_one_by_one() {
        let package = package(&[&[0, 1, 2]], |document| {
            let again = document["feature_states"][0].clone();
            document["feature_states"][9] = again;
        });
        assert_eq!(ends(&package), (1..=10).collect::<Vec<_>>());
    }
}
