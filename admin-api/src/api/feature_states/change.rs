//! What a body says about a state.

use std::collections::BTreeMap;

use utoipa::ToSchema;

use super::value::FlagValue;
use super::weights;
use crate::http::{ApiError, Bool, Fields};

/// How a surface writes values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `"feature_state_value": 42`.
    Flat,
    /// `"feature_state_value": {"type": "int", "integer_value": 42}`.
    Nested,
}

const VALUE: &str = "feature_state_value";

/// A state's new contents; what the body leaves out stays as it is.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// On or off.
    pub(crate) enabled: Option<bool>,
    /// The value, with what the body does not mention.
    pub(crate) value: FlagValue,
    /// The share of every option, where the body speaks of them.
    pub(crate) shares: Option<BTreeMap<i64, f64>>,
}

impl Change {
    /// Reads the fields of a state that has the value `current`, of a feature with these `options`.
    /// What is wrong with them is for [`Fields::finish`] to tell, except for shares beyond the whole.
    pub(crate) fn read(
        fields: &mut Fields,
        form: Form,
        current: FlagValue,
        options: &[i64],
    ) -> Result<Self, ApiError> {
        let enabled = fields.optional("enabled", Bool);
        let mut value = current;
        if let Some(said) = fields.raw(VALUE).cloned() {
            match form {
                Form::Flat => {
                    if let Err(errors) = value.set_scalar(&said) {
                        fields.merge(errors);
                    }
                }
                Form::Nested => {
                    if let Err(errors) = value.set_nested(&said) {
                        fields.set_error(VALUE, errors);
                    }
                }
            }
        }
        let shares = weights::read(fields, options)?;
        Ok(Self {
            enabled,
            value,
            shares,
        })
    }
}

/// The body of a change with a plain value, for the document.
#[derive(Debug, ToSchema)]
#[schema(as = FeatureStateRequest)]
#[expect(
    dead_code,
    reason = "bodies are read field by field; this describes them"
)]
pub(crate) struct FlatIn {
    enabled: Option<bool>,
    /// Null, text, a whole number or a boolean.
    #[schema(value_type = Option<Object>)]
    feature_state_value: Option<()>,
    multivariate_feature_state_values: Option<Vec<ShareIn>>,
    /// For a new one: the id of the feature.
    feature: Option<i64>,
    /// For a new one: the id of the identity that it overrides the default for.
    identity: Option<i64>,
    /// For a new one: the id of the segment override that it belongs to.
    feature_segment: Option<i64>,
}

/// The body of a change with a typed value, for the document.
#[derive(Debug, ToSchema)]
#[schema(as = SimpleFeatureStateRequest)]
#[expect(
    dead_code,
    reason = "bodies are read field by field; this describes them"
)]
pub(crate) struct NestedIn {
    /// The id of the feature, which cannot be changed.
    feature: i64,
    /// The id of the environment, which cannot be changed.
    environment: i64,
    enabled: Option<bool>,
    feature_state_value: Option<ValueIn>,
    multivariate_feature_state_values: Option<Vec<ShareIn>>,
    identity: Option<i64>,
    /// Instead of `identity`, for a new one.
    identifier: Option<String>,
    feature_segment: Option<i64>,
}

/// A typed value, for the document.
#[derive(Debug, ToSchema)]
#[schema(as = FeatureStateValueRequest)]
#[expect(
    dead_code,
    reason = "bodies are read field by field; this describes them"
)]
pub(crate) struct ValueIn {
    /// `unicode`, `int` or `bool`.
    r#type: Option<String>,
    #[schema(max_length = 20_000)]
    string_value: Option<String>,
    integer_value: Option<i32>,
    boolean_value: Option<bool>,
}

/// An option's share, for the document.
#[derive(Debug, ToSchema)]
#[schema(as = MultivariateFeatureStateValueRequest)]
#[expect(
    dead_code,
    reason = "bodies are read field by field; this describes them"
)]
pub(crate) struct ShareIn {
    multivariate_feature_option: i64,
    /// In percent.
    #[schema(minimum = 0, maximum = 100)]
    percentage_allocation: f64,
}
