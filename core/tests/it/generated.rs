//! Contexts and documents made up at random: small alphabets, so that things meet.

use proptest::prelude::*;
use serde_json::{Value, json};
use yardarm_core::engine::Context;
use yardarm_core::snapshot::Publication;

fn trait_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        prop::sample::select(vec![
            "",
            "a",
            "ab",
            "b",
            "1",
            "01",
            "10",
            "10.0",
            "-1",
            "2.5",
            "True",
            "1.2.3",
            "1.2.3-beta",
            "1.10.0",
            "1.2",
            "\u{e9}",
        ])
        .prop_map(Value::from),
        (-3_i64..12).prop_map(Value::from),
        prop::sample::select(vec![0.5, 1.0, 2.5, 10.0]).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ]
}

fn condition() -> impl Strategy<Value = Value> {
    let property = prop::sample::select(vec![
        "x",
        "y",
        "z",
        "$.identity.identifier",
        "$.identity.key",
        "$.environment.name",
        "$.identity.traits.x",
    ]);
    let text = prop::sample::select(vec![
        "",
        "a",
        "ab",
        "b",
        "1",
        " 1 ",
        "10",
        "10.0",
        "-1",
        "2.5",
        "True",
        "false",
        "x,1,a",
        "a,,b",
        "1.2.3:semver",
        "1.2.3-beta:semver",
        "1.2:semver",
        "Production",
    ]);
    let operator = prop::sample::select(vec![
        "EQUAL",
        "NOT_EQUAL",
        "GREATER_THAN",
        "GREATER_THAN_INCLUSIVE",
        "LESS_THAN",
        "LESS_THAN_INCLUSIVE",
        "IN",
        "IS_SET",
        "IS_NOT_SET",
        "UNKNOWN",
    ]);
    let contains = prop::sample::select(vec!["CONTAINS", "NOT_CONTAINS"]);
    let part = prop::sample::select(vec!["", "a", "b", "1"]);
    prop_oneof![
        8 => (operator, property.clone(), text)
            .prop_map(|(o, p, v)| json!({"operator": o, "property": p, "value": v})),
        1 => (contains, property.clone(), part)
            .prop_map(|(o, p, v)| json!({"operator": o, "property": p, "value": v})),
        1 => (property.clone(), prop::sample::select(vec!["^a", "[0-9]+$", "b", "(", "a|1", "True"]))
            .prop_map(|(p, v)| json!({"operator": "REGEX", "property": p, "value": v})),
        1 => (property.clone(), prop::sample::select(vec!["2|0", "2|1", "0|0", "x|1", "-3|-1", "2"]))
            .prop_map(|(p, v)| json!({"operator": "MODULO", "property": p, "value": v})),
        1 => (property.clone(), prop::collection::vec(prop::sample::select(vec!["a", "1", "b,c"]), 0..3))
            .prop_map(|(p, v)| json!({"operator": "IN", "property": p, "value": v})),
        2 => (prop::sample::select(vec!["", "x"]), prop::sample::select(vec!["20", "50", "90", "x"]))
            .prop_map(|(p, v)| json!({"operator": "PERCENTAGE_SPLIT", "property": p, "value": v})),
    ]
}

fn rule() -> impl Strategy<Value = Value> {
    let kind = || prop::sample::select(vec!["ALL", "ANY", "NONE", "SOME"]);
    let leaf = (kind(), prop::collection::vec(condition(), 0..4)).prop_map(
        |(kind, conditions)| json!({"type": kind, "conditions": conditions, "rules": []}),
    );
    leaf.prop_recursive(3, 12, 3, move |inner| {
        (kind(), prop::collection::vec(condition(), 0..3), prop::collection::vec(inner, 0..3))
            .prop_map(|(kind, conditions, rules)| {
                json!({"type": kind, "conditions": conditions, "rules": rules})
            })
    })
}

fn rules() -> impl Strategy<Value = Vec<Value>> {
    prop::collection::vec(rule(), 0..3)
}

const NAMES: [&str; 4] = ["one", "two", "three", "four"];

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        prop::sample::select(vec!["", "a", "\u{e9}\u{1f600}\"\\", "{\"a\": 1}"])
            .prop_map(Value::from),
    ]
}

/// Weighted values: (value, weight, priority or id, key).
fn variants() -> impl Strategy<Value = Vec<(Value, u32, i64, Option<&'static str>)>> {
    let key = prop::option::of(prop::sample::select(vec!["red", "blue"]));
    prop::collection::vec((value(), 0_u32..70, 0_i64..1000, key), 0..3)
}

type State = (
    bool,
    Value,
    Vec<(Value, u32, i64, Option<&'static str>)>,
    u32,
);

fn state() -> impl Strategy<Value = State> {
    (any::<bool>(), value(), variants(), 1_u32..30)
}

fn feature(name: &str, priority: Option<i64>, state: &State) -> Value {
    let (enabled, value, variants, salt) = state;
    let variants: Vec<Value> = variants
        .iter()
        .map(|(value, weight, priority, key)| {
            json!({"value": value, "weight": weight, "priority": priority, "key": key})
        })
        .collect();
    let mut feature = json!({"key": salt.to_string(), "name": name, "enabled": enabled, "value": value,
        "variants": variants});
    if let Some(priority) = priority {
        feature["priority"] = priority.into();
    }
    feature
}

fn traits() -> impl Strategy<Value = Vec<(&'static str, Value)>> {
    let of = |name| trait_value().prop_map(move |value| (name, value));
    (
        prop::option::of(of("x")),
        prop::option::of(of("y")),
        prop::option::of(of("z")),
    )
        .prop_map(|(x, y, z)| [x, y, z].into_iter().flatten().collect())
}

prop_compose! {
    /// A context of up to four features and segments.
    pub(crate) fn context()(
        features in prop::collection::vec(state(), 0..4),
        segments in prop::collection::vec(
            (rules(), prop::collection::vec((0_usize..4, prop::option::of(-1_i64..3), state()), 0..4)), 0..4),
        traits in traits(),
        identifier in "[a-c1]{1,3}",
        key in prop::option::of("[a-z]{1,4}"),
        has_identity in prop::bool::weighted(0.9),
    ) -> Context {
        let features: serde_json::Map<String, Value> = features.iter().zip(NAMES)
            .map(|(state, name)| (name.to_owned(), feature(name, None, state))).collect();
        let segments: serde_json::Map<String, Value> = segments.iter().enumerate()
            .map(|(number, (rules, overrides))| {
                let overrides: Vec<Value> = overrides.iter()
                    .map(|(name, priority, state)| feature(NAMES[*name], *priority, state)).collect();
                (number.to_string(), json!({"key": number.to_string(), "name": format!("s{number}"),
                    "rules": rules, "overrides": overrides}))
            }).collect();
        let traits: serde_json::Map<String, Value> =
            traits.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let mut context = json!({"environment": {"key": "env", "name": "Production"},
            "features": features, "segments": segments});
        if has_identity {
            context["identity"] = json!({"identifier": identifier, "traits": traits});
            if let Some(key) = key {
                context["identity"]["key"] = key.into();
            }
        }
        serde_json::from_value(context).expect("a context")
    }
}

fn document_state(id: usize, priority: Option<i64>, state: &State) -> Value {
    let (enabled, value, variants, salt) = state;
    let values: Vec<Value> = variants
        .iter()
        .map(|(value, weight, id, key)| {
            json!({"multivariate_feature_option": {"value": value, "id": id, "key": key},
                "percentage_allocation": f64::from(*weight), "id": id, "mv_fs_value_uuid": "u"})
        })
        .collect();
    json!({
        "feature": {"id": id, "name": NAMES[id], "type": if values.is_empty() { "STANDARD" } else { "MULTIVARIATE" }},
        "enabled": enabled, "django_id": salt,
        "feature_segment": priority.map(|priority| json!({"priority": priority})),
        "featurestate_uuid": "u", "feature_state_value": value,
        "multivariate_feature_state_values": values
    })
}

/// The same rules under the names a document has.
fn as_in_document(rule: &Value) -> Value {
    let rules: Vec<Value> = rule["rules"]
        .as_array()
        .into_iter()
        .flatten()
        .map(as_in_document)
        .collect();
    let conditions: Vec<Value> = rule["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(
            |c| json!({"operator": c["operator"], "value": c["value"], "property_": c["property"]}),
        )
        .collect();
    json!({"type": rule["type"], "rules": rules, "conditions": conditions})
}

prop_compose! {
    /// A publication of up to four features and segments, and identities `i0` to `i3` with overrides.
    pub(crate) fn publication()(
        features in prop::collection::vec(state(), 0..4),
        segments in prop::collection::vec(
            (rules(), prop::collection::vec((0_usize..4, prop::option::of(-1_i64..3), state()), 0..4)), 0..4),
        identities in prop::collection::vec(prop::collection::btree_map(0_usize..4, state(), 0..3), 0..4),
        hide_disabled in prop::option::of(any::<bool>()),
        server_only in prop::collection::vec(0_usize..4, 0..2),
        unknown in prop::option::of(value()),
        has_details in any::<bool>(),
    ) -> Publication {
        let features: Vec<Value> = features.iter().enumerate()
            .map(|(id, state)| document_state(id, None, state)).collect();
        let segments: Vec<Value> = segments.iter().enumerate()
            .map(|(id, (rules, overrides))| {
                let states: Vec<Value> = overrides.iter()
                    .map(|(feature, priority, state)| document_state(*feature, *priority, state)).collect();
                json!({"id": id, "name": format!("s{id}"),
                    "rules": rules.iter().map(as_in_document).collect::<Vec<_>>(), "feature_states": states})
            }).collect();
        let identities: Vec<Value> = identities.iter().enumerate()
            .map(|(number, states)| {
                let states: Vec<Value> = states.iter().map(|(id, state)| document_state(*id, None, state)).collect();
                json!({"identifier": format!("i{number}"), "environment_api_key": "env",
                    "created_date": "2026-01-01T00:00:00+00:00", "identity_features": states,
                    "identity_traits": [], "identity_uuid": "u", "django_id": number,
                    "dashboard_alias": null, "composite_key": format!("env_i{number}")})
            }).collect();
        let mut document = json!({
            "id": 7, "api_key": "env",
            "project": {"id": 1, "name": "p\u{e9}", "organisation": {"id": 1, "name": "o",
                "feature_analytics": false, "stop_serving_flags": false, "persist_trait_data": true},
                "hide_disabled_flags": false, "segments": segments, "enable_realtime_updates": false,
                "server_key_only_feature_ids": server_only},
            "feature_states": features, "identity_overrides": identities, "name": "Production",
            "allow_client_traits": true, "updated_at": "2026-01-01T00:00:00+00:00",
            "hide_sensitive_data": false, "hide_disabled_flags": hide_disabled,
            "use_identity_composite_key_for_hashing": true,
            "use_identity_overrides_in_local_eval": true
        });
        if let Some(unknown) = unknown {
            document["of a newer Flagsmith"] = unknown.clone();
            document["project"]["of a newer Flagsmith"] = unknown;
        }
        let details = has_details.then(|| json!({"features": {}, "states": {}}));
        serde_json::from_value(json!({"version": 1, "updated_at_micros": 1, "document": document,
            "details": details})).expect("a publication")
    }
}
