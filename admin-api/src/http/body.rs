//! Bodies: JSON or a form, read field by field with the messages of Django REST framework, so that
//! every mistake is told at once (flagsmith-observed.md 3.1, 4.4).

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::header;
use serde_json::{Map, Value};
use yardarm_core::edge::json_error;

use super::{ApiError, Field, FieldErrors, Patch};

/// The largest body that is read, in bytes.
pub(super) const BODY_LIMIT: usize = 10 * 1024 * 1024;

/// A body that could be read.
#[derive(Clone, Debug)]
pub(crate) struct Body(Value);

/// Whether a body describes a whole thing (POST, PUT) or a part of it (PATCH).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Required fields have to be there.
    Full,
    /// Any field may be left out.
    Partial,
}

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let content_type = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let bytes = axum::body::to_bytes(request.into_body(), BODY_LIMIT)
            .await
            .map_err(|_| ApiError::TooLarge)?;
        Self::parse(&content_type, &bytes)
    }
}

impl Body {
    fn parse(content_type: &str, bytes: &Bytes) -> Result<Self, ApiError> {
        let kind = content_type
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        if bytes.is_empty() {
            return Ok(Self(Value::Object(Map::new())));
        }
        match kind.as_str() {
            "application/json" => Ok(Self(parse_json(bytes)?)),
            "application/x-www-form-urlencoded" => {
                let fields = form_urlencoded::parse(bytes)
                    .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
                    .collect();
                Ok(Self(Value::Object(fields)))
            }
            _ => Err(ApiError::UnsupportedMediaType(content_type.to_owned())),
        }
    }

    /// The body as it came, for the few endpoints that take lists.
    pub(crate) fn into_value(self) -> Value {
        self.0
    }

    /// The body's fields.
    pub(crate) fn fields(self, mode: Mode) -> Result<Fields, ApiError> {
        Fields::of(self.0, mode).map_err(ApiError::Invalid)
    }

    /// One field as an id, before anything is validated: the parent of something to be created, whose
    /// access is checked first.
    pub(crate) fn parent(&self, field: &str) -> Option<i64> {
        let value = self.0.get(field)?;
        value
            .as_i64()
            .or_else(|| value.as_str()?.trim().parse().ok())
    }

    /// One field as text, for the same purpose.
    pub(crate) fn text(&self, field: &str) -> Option<&str> {
        self.0.get(field)?.as_str()
    }
}

fn parse_json(bytes: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| {
        let message = json_error(bytes).unwrap_or_else(|| error.to_string());
        ApiError::BadRequest(format!("JSON parse error - {message}"))
    })
}

/// The fields of a body, taken one by one; what is wrong with them is collected until [`Self::finish`].
#[derive(Debug)]
pub(crate) struct Fields {
    values: Map<String, Value>,
    mode: Mode,
    errors: FieldErrors,
}

impl Fields {
    /// The fields of a value (a whole body, or one nested in another).
    pub(crate) fn of(value: Value, mode: Mode) -> Result<Self, FieldErrors> {
        let kind = match value {
            Value::Object(values) => {
                return Ok(Self {
                    values,
                    mode,
                    errors: FieldErrors::default(),
                });
            }
            Value::Null => {
                return Err(FieldErrors::of("non_field_errors", "No data provided"));
            }
            Value::Array(_) => "list",
            Value::String(_) => "str",
            Value::Bool(_) => "bool",
            Value::Number(number) if number.is_f64() => "float",
            Value::Number(_) => "int",
        };
        let message = format!("Invalid data. Expected a dictionary, but got {kind}.");
        Err(FieldErrors::of("non_field_errors", message))
    }

    /// A field that something new must have. After an error it is a placeholder that [`Self::finish`]
    /// keeps from being used.
    pub(crate) fn required<F: Field>(&mut self, name: &str, field: F) -> F::Out
    where
        F::Out: Default,
    {
        if !self.values.contains_key(name) {
            self.errors.push(name, "This field is required.");
            return F::Out::default();
        }
        self.optional(name, field).unwrap_or_default()
    }

    /// A field that a PUT must have and a PATCH may leave out.
    pub(crate) fn update<F: Field>(&mut self, name: &str, field: F) -> Option<F::Out> {
        if self.mode == Mode::Full && !self.values.contains_key(name) {
            self.errors.push(name, "This field is required.");
            return None;
        }
        self.optional(name, field)
    }

    /// A field that may be left out, but not be null.
    pub(crate) fn optional<F: Field>(&mut self, name: &str, field: F) -> Option<F::Out> {
        match self.nullable(name, field) {
            Patch::Absent => None,
            Patch::Null => {
                self.errors.push(name, "This field may not be null.");
                None
            }
            Patch::Value(value) => Some(value),
        }
    }

    /// A field that may be left out or null.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a kind of field is a small value, made where it is named"
    )]
    pub(crate) fn nullable<F: Field>(&mut self, name: &str, field: F) -> Patch<F::Out> {
        match self.values.get(name) {
            None => Patch::Absent,
            Some(Value::Null) => Patch::Null,
            Some(value) => match field.read(value) {
                Ok(value) => Patch::Value(value),
                Err(messages) => {
                    for message in messages {
                        self.errors.push(name, message);
                    }
                    Patch::Absent
                }
            },
        }
    }

    /// The raw value, for fields that are not scalars.
    pub(crate) fn raw(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// Adds what a rule of the resource has to say.
    pub(crate) fn error(&mut self, name: &str, message: impl Into<String>) {
        self.errors.push(name, message);
    }

    /// Adds nested errors, or one of the few that are not lists.
    pub(crate) fn set_error(&mut self, name: &str, value: Value) {
        self.errors.set(name, value);
    }

    /// Adds what was found elsewhere.
    pub(crate) fn merge(&mut self, errors: FieldErrors) {
        self.errors.merge(errors);
    }

    /// Something is wrong with the field already.
    pub(crate) fn has_error(&self, name: &str) -> bool {
        self.errors.has(name)
    }

    /// Full or partial.
    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// Fails with everything that was found.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        Ok(self.into_result()?)
    }

    /// What was found, for nesting.
    pub(crate) fn into_result(self) -> Result<(), FieldErrors> {
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(self.errors)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Bool, Text};
    use super::*;
    use serde_json::json;

    fn errors(fields: Fields) -> Value {
        match fields.finish() {
            Err(ApiError::Invalid(errors)) => errors.into_value(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn tells_every_mistake_at_once() {
        let body = json!({"null": null, "blank": " ", "flag": "perhaps"});
        let mut fields = Fields::of(body, Mode::Full).unwrap();
        let _: String = fields.required("name", Text::max(10));
        let _: String = fields.required("null", Text::max(10));
        let _: Option<String> = fields.update("blank", Text::max(10));
        let _: Option<bool> = fields.optional("flag", Bool);
        assert_eq!(
            errors(fields),
            json!({
                "name": ["This field is required."],
                "null": ["This field may not be null."],
                "blank": ["This field may not be blank."],
                "flag": ["Must be a valid boolean."],
            })
        );
    }

    #[test]
    fn a_patch_may_leave_out_what_a_put_may_not() {
        let mut fields = Fields::of(json!({}), Mode::Partial).unwrap();
        assert_eq!(fields.update("name", Text::max(10)), None);
        assert!(fields.finish().is_ok());
        let mut fields = Fields::of(json!({}), Mode::Full).unwrap();
        assert_eq!(fields.update("name", Text::max(10)), None);
        assert_eq!(errors(fields), json!({"name": ["This field is required."]}));
    }

    #[test]
    fn only_objects_have_fields() {
        for (body, message) in [
            (
                json!([]),
                "Invalid data. Expected a dictionary, but got list.",
            ),
            (
                json!(1),
                "Invalid data. Expected a dictionary, but got int.",
            ),
            (json!(null), "No data provided"),
        ] {
            let errors = Fields::of(body, Mode::Full).unwrap_err();
            assert_eq!(errors.into_value(), json!({"non_field_errors": [message]}));
        }
    }
}
