//! The types of identities and their stored traits.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::{ApiTime, Bool, Choice, Fields, Float, Int, Patch, Text, set};
use crate::store::row;

/// Longest identifier, in characters (flagsmith-api.md A.4).
const IDENTIFIER_MAX: usize = 2000;
/// Longest trait key, in characters.
const TRAIT_KEY_MAX: usize = 200;
/// Longest text of a trait, in characters.
const TRAIT_TEXT_MAX: usize = 2000;

row! {
    /// An identity as stored.
    #[derive(Clone, Debug)]
    pub(crate) struct Identity {
        id: i64,
        environment_id: i64,
        identifier: String,
    }
}

/// An identity as the API shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Identity)]
pub(crate) struct IdentityOut {
    id: i64,
    identifier: String,
    environment: i64,
}

impl From<Identity> for IdentityOut {
    fn from(identity: Identity) -> Self {
        let Identity {
            id,
            environment_id,
            identifier,
        } = identity;
        Self {
            id,
            identifier,
            environment: environment_id,
        }
    }
}

/// What a caller says of an identity.
#[derive(Debug, ToSchema)]
#[schema(as = IdentityRequest)]
pub(crate) struct IdentityIn {
    #[schema(required, nullable = false, max_length = 2000)]
    identifier: Option<String>,
}

impl IdentityIn {
    /// Reads the fields.
    pub(crate) fn read(fields: &mut Fields) -> Self {
        Self {
            identifier: fields.update("identifier", Text::max(IDENTIFIER_MAX)),
        }
    }

    /// The identifier, where the caller gives one.
    pub(crate) fn identifier(self) -> Option<String> {
        self.identifier
    }
}

row! {
    /// A trait as stored: the column that `value_type` names holds the value.
    #[derive(Clone, Debug)]
    pub(crate) struct IdentityTrait {
        id: i64,
        trait_key: String,
        value_type: String,
        string_value: Option<String>,
        integer_value: Option<i64>,
        boolean_value: Option<bool>,
        float_value: Option<f64>,
        created_at: DateTime<Utc>,
    }
}

/// A trait as the API shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = IdentityTrait)]
pub(crate) struct TraitOut {
    id: i64,
    trait_key: String,
    value_type: String,
    integer_value: Option<i64>,
    string_value: Option<String>,
    boolean_value: Option<bool>,
    float_value: Option<f64>,
    created_date: ApiTime,
}

impl From<IdentityTrait> for TraitOut {
    fn from(found: IdentityTrait) -> Self {
        let IdentityTrait {
            id,
            trait_key,
            value_type,
            string_value,
            integer_value,
            boolean_value,
            float_value,
            created_at,
        } = found;
        Self {
            id,
            trait_key,
            value_type,
            integer_value,
            string_value,
            boolean_value,
            float_value,
            created_date: created_at.into(),
        }
    }
}

/// What a caller says of a trait.
#[derive(Debug, ToSchema)]
#[schema(as = IdentityTraitRequest)]
pub(crate) struct TraitIn {
    #[schema(required, nullable = false, max_length = 200)]
    trait_key: Option<String>,
    /// `unicode`, `int`, `bool` or `float`.
    #[schema(value_type = Option<String>, nullable = false)]
    value_type: Option<&'static str>,
    #[schema(value_type = Option<i32>)]
    integer_value: Patch<i32>,
    #[schema(value_type = Option<String>)]
    string_value: Patch<String>,
    #[schema(value_type = Option<bool>)]
    boolean_value: Patch<bool>,
    #[schema(value_type = Option<f64>)]
    float_value: Patch<f64>,
}

impl TraitIn {
    /// Reads the fields.
    pub(crate) fn read(fields: &mut Fields) -> Self {
        Self {
            trait_key: fields.update("trait_key", Text::max(TRAIT_KEY_MAX)),
            value_type: fields.optional("value_type", Choice(&["int", "unicode", "bool", "float"])),
            integer_value: fields.nullable("integer_value", Int::any()),
            string_value: fields.nullable(
                "string_value",
                Text::max(TRAIT_TEXT_MAX).or_blank().verbatim(),
            ),
            boolean_value: fields.nullable("boolean_value", Bool),
            float_value: fields.nullable("float_value", Float),
        }
    }

    /// Changes the trait to what the caller said.
    pub(crate) fn apply(self, to: &mut IdentityTrait) {
        let Self {
            trait_key,
            value_type,
            integer_value,
            string_value,
            boolean_value,
            float_value,
        } = self;
        set(&mut to.trait_key, trait_key);
        set(&mut to.value_type, value_type.map(str::to_owned));
        match integer_value {
            Patch::Absent => {}
            Patch::Null => to.integer_value = None,
            Patch::Value(value) => to.integer_value = Some(value.into()),
        }
        string_value.apply(&mut to.string_value);
        boolean_value.apply(&mut to.boolean_value);
        float_value.apply(&mut to.float_value);
    }
}

impl IdentityTrait {
    /// One without a value, to be filled in and stored.
    pub(crate) fn blank(now: DateTime<Utc>) -> Self {
        Self {
            id: 0,
            trait_key: String::new(),
            value_type: "unicode".to_owned(),
            string_value: None,
            integer_value: None,
            boolean_value: None,
            float_value: None,
            created_at: now,
        }
    }
}
