//! A published profile: an environment document and the request that is made of it.

use serde_json::Value;
use yardarm_core::snapshot::{Trait, TraitValue};

/// An environment and who asks.
pub struct Profile {
    /// The environment document.
    pub document: Value,
    /// Who asks.
    pub identifier: String,
    /// With which traits: names and scalars.
    pub traits: Vec<(String, Value)>,
}

impl Profile {
    /// Reads the two files of a profile.
    pub fn parse(document: &[u8], post: &[u8]) -> Option<Self> {
        let post: Value = serde_json::from_slice(post).ok()?;
        let traits = post["traits"].as_array()?.iter();
        Some(Self {
            document: serde_json::from_slice(document).ok()?,
            identifier: post["identifier"].as_str()?.to_owned(),
            traits: traits
                .map(|entry| {
                    Some((
                        entry["trait_key"].as_str()?.to_owned(),
                        entry["trait_value"].clone(),
                    ))
                })
                .collect::<Option<_>>()?,
        })
    }

    /// The same with so many identities that override a feature each, the one that asks among them.
    pub fn with_overrides(&self, count: usize) -> Self {
        let mut document = self.document.clone();
        let states = document["feature_states"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let overrides: Vec<Value> = states
            .iter()
            .cycle()
            .take(count)
            .enumerate()
            .map(|(number, state)| {
                let identifier = match number {
                    0 => self.identifier.clone(),
                    _ => format!("user-{number:06}-of-many"),
                };
                let mut state = state.clone();
                state["feature_state_value"] = format!("override-{number}").into();
                state["multivariate_feature_state_values"] = Value::Array(Vec::new());
                serde_json::json!({
                    "identifier": identifier, "environment_api_key": document["api_key"],
                    "created_date": "2026-01-01T00:00:00.000000+00:00",
                    "identity_features": [state], "identity_traits": [],
                    "identity_uuid": "00000000-0003-4000-8000-000000000003", "django_id": number,
                    "dashboard_alias": null,
                    "composite_key": format!("{}_{identifier}", document["api_key"]),
                })
            })
            .collect();
        document["identity_overrides"] = Value::Array(overrides);
        Self {
            document,
            identifier: self.identifier.clone(),
            traits: self.traits.clone(),
        }
    }

    /// The traits as a host hands them over.
    pub fn traits(&self) -> Vec<Trait<'_>> {
        let entries = self.traits.iter();
        entries
            .filter_map(|(key, value)| {
                let value = match value {
                    Value::Bool(value) => TraitValue::Bool(*value),
                    Value::String(text) => TraitValue::Text(text),
                    Value::Number(number) => match number.as_i64() {
                        Some(integer) => TraitValue::Int(integer),
                        None => TraitValue::Float(number.as_f64()?),
                    },
                    _ => return None,
                };
                Some(Trait { key, value })
            })
            .collect()
    }
}
