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
                .map(|entry| Some((entry["trait_key"].as_str()?.to_owned(), entry["trait_value"].clone())))
                .collect::<Option<_>>()?,
        })
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
