//! The JSON that answers are put together from (flagsmith-api.md A.3, flagsmith-observed.md 3.3).
//!
//! A flag is a head, the feature, and a tail: `{"id":4,"feature":` `{…}` `,"feature_state_value":…}`.
//! Of identity overrides, which are many, only head and tail are kept: the feature is shared.

use serde_json::Value;

use super::ascii_json;
use super::document::{Document, Feature, FeatureState, MultivariateOption};
use super::publication::{Details, Publication};
use crate::engine::binary::{self, Span};

/// The field of a flag that its value is in.
const VALUE: &str = "feature_state_value";

/// A value, and what `variant` says beside it.
type Answered<'a> = (&'a Value, Option<&'a str>);

/// Writes the pieces of one publication's flags.
pub(super) struct Fragments<'a> {
    document: &'a Document,
    /// Absent: the slim shape of the Edge API.
    details: Option<&'a Details>,
}

impl<'a> Fragments<'a> {
    pub(super) fn new(publication: &'a Publication) -> Self {
        Self {
            document: &publication.document,
            details: publication.details.as_ref(),
        }
    }

    /// The feature of a flag.
    pub(super) fn feature(&self, feature: &Feature) -> Vec<u8> {
        let mut out = Vec::new();
        field(&mut out, "{", "id", &feature.id);
        field(&mut out, ",", "name", &feature.name);
        if let Some(details) = self.details {
            let shown = details
                .features
                .get(&feature.id)
                .filter(|_| !self.document.hide_sensitive_data);
            field(
                &mut out,
                ",",
                "created_date",
                &shown.map(|of| &of.created_date),
            );
            field(
                &mut out,
                ",",
                "description",
                &shown.and_then(|of| of.description.as_ref()),
            );
            field(
                &mut out,
                ",",
                "initial_value",
                &shown.and_then(|of| of.initial_value.as_ref()),
            );
            field(
                &mut out,
                ",",
                "default_enabled",
                &shown.map(|of| of.default_enabled),
            );
        }
        field(&mut out, ",", "type", &feature.kind);
        out.push(b'}');
        out
    }

    /// What comes before the feature.
    pub(super) fn head(&self, state: &FeatureState) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(details) = self.details {
            let row = details.states.get(&state.featurestate_uuid);
            field(&mut out, "{", "id", &self.shown(row.map(|row| row.id)));
            out.extend_from_slice(br#","feature":"#);
        } else {
            out.extend_from_slice(br#"{"feature":"#);
        }
        out
    }

    /// What comes after the feature, without `variant` and the closing brace.
    fn tail(&self, state: &FeatureState, value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(details) = self.details {
            let row = details.states.get(&state.featurestate_uuid);
            let environment = self.shown(Some(self.document.id));
            let identity = self.shown(row.and_then(|row| row.identity));
            let segment = self.shown(row.and_then(|row| row.feature_segment));
            field(&mut out, ",", VALUE, value);
            field(&mut out, ",", "environment", &environment);
            field(&mut out, ",", "identity", &identity);
            field(&mut out, ",", "feature_segment", &segment);
            field(&mut out, ",", "enabled", &state.enabled);
        } else {
            field(&mut out, ",", "enabled", &state.enabled);
            field(&mut out, ",", VALUE, value);
        }
        out
    }

    /// [`Self::tail`] of the state's own value, and where in it the value is.
    pub(super) fn tail_and_value(&self, state: &FeatureState) -> (Vec<u8>, Span) {
        let tail = self.tail(state, &state.feature_state_value);
        let len = ascii_json::to_vec(&state.feature_state_value).len();
        // The full shape starts with the value, the slim one ends with it.
        let at = match self.details {
            Some(_) => r#","":"#.len() + VALUE.len(),
            None => tail.len() - len,
        };
        let value = Span {
            at: binary::count(at),
            len: binary::count(len),
        };
        (tail, value)
    }

    /// The value of a state where no variant applies, and what `variant` says then.
    pub(super) fn control(state: &FeatureState) -> Answered<'_> {
        let is_split = !state.multivariate_feature_state_values.is_empty();
        (&state.feature_state_value, is_split.then_some("control"))
    }

    /// The value of a variant, and what `variant` says then.
    pub(super) fn variant(option: &MultivariateOption) -> Answered<'_> {
        (&option.value, option.key.as_deref())
    }

    /// [`Self::tail`] with `variant`, the closing brace and the comma before the next flag.
    pub(super) fn whole_tail(
        &self,
        state: &FeatureState,
        (value, variant): Answered<'_>,
    ) -> Vec<u8> {
        let mut out = self.tail(state, value);
        field(&mut out, ",", "variant", &variant);
        out.extend_from_slice(b"},");
        out
    }

    /// A flag as an identity gets it, and the comma before the next one. `feature` is as [`Self::feature`] writes it.
    pub(super) fn flag(
        &self,
        state: &FeatureState,
        feature: &[u8],
        answered: Answered<'_>,
    ) -> Vec<u8> {
        let mut out = self.head(state);
        out.extend_from_slice(feature);
        out.extend_from_slice(&self.whole_tail(state, answered));
        out
    }

    /// A segment as `GET /identities/<identifier>/` shows it.
    pub(super) fn segment(&self, id: i64, name: &str) -> Vec<u8> {
        let mut out = Vec::new();
        field(&mut out, "{", "id", &id);
        field(&mut out, ",", "name", &name);
        if let Some(details) = self.details {
            field(&mut out, ",", "description", &details.segments.get(&id));
        }
        out.push(b'}');
        out
    }

    /// The body of `GET /flags/<feature id>/multivariate-options/`.
    pub(super) fn options(state: &FeatureState) -> Vec<u8> {
        let mut out = Vec::new();
        field(&mut out, "{", "control_value", &state.feature_state_value);
        out.extend_from_slice(br#","options":["#);
        for (number, value) in state.multivariate_feature_state_values.iter().enumerate() {
            let before = if number == 0 { "{" } else { ",{" };
            field(
                &mut out,
                before,
                "value",
                &value.multivariate_feature_option.value,
            );
            out.push(b'}');
        }
        out.extend_from_slice(b"]}");
        out
    }

    /// A row id, unless such are hidden.
    fn shown(&self, id: Option<i64>) -> Option<i64> {
        id.filter(|_| !self.document.hide_sensitive_data)
    }
}

fn field(out: &mut Vec<u8>, before: &str, name: &str, value: &impl serde::Serialize) {
    out.extend_from_slice(before.as_bytes());
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(br#"":"#);
    ascii_json::write(value, out);
}
