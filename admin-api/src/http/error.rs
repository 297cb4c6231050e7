//! What can go wrong with a request, by whose fault it is; the only place that knows the bodies in
//! which Flagsmith (Django REST framework) tells it (flagsmith-observed.md 4).

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use super::reply::json_response;

/// Why a request is refused, or failed.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// 400 `{field: [message]}`.
    Invalid(FieldErrors),
    /// 400 `["message"]`.
    Refused(String),
    /// 400 with `{"detail": …}`.
    BadRequest(String),
    /// 400 with a body that is like no other.
    Peculiar(Value),
    /// 401: who are you?
    Unauthenticated(&'static str),
    /// 403: the usual sentence.
    Forbidden,
    /// 403 with a sentence of its own.
    ForbiddenBecause(String),
    /// 404: no such thing, or none that the caller may know of. The name of the model.
    NotFound(&'static str),
    /// 404 with a sentence of its own.
    NotFoundBecause(&'static str),
    /// 413.
    TooLarge,
    /// 415: the content type that was sent.
    UnsupportedMediaType(String),
    /// 415: the content coding that was sent.
    UnsupportedEncoding(String),
    /// 429: seconds to wait.
    Throttled(u64),
    /// 503: the database cannot be reached.
    Unavailable(anyhow::Error),
    /// 500: our fault.
    Internal(anyhow::Error),
}

/// Messages about fields, in the order in which they were found.
#[derive(Clone, Debug, Default)]
pub(crate) struct FieldErrors(Map<String, Value>);

impl FieldErrors {
    /// One message about one field.
    pub(crate) fn of(field: &str, message: impl Into<String>) -> Self {
        let mut errors = Self::default();
        errors.push(field, message);
        errors
    }

    /// Adds a message about a field.
    pub(crate) fn push(&mut self, field: &str, message: impl Into<String>) {
        let messages = self
            .0
            .entry(field)
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(messages) = messages {
            messages.push(Value::String(message.into()));
        }
    }

    /// Sets what is said about a field: nested errors, or Flagsmith's few that are not lists.
    pub(crate) fn set(&mut self, field: &str, value: Value) {
        self.0.insert(field.to_owned(), value);
    }

    /// Adds what others say, in place of what is said of the same fields.
    pub(crate) fn merge(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Something is wrong with the field.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.0.contains_key(field)
    }

    /// Nothing is wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The body, for nesting.
    pub(crate) fn into_value(self) -> Value {
        Value::Object(self.0)
    }
}

impl From<FieldErrors> for ApiError {
    fn from(errors: FieldErrors) -> Self {
        Self::Invalid(errors)
    }
}

impl ApiError {
    /// One message about one field.
    pub(crate) fn field(field: &str, message: impl Into<String>) -> Self {
        Self::Invalid(FieldErrors::of(field, message))
    }
}

/// What a broken constraint means to the caller: the constraint, the field, the message.
const CONSTRAINTS: &[(&str, &str, &str)] = &[
    (
        "users_email_key",
        "email",
        "Email already exists. Please log in.",
    ),
    (
        "project_name_key",
        "non_field_errors",
        "A project with this name already exists.",
    ),
    (
        "environment_name_key",
        "non_field_errors",
        "An environment with this name already exists.",
    ),
    (
        "environment_api_key_key",
        "api_key",
        "environment with this api key already exists.",
    ),
    (
        "feature_name_key",
        "name",
        "Feature with that name already exists for this project. Note that feature names are case insensitive.",
    ),
    (
        "multivariate_option_key_key",
        "key",
        "Multivariate option with this key already exists for the feature.",
    ),
    (
        "identity_identifier_key",
        "identifier",
        "An identity with this identifier already exists in this environment.",
    ),
    (
        "identity_trait_key_key",
        "trait_key",
        "This identity already has a trait with this key.",
    ),
    (
        "edge_target_name_key",
        "name",
        "An edge target with this name already exists.",
    ),
];

impl From<tokio_postgres::Error> for ApiError {
    fn from(error: tokio_postgres::Error) -> Self {
        let constraint = error
            .as_db_error()
            .and_then(tokio_postgres::error::DbError::constraint);
        let known =
            constraint.and_then(|name| CONSTRAINTS.iter().find(|(known, ..)| *known == name));
        match known {
            Some((_, field, message)) => Self::field(field, *message),
            None if error.is_closed() => Self::Unavailable(error.into()),
            None => Self::Internal(error.into()),
        }
    }
}

impl From<deadpool_postgres::PoolError> for ApiError {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        Self::Unavailable(error.into())
    }
}

impl From<anyhow::Error> for ApiError {
    fn from(error: anyhow::Error) -> Self {
        Self::Internal(error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let detail = |text: &str| json!({ "detail": text });
        let (status, body) = match self {
            Self::Invalid(errors) => (StatusCode::BAD_REQUEST, errors.into_value()),
            Self::Refused(message) => (StatusCode::BAD_REQUEST, json!([message])),
            Self::BadRequest(message) => (StatusCode::BAD_REQUEST, detail(&message)),
            Self::Peculiar(body) => (StatusCode::BAD_REQUEST, body),
            Self::Unauthenticated(message) => {
                let mut response = json_response(StatusCode::UNAUTHORIZED, &detail(message));
                let challenge = HeaderValue::from_static(r#"Cookie realm="api""#);
                response
                    .headers_mut()
                    .insert(header::WWW_AUTHENTICATE, challenge);
                return response;
            }
            Self::Forbidden => (
                StatusCode::FORBIDDEN,
                detail("You do not have permission to perform this action."),
            ),
            Self::ForbiddenBecause(message) => (StatusCode::FORBIDDEN, detail(&message)),
            Self::NotFound(model) => (
                StatusCode::NOT_FOUND,
                detail(&format!("No {model} matches the given query.")),
            ),
            Self::NotFoundBecause(message) => (StatusCode::NOT_FOUND, detail(message)),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                detail("The request body is too large."),
            ),
            Self::UnsupportedMediaType(sent) => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                detail(&format!("Unsupported media type \"{sent}\" in request.")),
            ),
            Self::UnsupportedEncoding(sent) => {
                let mut response = json_response(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    &detail(&format!(
                        "Unsupported content encoding \"{sent}\" in request. Use gzip or none."
                    )),
                );
                // RFC 9110, 15.5.16.
                let known = HeaderValue::from_static("gzip");
                response
                    .headers_mut()
                    .insert(header::ACCEPT_ENCODING, known);
                return response;
            }
            Self::Throttled(seconds) => {
                let plural = if seconds == 1 { "" } else { "s" };
                let mut response = json_response(
                    StatusCode::TOO_MANY_REQUESTS,
                    &detail(&format!(
                        "Request was throttled. Expected available in {seconds} second{plural}."
                    )),
                );
                response
                    .headers_mut()
                    .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
                return response;
            }
            Self::Unavailable(error) => {
                tracing::error!(error = %format_args!("{error:#}"), "the database is unavailable");
                (
                    StatusCode::SERVICE_UNAVAILABLE,
                    detail("The database is unavailable."),
                )
            }
            Self::Internal(error) => {
                tracing::error!(error = %format_args!("{error:#}"), "a request failed");
                (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    detail("A server error occurred."),
                )
            }
        };
        json_response(status, &body)
    }
}
