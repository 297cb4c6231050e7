//! An identity as it is evaluated and answered: what is stored of it, under what it sends.

use super::error::Refusal;
use super::identity_record::{IdentityRecord, TraitChange, TraitScalar};
use super::json_text;
use super::ports::Host;
use super::submission::Sent;
use crate::snapshot::{Identity, OverrideBucket, Settings, Side, Snapshot, Trait, TraitValue};

/// One trait of an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Shown<'a> {
    id: Option<i64>,
    key: &'a str,
    value: TraitValue<'a>,
    transient: bool,
}

/// Who asks.
#[derive(Debug)]
pub(super) struct Asker<'a> {
    identifier: &'a str,
    record_id: Option<i64>,
    traits: Vec<Shown<'a>>,
    overrides: Option<OverrideBucket>,
}

impl<'a> Asker<'a> {
    /// One of whom nothing is stored, and for whom nothing is overridden.
    pub(super) const fn stranger(identifier: &'a str) -> Self {
        Self {
            identifier,
            record_id: None,
            traits: Vec::new(),
            overrides: None,
        }
    }

    /// One with what is stored of it, in stored order, and the overrides made for it.
    pub(super) fn known(
        identifier: &'a str,
        record: Option<&'a IdentityRecord>,
        overrides: Option<OverrideBucket>,
    ) -> Self {
        let stored = record.map_or(&[][..], |record| &record.traits);
        let traits = stored.iter().map(|stored| Shown {
            id: stored.id,
            key: &stored.key,
            value: view(&stored.value),
            transient: false,
        });
        Self {
            identifier,
            record_id: record.and_then(|record| record.id),
            traits: traits.collect(),
            overrides,
        }
    }

    /// Puts traits that were sent and not stored over the stored ones, in their places; new ones go to
    /// the end, and one without a value hides what is stored.
    pub(super) fn overlay(&mut self, sent: impl Iterator<Item = &'a Sent<'a>>, transient: bool) {
        for sent in sent {
            let place = self.traits.iter().position(|shown| shown.key == sent.key);
            let shown = sent.value.as_ref().map(|value| Shown {
                id: None,
                key: &sent.key,
                value: value.view(),
                transient: transient || sent.transient,
            });
            match (place, shown) {
                (Some(place), Some(shown)) => self.traits[place] = shown,
                (Some(place), None) => drop(self.traits.remove(place)),
                (None, Some(shown)) => self.traits.push(shown),
                (None, None) => {}
            }
        }
    }

    /// Gives the engine's view of the identity to `evaluate`.
    pub(super) fn evaluate<T>(
        &self,
        settings: Settings,
        evaluate: impl FnOnce(&Identity<'_>, Option<&OverrideBucket>) -> T,
    ) -> T {
        let traits: Vec<_> = self
            .traits
            .iter()
            .map(|shown| Trait {
                key: shown.key,
                value: shown.value,
            })
            .collect();
        // With composite hashing off, Flagsmith hashes an identity it has not stored as "None", all
        // alike; the identifier spreads them and stays the same.
        let id = self.record_id.map(|id| id.to_string());
        let hash_key = if settings.composite_key_hashing {
            None
        } else {
            Some(id.as_deref().unwrap_or(self.identifier))
        };
        let identity = Identity {
            identifier: self.identifier,
            hash_key,
            traits: &traits,
        };
        evaluate(&identity, self.overrides.as_ref())
    }

    /// Appends the `traits` array; it is empty where sensitive data is hidden.
    pub(super) fn write_traits(&self, settings: Settings, out: &mut Vec<u8>) {
        out.push(b'[');
        let shown = if settings.hide_sensitive_data {
            &[][..]
        } else {
            &self.traits[..]
        };
        for (index, shown) in shown.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            // What does not vary is written at once.
            if let Some(id) = shown.id {
                out.extend_from_slice(b"{\"id\":");
                json_text::integer(out, id);
                out.extend_from_slice(b",\"trait_key\":");
            } else {
                out.extend_from_slice(b"{\"id\":null,\"trait_key\":");
            }
            json_text::string(out, shown.key);
            out.extend_from_slice(b",\"trait_value\":");
            write_value(out, shown.value);
            if shown.transient {
                out.extend_from_slice(b",\"transient\":true}");
            } else {
                out.extend_from_slice(b",\"transient\":false}");
            }
        }
        out.push(b']');
    }

    /// The body of an answer with every flag.
    pub(super) fn answer(&self, snapshot: &Snapshot, settings: Settings, side: Side) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.expected_length(snapshot, side));
        out.extend_from_slice(b"{\"identifier\":");
        json_text::string(&mut out, self.identifier);
        out.extend_from_slice(b",\"traits\":");
        self.write_traits(settings, &mut out);
        out.extend_from_slice(b",\"flags\":");
        self.evaluate(settings, |identity, overrides| {
            snapshot.write_identity_flags(side, identity, overrides, &mut out);
        });
        out.push(b'}');
        out
    }

    /// Generous: one allocation is dearer than a few unused bytes.
    pub(super) fn expected_length(&self, snapshot: &Snapshot, side: Side) -> usize {
        let flags = snapshot.flags(side).0.len();
        flags + flags / 4 + self.identifier.len() + self.traits.len() * 96 + 128
    }
}

fn view(value: &TraitScalar) -> TraitValue<'_> {
    match value {
        TraitScalar::Bool(value) => TraitValue::Bool(*value),
        TraitScalar::Int(value) => TraitValue::Int(*value),
        TraitScalar::Float(value) => TraitValue::Float(*value),
        TraitScalar::Text(text) => TraitValue::Text(text),
    }
}

/// A trait's value as JSON.
pub(super) fn write_value(out: &mut Vec<u8>, value: TraitValue<'_>) {
    match value {
        TraitValue::Bool(value) => json_text::boolean(out, value),
        TraitValue::Int(value) => json_text::integer(out, value),
        TraitValue::Float(value) => json_text::float(out, value),
        TraitValue::Text(text) => json_text::string(out, text),
    }
}

/// A stored value as JSON.
pub(super) fn write_scalar(out: &mut Vec<u8>, value: &TraitScalar) {
    write_value(out, view(value));
}

/// What is stored of an identity; one that is not there yet is created.
pub(super) async fn find_or_create<H: Host>(
    host: &H,
    snapshot: &Snapshot,
    identifier: &str,
) -> Result<IdentityRecord, Refusal> {
    match host.identity(snapshot, identifier).await? {
        Some(record) => Ok(record),
        None => change(host, snapshot, identifier, TraitChange::Merge(Vec::new())).await,
    }
}

/// Stores a change of traits. A merge cannot be refused.
pub(super) async fn change<H: Host>(
    host: &H,
    snapshot: &Snapshot,
    identifier: &str,
    change: TraitChange,
) -> Result<IdentityRecord, Refusal> {
    let changed = host.change_identity(snapshot, identifier, &change).await?;
    changed.map_err(|error| Refusal::Bad(error.to_string()))
}

/// The bucket that holds an identity's overrides, where there are any.
pub(super) async fn overrides<H: Host>(
    host: &H,
    snapshot: &Snapshot,
    identifier: &str,
) -> Result<Option<OverrideBucket>, Refusal> {
    let Some(bucket) = snapshot.override_part(identifier) else {
        return Ok(None);
    };
    // Without its bucket an identity could get a flag that was overridden for it: no answer is better.
    let bytes = host
        .part(snapshot, bucket)
        .await?
        .ok_or(Refusal::Unavailable)?;
    Ok(Some(OverrideBucket::new(bytes)))
}

#[cfg(test)]
mod tests {
    use super::super::identity_record::StoredTrait;
    use super::super::submission::SentValue;
    use super::*;
    use crate::edge::delivery::TraitVersion;

    const OPEN: Settings = Settings {
        gone: false,
        allow_client_traits: true,
        hide_sensitive_data: false,
        composite_key_hashing: true,
        stop_serving_flags: false,
        persist_trait_data: true,
    };

    fn record() -> IdentityRecord {
        let stored = |id, key: &str, value| StoredTrait {
            id: Some(id),
            key: key.to_owned(),
            value,
            changed_at_micros: 0,
        };
        IdentityRecord {
            id: Some(7),
            created_at_micros: 0,
            traits: vec![
                stored(1, "age", TraitScalar::Text("thirty".to_owned())),
                stored(2, "vip", TraitScalar::Bool(true)),
                stored(3, "score", TraitScalar::Float(1.5)),
            ],
            deleted: vec![TraitVersion {
                key: "gone".to_owned(),
                value: None,
                changed_at_micros: 1,
            }],
        }
    }

    fn sent(
        key: &'static str,
        value: Option<SentValue<'static>>,
        transient: bool,
    ) -> Sent<'static> {
        Sent {
            key: key.into(),
            value,
            transient,
        }
    }

    fn traits(asker: &Asker<'_>, settings: Settings) -> String {
        let mut out = Vec::new();
        asker.write_traits(settings, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn sent_traits_mask_stored_ones_in_place() {
        let record = record();
        let sent = [
            sent("vip", Some(SentValue::Bool(false)), true),
            sent("age", None, false),
            sent("new", Some(SentValue::Int(5)), false),
            sent("never", None, false),
        ];
        let mut asker = Asker::known("p1", Some(&record), None);
        asker.overlay(sent.iter(), false);
        assert_eq!(
            traits(&asker, OPEN),
            concat!(
                r#"[{"id":null,"trait_key":"vip","trait_value":false,"transient":true},"#,
                r#"{"id":3,"trait_key":"score","trait_value":1.5,"transient":false},"#,
                r#"{"id":null,"trait_key":"new","trait_value":5,"transient":false}]"#
            )
        );
        assert_eq!(
            traits(
                &asker,
                Settings {
                    hide_sensitive_data: true,
                    ..OPEN
                }
            ),
            "[]"
        );
    }

    #[test]
    fn what_buckets_are_hashed_by() {
        let record = record();
        let by = |asker: Asker<'_>, composite_key_hashing| {
            let settings = Settings {
                composite_key_hashing,
                ..OPEN
            };
            asker.evaluate(settings, |identity, _| identity.hash_key.map(str::to_owned))
        };
        assert_eq!(by(Asker::known("p1", Some(&record), None), true), None);
        assert_eq!(
            by(Asker::known("p1", Some(&record), None), false).as_deref(),
            Some("7")
        );
        assert_eq!(by(Asker::stranger("p1"), false).as_deref(), Some("p1"));
    }
}
