//! The value of a state or of an option: text, a whole number of 32 bits, or a boolean. A change of
//! type leaves the other columns as they were, which the nested form shows (flagsmith-observed.md 4.4).

use serde::{Serialize, Serializer};
use serde_json::Value;
use utoipa::ToSchema;
use yardarm_core::engine::coerce::{python_int, python_text};

use crate::http::{Bool, Choice, Field as _, FieldErrors, Fields, Int, Mode, Text};

/// The most characters a value may have.
pub(crate) const MAX_TEXT: usize = 20_000;

/// Which of the columns counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text.
    #[default]
    Unicode,
    /// A whole number.
    Int,
    /// True or false.
    Bool,
}

impl Kind {
    /// The names in the API and the database.
    pub(crate) const NAMES: &[&str] = &["unicode", "int", "bool"];

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unicode => "unicode",
            Self::Int => "int",
            Self::Bool => "bool",
        }
    }

    /// The kind with that name; what the database's check keeps out is text.
    pub(crate) fn named(name: &str) -> Self {
        match name {
            "int" => Self::Int,
            "bool" => Self::Bool,
            _ => Self::Unicode,
        }
    }
}

/// A value with what its other columns hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FlagValue {
    /// Which column counts.
    pub(crate) kind: Kind,
    /// For text.
    pub(crate) string: Option<String>,
    /// For whole numbers.
    pub(crate) integer: Option<i32>,
    /// For booleans.
    pub(crate) boolean: Option<bool>,
}

impl FlagValue {
    /// From the columns.
    pub(crate) fn stored(
        kind: &str,
        string: Option<String>,
        integer: Option<i32>,
        boolean: Option<bool>,
    ) -> Self {
        Self {
            kind: Kind::named(kind),
            string,
            integer,
            boolean,
        }
    }

    /// What a new state starts with: the feature's initial value, typed by how it is written. A number
    /// is what Python's `int()` takes and 32 bits hold (`007` is 7), as in Flagsmith.
    pub(crate) fn initial(text: Option<&str>) -> Self {
        let Some(text) = text else {
            return Self::default();
        };
        let boolean = match text {
            "true" | "True" => Some(true),
            "false" | "False" => Some(false),
            _ => None,
        };
        if boolean.is_some() {
            return Self {
                kind: Kind::Bool,
                boolean,
                ..Self::default()
            };
        }
        match python_int(text).map(i32::try_from) {
            Some(Ok(number)) => Self {
                kind: Kind::Int,
                integer: Some(number),
                ..Self::default()
            },
            _ => Self {
                string: Some(text.to_owned()),
                ..Self::default()
            },
        }
    }

    /// Takes a plain value: its JSON type decides. Numbers that are not whole become text.
    pub(crate) fn set_scalar(&mut self, value: &Value) -> Result<(), FieldErrors> {
        let wrong = |field: &str, messages: Vec<String>| {
            let mut errors = FieldErrors::default();
            for message in messages {
                errors.push(field, message);
            }
            errors
        };
        match value {
            Value::Bool(boolean) => {
                self.kind = Kind::Bool;
                self.boolean = Some(*boolean);
            }
            Value::Number(number) if !number.is_f64() => {
                let number = Int::any()
                    .read(value)
                    .map_err(|m| wrong("integer_value", m))?;
                self.kind = Kind::Int;
                self.integer = Some(number);
            }
            Value::Null => {
                self.kind = Kind::Unicode;
                self.string = None;
            }
            Value::Number(_) => {
                self.kind = Kind::Unicode;
                self.string = Some(python_text(value));
            }
            text => {
                let text = VALUE_TEXT
                    .read(text)
                    .map_err(|m| wrong("string_value", m))?;
                self.kind = Kind::Unicode;
                self.string = Some(text);
            }
        }
        Ok(())
    }

    /// Takes the nested form: `{type, string_value, integer_value, boolean_value}`, of which any may be
    /// left out. The errors are for nesting.
    pub(crate) fn set_nested(&mut self, value: &Value) -> Result<(), Value> {
        let fields = Fields::of(value.clone(), Mode::Partial).map_err(FieldErrors::into_value)?;
        self.set_fields(fields).map_err(FieldErrors::into_value)
    }

    /// Takes the columns out of `fields`, which options have among others.
    pub(crate) fn read_fields(&mut self, fields: &mut Fields) {
        if let Some(kind) = fields.optional("type", Choice(Kind::NAMES)) {
            self.kind = Kind::named(kind);
        }
        fields
            .nullable("string_value", VALUE_TEXT)
            .apply(&mut self.string);
        fields
            .nullable("integer_value", Int::any())
            .apply(&mut self.integer);
        fields
            .nullable("boolean_value", Bool)
            .apply(&mut self.boolean);
    }

    fn set_fields(&mut self, mut fields: Fields) -> Result<(), FieldErrors> {
        let mut changed = self.clone();
        changed.read_fields(&mut fields);
        fields.into_result()?;
        *self = changed;
        Ok(())
    }

    /// The value alone.
    pub(crate) fn scalar(&self) -> Scalar {
        match self.kind {
            Kind::Unicode => self.string.clone().map_or(Scalar::Null, Scalar::Text),
            Kind::Int => self.integer.map_or(Scalar::Null, Scalar::Int),
            Kind::Bool => self.boolean.map_or(Scalar::Null, Scalar::Bool),
        }
    }

    /// The value with its columns.
    pub(crate) fn nested(&self) -> NestedValue {
        NestedValue {
            r#type: self.kind.name(),
            string_value: self.string.clone(),
            integer_value: self.integer,
            boolean_value: self.boolean,
        }
    }
}

const VALUE_TEXT: Text = Text::max(MAX_TEXT).or_blank().verbatim();

/// A value as the flat form shows it: null, text, a number or a boolean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    /// No value.
    Null,
    /// Text.
    Text(String),
    /// A whole number.
    Int(i32),
    /// A boolean.
    Bool(bool),
}

impl Serialize for Scalar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Int(number) => serializer.serialize_i32(*number),
            Self::Bool(boolean) => serializer.serialize_bool(*boolean),
        }
    }
}

/// A value as the nested form shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct NestedValue {
    /// `unicode`, `int` or `bool`: which of the others counts.
    r#type: &'static str,
    string_value: Option<String>,
    integer_value: Option<i32>,
    boolean_value: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn initial_values_are_typed_by_how_they_are_written() {
        for (text, expected) in [
            (None, json!(null)),
            (Some(""), json!("")),
            (Some("hello"), json!("hello")),
            (Some("42"), json!(42)),
            (Some("-7"), json!(-7)),
            (Some("0"), json!(0)),
            (Some("True"), json!(true)),
            (Some("false"), json!(false)),
            (Some("TRUE"), json!("TRUE")),
            (Some("1.5"), json!("1.5")),
            (Some("007"), json!(7)),
            (Some("+1"), json!(1)),
            (Some("1_000"), json!(1000)),
            (Some("1__0"), json!("1__0")),
            (Some("-"), json!("-")),
            (Some("2147483648"), json!("2147483648")),
        ] {
            let value = serde_json::to_value(FlagValue::initial(text).scalar()).unwrap();
            assert_eq!(value, expected, "{text:?}");
        }
    }

    #[test]
    fn plain_values_keep_what_other_types_held() {
        let mut value = FlagValue::initial(Some("hello"));
        for (plain, shown) in [
            (json!(12), json!(12)),
            (json!(true), json!(true)),
            (json!(null), json!(null)),
            (json!(1.25), json!("1.25")),
            (json!(" spaced "), json!(" spaced ")),
        ] {
            value.set_scalar(&plain).unwrap();
            assert_eq!(
                serde_json::to_value(value.scalar()).unwrap(),
                shown,
                "{plain}"
            );
        }
        assert_eq!(
            serde_json::to_value(value.nested()).unwrap(),
            json!({"type": "unicode", "string_value": " spaced ", "integer_value": 12, "boolean_value": true})
        );
    }

    #[test]
    fn refused_plain_values_change_nothing() {
        let long = "v".repeat(MAX_TEXT + 1);
        for (plain, error) in [
            (
                json!({"a": 1}),
                json!({"string_value": ["Not a valid string."]}),
            ),
            (json!([1]), json!({"string_value": ["Not a valid string."]})),
            (
                json!(long),
                json!({"string_value": ["Ensure this field has no more than 20000 characters."]}),
            ),
            (
                json!(2_147_483_648_u32),
                json!({"integer_value": ["Ensure this value is less than or equal to 2147483647."]}),
            ),
            (
                json!(-2_147_483_649_i64),
                json!({"integer_value": ["Ensure this value is greater than or equal to -2147483648."]}),
            ),
        ] {
            let mut value = FlagValue::initial(Some("kept"));
            assert_eq!(value.set_scalar(&plain).unwrap_err().into_value(), error);
            assert_eq!(value, FlagValue::initial(Some("kept")));
        }
    }

    #[test]
    fn the_nested_form_sets_what_it_names() {
        let mut value = FlagValue::initial(Some("12"));
        value
            .set_nested(&json!({"type": "unicode", "string_value": "nested"}))
            .unwrap();
        assert_eq!(value.scalar(), Scalar::Text("nested".to_owned()));
        assert_eq!(value.integer, Some(12));
        value.set_nested(&json!({"integer_value": null})).unwrap();
        assert_eq!(value.integer, None);
        assert_eq!(
            value.set_nested(&json!({"type": "zip"})).unwrap_err(),
            json!({"type": ["\"zip\" is not a valid choice."]})
        );
        assert_eq!(
            value.set_nested(&json!("x")).unwrap_err(),
            json!({"non_field_errors": ["Invalid data. Expected a dictionary, but got str."]})
        );
    }
}
