//! An option's types.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::feature_states::{FlagValue, Percentage, ValueIn};
use crate::http::{Fields, Patch, Text, set};
use crate::store::row;

/// What a variant cannot be called: it names what is left when no option applies.
const RESERVED: &str = "control";

row! {
    /// An option as stored.
    #[derive(Clone, Debug, PartialEq)]
    pub(crate) struct OptionRow {
        id: i64,
        uuid: Uuid,
        feature_id: i64,
        key: Option<String>,
        kind: String,
        string_value: Option<String>,
        integer_value: Option<i32>,
        boolean_value: Option<bool>,
        default_percentage_allocation: f64,
    }
}

impl OptionRow {
    /// Its value.
    pub(crate) fn value(&self) -> FlagValue {
        FlagValue::stored(
            &self.kind,
            self.string_value.clone(),
            self.integer_value,
            self.boolean_value,
        )
    }
}

/// An option as a feature shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NestedMultivariateFeatureOption)]
pub(crate) struct OptionOut {
    id: i64,
    uuid: Uuid,
    /// `unicode`, `int` or `bool`: which of the values counts.
    r#type: String,
    integer_value: Option<i32>,
    string_value: Option<String>,
    boolean_value: Option<bool>,
    /// In percent.
    default_percentage_allocation: f64,
    key: Option<String>,
}

/// An option as its own operations show it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MultivariateFeatureOption)]
pub(crate) struct OptionOfFeature {
    #[serde(flatten)]
    option: OptionOut,
    feature: i64,
}

impl From<OptionRow> for OptionOut {
    fn from(option: OptionRow) -> Self {
        let OptionRow {
            id,
            uuid,
            feature_id: _,
            key,
            kind,
            string_value,
            integer_value,
            boolean_value,
            default_percentage_allocation,
        } = option;
        Self {
            id,
            uuid,
            r#type: kind,
            integer_value,
            string_value,
            boolean_value,
            default_percentage_allocation,
            key,
        }
    }
}

impl From<OptionRow> for OptionOfFeature {
    fn from(option: OptionRow) -> Self {
        Self {
            feature: option.feature_id,
            option: option.into(),
        }
    }
}

/// What a caller says about an option.
#[derive(Clone, Debug, ToSchema)]
#[schema(as = MultivariateFeatureOptionRequest)]
pub(crate) struct OptionIn {
    /// `type`, `string_value`, `integer_value`, `boolean_value`.
    #[schema(value_type = ValueIn)]
    value: FlagValue,
    #[schema(nullable = false, minimum = 0, maximum = 100, default = 100.0)]
    default_percentage_allocation: Option<f64>,
    #[schema(value_type = Option<String>, max_length = 255)]
    key: Patch<String>,
}

impl OptionIn {
    /// Reads the fields of an option that has the value `current`.
    pub(crate) fn read(fields: &mut Fields, current: FlagValue) -> Self {
        let mut value = current;
        value.read_fields(fields);
        let default_percentage_allocation =
            fields.optional("default_percentage_allocation", Percentage);
        let key = fields.nullable("key", Text::max(255));
        if matches!(&key, Patch::Value(key) if key == RESERVED) {
            fields.error("key", format!("\"{RESERVED}\" is a reserved variant key."));
        }
        Self {
            value,
            default_percentage_allocation,
            key,
        }
    }

    /// The share that it asks for, or the one that it has.
    pub(crate) fn share(&self, current: f64) -> f64 {
        self.default_percentage_allocation.unwrap_or(current)
    }

    /// Changes the option to what the caller said.
    pub(crate) fn apply(self, option: &mut OptionRow) {
        let Self {
            value,
            default_percentage_allocation,
            key,
        } = self;
        let FlagValue {
            kind,
            string,
            integer,
            boolean,
        } = value;
        kind.name().clone_into(&mut option.kind);
        option.string_value = string;
        option.integer_value = integer;
        option.boolean_value = boolean;
        set(
            &mut option.default_percentage_allocation,
            default_percentage_allocation,
        );
        key.apply(&mut option.key);
    }
}
