//! What an answer must say: the engine, asked about the document itself. Snapshots, stores and hosts have no
//! part in it.

use serde_json::{Map, Value};
use yardarm_core::engine::{self, IdentityContext};
use yardarm_core::snapshot::document::{Document, FeatureState};
use yardarm_core::snapshot::{Side, context};

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Asker {
    pub(crate) identifier: String,
    pub(crate) traits: Map<String, Value>,
    /// Whether overrides made for the identifier count: not for one who is nobody's identity.
    pub(crate) is_known: bool,
}

/// A flag as an answer shows it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shown {
    pub(crate) name: String,
    enabled: bool,
    value: Value,
    variant: Value,
}

/// All flags that a key of this side is shown, in the document's order.
pub(crate) fn flags(document: &Document, side: Side, asker: Option<&Asker>) -> Vec<Shown> {
    let mut document = document.clone();
    let mut overridden = Vec::new();
    if let Some(asker) = asker.filter(|asker| asker.is_known) {
        let found = document
            .identity_overrides
            .iter()
            .find(|of| of.identifier == asker.identifier);
        overridden = found.map_or_else(Vec::new, |found| found.identity_features.clone());
    }
    for state in overridden {
        put_first(&mut document, state);
    }
    let mut context = context(&document);
    context.identity = asker.map(|asker| IdentityContext {
        identifier: asker.identifier.clone(),
        traits: asker.traits.clone(),
        ..IdentityContext::default()
    });
    let hides_disabled = document
        .hide_disabled_flags
        .unwrap_or(document.project.hide_disabled_flags);
    let evaluation = engine::evaluate(&context);
    let shown = document
        .feature_states
        .iter()
        .zip(evaluation.flags)
        .filter(|(state, flag)| {
            let forbidden = &document.project.server_key_only_feature_ids;
            (side == Side::Server || !forbidden.contains(&state.feature.id))
                && (flag.enabled || !hides_disabled)
        });
    shown
        .map(|(_, flag)| Shown {
            name: flag.name,
            enabled: flag.enabled,
            value: flag.value,
            variant: flag.variant.map_or(Value::Null, Value::from),
        })
        .collect()
}

/// Makes an identity's own state the only one of its feature.
fn put_first(document: &mut Document, state: FeatureState) {
    let id = state.feature.id;
    for segment in &mut document.project.segments {
        segment
            .feature_states
            .retain(|other| other.feature.id != id);
    }
    let default = document
        .feature_states
        .iter_mut()
        .find(|other| other.feature.id == id);
    if let Some(default) = default {
        *default = state;
    }
}

/// The flags of an answer; nothing where they are none.
pub(crate) fn read_all(flags: &Value) -> Option<Vec<Shown>> {
    flags.as_array()?.iter().map(read).collect()
}

/// One flag of an answer.
pub(crate) fn read(flag: &Value) -> Option<Shown> {
    Some(Shown {
        name: flag["feature"]["name"].as_str()?.to_owned(),
        enabled: flag["enabled"].as_bool()?,
        value: flag["feature_state_value"].clone(),
        variant: flag["variant"].clone(),
    })
}

/// What is different, for people.
pub(crate) fn difference(answered: &[Shown], expected: &[Shown]) -> Option<String> {
    if answered == expected {
        return None;
    }
    let missing = expected.iter().find(|flag| !answered.contains(flag));
    let extra = answered.iter().find(|flag| !expected.contains(flag));
    Some(match (extra, missing) {
        (None, None) => "the same flags in another order".to_owned(),
        (extra, missing) => format!("answered {extra:?}, expected {missing:?}"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Document {
        let state = |id: i64, name: &str, enabled: bool, value: &str| {
            json!({
                "feature": {"id": id, "name": name, "type": "STANDARD"}, "enabled": enabled,
                "django_id": id, "feature_segment": null, "feature_state_value": value,
                "featurestate_uuid": format!("00000000-0000-4000-8000-{id:012}"),
                "multivariate_feature_state_values": [],
            })
        };
        serde_json::from_value(json!({
            "id": 1, "api_key": "key", "name": "n", "project": {
                "id": 1, "name": "p", "hide_disabled_flags": true, "server_key_only_feature_ids": [3],
                "organisation": {"id": 1, "name": "o", "persist_trait_data": true},
                "segments": [{"id": 1, "name": "pro", "rules": [{"type": "ALL", "rules": [], "conditions":
                    [{"operator": "EQUAL", "property_": "plan", "value": "pro"}]}],
                    "feature_states": [state(1, "a", true, "for pro")]}],
            },
            "feature_states": [
                state(1, "a", true, "for all"), state(2, "off", false, ""), state(3, "hidden", true, "")
            ],
            "identity_overrides": [{"identifier": "ann", "identity_features": [state(1, "a", true, "for ann")]}],
        }))
        .expect("a document")
    }

    fn values(side: Side, asker: Option<&Asker>) -> Vec<(String, Value)> {
        let shown = flags(&document(), side, asker);
        shown
            .into_iter()
            .map(|flag| (flag.name, flag.value))
            .collect()
    }

    #[test]
    fn overrides_come_in_their_order_and_what_is_hidden_is_not_shown() {
        let a = |value: &str| vec![("a".to_owned(), json!(value))];
        assert_eq!(values(Side::Client, None), a("for all"));
        let mut asker = Asker {
            identifier: "ann".to_owned(),
            ..Asker::default()
        };
        asker.traits.insert("plan".to_owned(), json!("pro"));
        assert_eq!(values(Side::Client, Some(&asker)), a("for pro"));
        asker.is_known = true;
        assert_eq!(values(Side::Client, Some(&asker)), a("for ann"));
        assert_eq!(values(Side::Server, None).len(), 2);
    }
}
