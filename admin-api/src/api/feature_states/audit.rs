//! What the audit log says of states, in Flagsmith's sentences.

use super::model::State;
use crate::api::environments::Environment;
use crate::store::{Entry, Object};

/// The entries for a state that was made (no `before`) or changed; they publish its environment. Empty
/// when nothing changed.
pub(crate) fn entries(
    environment: &Environment,
    before: Option<&State>,
    after: &State,
    shares_changed: bool,
) -> Vec<Entry> {
    let mut logs = Vec::new();
    if before.is_none_or(|before| before.enabled != after.enabled) {
        logs.push(enabled(after));
    }
    if before.is_none_or(|before| before.value() != after.value()) {
        logs.push(value(after));
    }
    if shares_changed {
        logs.push(format!(
            "Multivariate value changed for feature '{}'.",
            after.feature_name
        ));
    }
    let mut entries: Vec<Entry> = logs
        .into_iter()
        .map(|log| entry(environment, Object::FeatureState, after, log))
        .collect();
    if let Some(first) = entries.pop() {
        entries.push(first.publish_environments([environment.id]));
    }
    entries
}

/// The entry for a state that is no more; it publishes its environment.
pub(crate) fn removed(environment: &Environment, state: &State) -> Entry {
    let feature = &state.feature_name;
    let (object, log) = match (&state.segment_name, &state.identifier) {
        (Some(segment), _) => (
            Object::Feature,
            format!(
                "Flag state / Remote config value deleted for feature '{feature}' and segment '{segment}'"
            ),
        ),
        (None, Some(identity)) => (
            Object::FeatureState,
            format!(
                "Flag state / Remote config value deleted for feature '{feature}' and identity '{identity}'"
            ),
        ),
        (None, None) => (
            Object::FeatureState,
            format!("Flag / Remote Config Deleted: {feature}"),
        ),
    };
    entry(environment, object, state, log).publish_environments([environment.id])
}

fn entry(environment: &Environment, object: Object, state: &State, log: String) -> Entry {
    Entry::new(object, state.id, log)
        .uuid(state.uuid)
        .in_project(environment.organisation_id, environment.project_id)
        .in_environment(environment.id)
}

fn enabled(state: &State) -> String {
    let feature = &state.feature_name;
    match (&state.segment_name, &state.identifier) {
        (Some(segment), _) => format!(
            "Flag state / Remote config value updated for feature '{feature}' and segment '{segment}'"
        ),
        (None, Some(identity)) => format!(
            "Flag state / Remote config value updated for feature '{feature}' and identity '{identity}'"
        ),
        (None, None) => format!("Flag state updated for feature: {feature}"),
    }
}

fn value(state: &State) -> String {
    let feature = &state.feature_name;
    match (&state.segment_name, &state.identifier) {
        (Some(segment), _) => format!(
            "Remote config updated for segment override on feature '{feature}' and segment '{segment}'."
        ),
        (None, Some(identity)) => format!(
            "Remote config value updated for identity override on feature '{feature}' and identity '{identity}'."
        ),
        (None, None) => format!("Remote config value updated for feature: {feature}"),
    }
}
