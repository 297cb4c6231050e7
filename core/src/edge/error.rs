//! Refusals in the shapes of Flagsmith's answers (flagsmith-observed.md 3.1).

use bytes::Bytes;
use http::{Method, Response, StatusCode};

use super::json_text;
use super::ports::Unavailable;
use super::reply;
use super::route::Endpoint;

/// What is wrong with a body, as Django REST framework shows it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Errors {
    /// Messages about one value.
    Messages(Vec<String>),
    /// Errors of some fields, in the order the fields are declared.
    Fields(Vec<(&'static str, Errors)>),
    /// Errors of a list's items, each at its place; an item without any is an empty dictionary.
    Items(Vec<Errors>),
}

impl Errors {
    /// One message about one value.
    pub(super) fn message(text: impl Into<String>) -> Self {
        Self::Messages(vec![text.into()])
    }

    /// One message about a body or item as a whole.
    pub(super) fn whole(text: impl Into<String>) -> Self {
        Self::Fields(vec![("non_field_errors", Self::message(text))])
    }

    /// An error in one field.
    pub(super) fn field(name: &'static str, errors: Self) -> Self {
        Self::Fields(vec![(name, errors)])
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Messages(messages) => {
                write_list(out, messages, |out, message| {
                    json_text::string(out, message);
                });
            }
            Self::Items(items) => write_list(out, items, |out, item| item.write(out)),
            Self::Fields(fields) => {
                out.push(b'{');
                for (index, (name, errors)) in fields.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    json_text::string(out, name);
                    out.push(b':');
                    errors.write(out);
                }
                out.push(b'}');
            }
        }
    }
}

fn write_list<T>(out: &mut Vec<u8>, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

/// Why an endpoint does not answer as asked.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Refusal {
    /// 403. Never 401: the key is no HTTP authentication scheme.
    Denied(&'static str),
    /// 404 with a reason.
    NotFound(&'static str),
    /// 405.
    MethodNotAllowed(Method),
    /// 410 with a reason.
    Gone(&'static str),
    /// 406.
    NotAcceptable,
    /// 415, with the media type as it was sent.
    UnsupportedMediaType(String),
    /// 400 with one reason.
    Bad(String),
    /// 400 with the errors of a body.
    Invalid(Errors),
    /// 503: the host's store did not answer.
    Unavailable,
}

impl From<Errors> for Refusal {
    fn from(errors: Errors) -> Self {
        Self::Invalid(errors)
    }
}

impl From<Unavailable> for Refusal {
    fn from(_: Unavailable) -> Self {
        // What it says is for the host's log, where the host has written it already.
        Self::Unavailable
    }
}

impl Refusal {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Denied(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::Gone(_) => StatusCode::GONE,
            Self::UnsupportedMediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Bad(_) | Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The JSON body.
    pub(super) fn body(&self) -> Bytes {
        let text = match self {
            Self::Denied(text) | Self::NotFound(text) | Self::Gone(text) => (*text).to_owned(),
            Self::MethodNotAllowed(method) => format!("Method \"{method}\" not allowed."),
            Self::NotAcceptable => "Could not satisfy the request Accept header.".to_owned(),
            Self::UnsupportedMediaType(name) => {
                format!("Unsupported media type \"{name}\" in request.")
            }
            Self::Bad(text) => text.clone(),
            Self::Unavailable => "Service temporarily unavailable, try again later.".to_owned(),
            Self::Invalid(errors) => {
                let mut out = Vec::new();
                errors.write(&mut out);
                return out.into();
            }
        };
        reply::detail(&text)
    }

    /// The reply of an SDK endpoint.
    pub(super) fn reply(&self, endpoint: &Endpoint) -> Response<Bytes> {
        let mut reply = reply::json(endpoint, self.status(), self.body());
        if *self == Self::Unavailable {
            reply::ask_to_retry(&mut reply);
        }
        reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(refusal: &Refusal) -> String {
        String::from_utf8(refusal.body().to_vec()).unwrap()
    }

    #[test]
    fn errors_nest_as_in_django_rest_framework() {
        let missing = || Errors::message("This field is required.");
        let errors = Errors::field(
            "traits",
            Errors::Items(vec![
                Errors::Fields(vec![]),
                Errors::field("trait_key", missing()),
            ]),
        );
        assert_eq!(
            body(&errors.into()),
            r#"{"traits":[{},{"trait_key":["This field is required."]}]}"#
        );
        assert_eq!(
            body(&Errors::whole("No").into()),
            r#"{"non_field_errors":["No"]}"#
        );
    }

    #[test]
    fn details_are_escaped() {
        let odd = Refusal::UnsupportedMediaType("text/\u{e9}".to_owned());
        assert_eq!(
            body(&odd),
            r#"{"detail":"Unsupported media type \"text/\u00e9\" in request."}"#
        );
        assert_eq!(
            body(&Refusal::MethodNotAllowed(Method::PUT)),
            r#"{"detail":"Method \"PUT\" not allowed."}"#
        );
    }
}
