//! flagsmith-flag-engine 0.7.0, used as a server would use it.

use std::hint::black_box;

use flagsmith_flag_engine::engine::get_evaluation_result;
use flagsmith_flag_engine::engine_eval::context::EngineEvaluationContext;
use flagsmith_flag_engine::engine_eval::mappers::{
    add_identity_to_context, environment_to_context,
};
use flagsmith_flag_engine::engine_eval::result::EvaluationResult;
use flagsmith_flag_engine::environments::builders::build_environment_struct;
use flagsmith_flag_engine::identities::Trait;
use serde_json::json;

use crate::profile::Profile;

/// A profile made ready for it.
pub struct Theirs {
    context: EngineEvaluationContext,
    identifier: String,
    traits: Vec<Trait>,
}

impl Theirs {
    /// Reads the document.
    pub fn new(profile: &Profile) -> Self {
        let as_trait =
            |(key, value)| serde_json::from_value(json!({"trait_key": key, "trait_value": value}));
        let traits = profile
            .traits
            .iter()
            .map(|(key, value)| as_trait((key, value)));
        Self {
            context: environment_to_context(build_environment_struct(profile.document.clone())),
            identifier: profile.identifier.clone(),
            traits: traits.collect::<Result<_, _>>().expect("traits"),
        }
    }

    /// One request: the identity is added to the context, which is then evaluated.
    pub fn evaluate(&self) -> EvaluationResult {
        let context = black_box(&self.context);
        get_evaluation_result(&add_identity_to_context(
            context,
            &self.identifier,
            &self.traits,
        ))
    }

    /// The same, and the result to JSON.
    pub fn evaluate_to_json(&self) -> Vec<u8> {
        serde_json::to_vec(&self.evaluate()).expect("JSON")
    }
}
