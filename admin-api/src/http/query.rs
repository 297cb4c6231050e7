//! Query parameters, read like the fields of a body and with the same messages. An empty one counts as
//! left out.

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde_json::{Map, Value};

use super::{ApiError, Field, FieldErrors, Fields, Int, Mode};

/// The parameters of a request; of one that is given twice, the last.
#[derive(Debug)]
pub(crate) struct Params(Fields);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default())?)
    }
}

impl Params {
    fn parse(query: &str) -> Result<Self, FieldErrors> {
        let values: Map<String, Value> = form_urlencoded::parse(query.as_bytes())
            .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
            .collect();
        Ok(Self(Fields::of(Value::Object(values), Mode::Partial)?))
    }

    /// The parameter as it came, also when it is empty.
    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        self.0.raw(name).and_then(Value::as_str)
    }

    /// The parameter's text.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.given(name)
            .filter(|text| !text.is_empty())
            .map(ToOwned::to_owned)
    }

    /// The parameter, as a kind of field reads it.
    pub(crate) fn read<F: Field>(&mut self, name: &str, field: F) -> Option<F::Out> {
        self.text(name)?;
        self.0.optional(name, field)
    }

    /// The parameter as an id.
    pub(crate) fn id(&mut self, name: &str) -> Option<i64> {
        self.read(name, Int::any()).map(i64::from)
    }

    /// The parameter as an id that has to be there.
    pub(crate) fn required_id(&mut self, name: &str) -> i64 {
        if self.text(name).is_none() {
            self.error(name, "This field is required.");
        }
        self.id(name).unwrap_or_default()
    }

    /// The parameter as ids with commas between them.
    pub(crate) fn ids(&mut self, name: &str, message: &str) -> Option<Vec<i64>> {
        let ids: Result<Vec<i64>, _> = self
            .text(name)?
            .split(',')
            .map(|id| id.trim().parse())
            .collect();
        ids.map_err(|_| self.error(name, message)).ok()
    }

    /// Adds what a rule has to say.
    pub(crate) fn error(&mut self, name: &str, message: impl Into<String>) {
        self.0.error(name, message);
    }

    /// Fails with everything that was found.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Bool, Choice};
    use super::*;
    use serde_json::json;

    #[test]
    fn parameters_are_fields() {
        let mut params = Params::parse("a=7&b=true&c=1,2&e=&s=x&s=up").unwrap();
        assert_eq!(params.id("a"), Some(7));
        assert_eq!(params.read("b", Bool), Some(true));
        assert_eq!(params.ids("c", ""), Some(vec![1, 2]));
        assert_eq!(params.id("e"), None);
        assert_eq!(params.given("e"), Some(""));
        assert_eq!(params.read("s", Choice(&["up", "down"])), Some("up"));
        assert!(params.finish().is_ok());
    }

    #[test]
    fn mistakes_are_told_together() {
        let mut params = Params::parse("a=seven&c=1,x").unwrap();
        assert_eq!(params.id("a"), None);
        assert_eq!(params.ids("c", "IDs must be integers."), None);
        params.required_id("d");
        let Err(ApiError::Invalid(errors)) = params.finish() else {
            panic!("no error")
        };
        assert_eq!(
            errors.into_value(),
            json!({
                "a": ["A valid integer is required."],
                "c": ["IDs must be integers."],
                "d": ["This field is required."],
            })
        );
    }
}
