//! Which endpoint a path leads to.

use std::borrow::Cow;

use http::header::{
    ACCEPT, ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CONTENT_TYPE, DATE, ETAG,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, LAST_MODIFIED, LINK, LOCATION, ORIGIN,
    RETRY_AFTER,
};
use http::{HeaderName, HeaderValue, Method};

use super::query::percent_decode;
use super::signature;

/// What is fixed about an SDK endpoint.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// The name its metadata gives (`OPTIONS`).
    pub(super) name: &'static str,
    /// `Allow`: its methods.
    pub(super) allow: HeaderValue,
    /// Whether only JSON is acceptable; the others would show a page in a browser, too.
    pub(super) json_only: bool,
}

const fn endpoint(name: &'static str, allow: &'static str) -> Endpoint {
    Endpoint {
        name,
        allow: HeaderValue::from_static(allow),
        json_only: false,
    }
}

const GET: &str = "GET, HEAD, OPTIONS";
const POST: &str = "POST, OPTIONS";

pub(super) static FLAGS: Endpoint = Endpoint {
    name: "Sdk Feature States",
    allow: HeaderValue::from_static(GET),
    json_only: true,
};
pub(super) static OPTIONS: Endpoint = endpoint("Sdk Multivariate Options", "GET, OPTIONS");
pub(super) static IDENTITIES: Endpoint = endpoint("Sdk Identities", "GET, POST, HEAD, OPTIONS");
pub(super) static IDENTITY: Endpoint = endpoint("Sdk Identities Deprecated", GET);
pub(super) static IDENTITY_TRAIT: Endpoint = endpoint("Sdk Traits Deprecated", POST);
pub(super) static TRAITS: Endpoint = endpoint("Sdk Traits", POST);
pub(super) static TRAITS_BULK: Endpoint = endpoint("Bulk Create", "PUT, OPTIONS");
pub(super) static TRAITS_INCREMENT: Endpoint = endpoint("Increment Value", POST);
pub(super) static DOCUMENT: Endpoint = endpoint("Sdk Environment Api", GET);
pub(super) static ANALYTICS: Endpoint = endpoint("Sdk Analytics Flags", POST);
pub(super) static ANALYTICS_V2: Endpoint = endpoint("Sdk Analytics Flags V2", POST);
/// No endpoint of Flagsmith's: it refuses in OFREP's own shape.
pub(super) static OFREP: Endpoint = Endpoint {
    name: "OFREP",
    allow: HeaderValue::from_static(POST),
    json_only: true,
};

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route<'p> {
    Flags,
    /// `flags/<identifier>`, deprecated and without a slash.
    FlagsOf(Cow<'p, str>),
    MultivariateOptions(i64),
    Identities,
    /// `identities/<identifier>/`, deprecated.
    Identity(Cow<'p, str>),
    /// `identities/<identifier>/traits/<key>`, deprecated and without a slash.
    IdentityTrait(Cow<'p, str>, Cow<'p, str>),
    Traits,
    TraitsBulk,
    TraitsIncrement,
    Document,
    Analytics,
    AnalyticsV2,
    /// OFREP: the flag of a name, or all of them.
    Ofrep(Option<Cow<'p, str>>),
    Live,
    Ready,
    Version,
    /// The publication of one environment, named by its client-side key.
    Publication(Cow<'p, str>),
    Publications,
    /// The events of one environment, named by its client-side key.
    Stream(Cow<'p, str>),
    /// Changes of one environment's identities that were made elsewhere.
    IdentityChanges(Cow<'p, str>),
    /// A path that lacks its slash.
    AddSlash,
    Unknown,
}

impl<'p> Route<'p> {
    /// Reads a path as the request target has it.
    pub(super) fn of(path: &'p str) -> Self {
        if let Some(rest) = path.strip_prefix("/api/v1/") {
            return Self::of_v1(rest);
        }
        if let Some(rest) = path.strip_prefix("/sse/environments/") {
            return match rest.strip_suffix("/stream") {
                Some(key) if !key.is_empty() && !key.contains('/') => {
                    Self::Stream(percent_decode(key))
                }
                _ => Self::Unknown,
            };
        }
        if let Some(rest) = path.strip_prefix("/ofrep/v1/evaluate/flags") {
            return match rest.strip_prefix('/') {
                None if !rest.is_empty() => Self::Unknown,
                None | Some("") => Self::Ofrep(None),
                Some(key) => Self::Ofrep(Some(percent_decode(key))),
            };
        }
        match path {
            "/api/v2/analytics/flags/" => Self::AnalyticsV2,
            "/api/v2/analytics/flags" | "/version" => Self::AddSlash,
            // Below `/proxy` as Flagsmith's edge-proxy has them.
            "/health"
            | "/health/"
            | "/health/readiness"
            | "/health/readiness/"
            | "/proxy/health"
            | "/proxy/health/readiness" => Self::Ready,
            "/health/liveness" | "/health/liveness/" | "/proxy/health/liveness" => Self::Live,
            "/version/" => Self::Version,
            "/edge/v1/environments" => Self::Publications,
            _ => match path.strip_prefix("/edge/v1/environments/") {
                Some(rest) => Self::below_environments(rest),
                None => Self::Unknown,
            },
        }
    }

    fn below_environments(rest: &'p str) -> Self {
        match rest.split_once('/') {
            None if !rest.is_empty() => Self::Publication(percent_decode(rest)),
            Some((key, "identities")) if !key.is_empty() => {
                Self::IdentityChanges(percent_decode(key))
            }
            _ => Self::Unknown,
        }
    }

    fn of_v1(rest: &'p str) -> Self {
        match rest {
            "flags/" => Self::Flags,
            "identities/" => Self::Identities,
            "traits/" => Self::Traits,
            "traits/bulk/" => Self::TraitsBulk,
            "traits/increment-value/" => Self::TraitsIncrement,
            "environment-document/" => Self::Document,
            "analytics/flags/" => Self::Analytics,
            "flags"
            | "identities"
            | "traits"
            | "traits/bulk"
            | "traits/increment-value"
            | "environment-document"
            | "analytics/flags" => Self::AddSlash,
            _ => match rest.split_once('/') {
                Some(("flags", rest)) => Self::below_flags(rest),
                Some(("identities", rest)) => Self::below_identities(rest),
                _ => Self::Unknown,
            },
        }
    }

    fn below_flags(rest: &'p str) -> Self {
        match rest.split_once('/') {
            None => name(rest).map_or(Self::Unknown, Self::FlagsOf),
            Some((id, tail)) if id.bytes().all(|byte| byte.is_ascii_digit()) => match tail {
                // An id past 64 bits is an id of nothing.
                "multivariate-options/" => Self::MultivariateOptions(id.parse().unwrap_or(-1)),
                "multivariate-options" => Self::AddSlash,
                _ => Self::Unknown,
            },
            Some(_) => Self::Unknown,
        }
    }

    fn below_identities(rest: &'p str) -> Self {
        let Some((identifier, tail)) = rest.split_once('/') else {
            return name(rest).map_or(Self::Unknown, |_| Self::AddSlash);
        };
        let Some(identifier) = name(identifier) else {
            return Self::Unknown;
        };
        match tail.strip_prefix("traits/").and_then(name) {
            Some(key) => Self::IdentityTrait(identifier, key),
            // Flagsmith's pattern is open at its end.
            None => Self::Identity(identifier),
        }
    }

    /// The SDK endpoint, where it is one.
    pub(super) fn endpoint(&self) -> Option<&'static Endpoint> {
        Some(match self {
            Self::Flags | Self::FlagsOf(_) => &FLAGS,
            Self::MultivariateOptions(_) => &OPTIONS,
            Self::Identities => &IDENTITIES,
            Self::Identity(_) => &IDENTITY,
            Self::IdentityTrait(..) => &IDENTITY_TRAIT,
            Self::Traits => &TRAITS,
            Self::TraitsBulk => &TRAITS_BULK,
            Self::TraitsIncrement => &TRAITS_INCREMENT,
            Self::Document => &DOCUMENT,
            Self::Analytics => &ANALYTICS,
            Self::AnalyticsV2 => &ANALYTICS_V2,
            _ => return None,
        })
    }
}

/// A path segment of the characters `[-\w@%.]` once decoded, at least one.
fn name(segment: &str) -> Option<Cow<'_, str>> {
    let name = percent_decode(segment);
    let fine = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '@' | '%' | '.');
    (!name.is_empty() && name.chars().all(fine)).then_some(name)
}

pub(super) static ENVIRONMENT_KEY: HeaderName = HeaderName::from_static("x-environment-key");
pub(super) static API_KEY: HeaderName = HeaderName::from_static("x-api-key");
pub(super) static TIMESTAMP: HeaderName = HeaderName::from_static(signature::TIMESTAMP_HEADER);
pub(super) static SIGNATURE: HeaderName = HeaderName::from_static(signature::SIGNATURE_HEADER);

/// Every request header that [`super::handle`] reads.
pub static READ_HEADERS: [HeaderName; 12] = [
    HeaderName::from_static("x-environment-key"),
    ACCEPT,
    ORIGIN,
    CONTENT_TYPE,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_UNMODIFIED_SINCE,
    ACCESS_CONTROL_REQUEST_METHOD,
    HeaderName::from_static(signature::TIMESTAMP_HEADER),
    HeaderName::from_static(signature::SIGNATURE_HEADER),
    HeaderName::from_static("x-api-key"),
    AUTHORIZATION,
];

/// Every header that is read of what others answer: the control plane ([`super::pull_through`]), an existing Flagsmith
/// ([`super::upstream`]).
pub static ANSWER_HEADERS: [HeaderName; 8] = [
    HeaderName::from_static(signature::TIMESTAMP_HEADER),
    HeaderName::from_static(signature::SIGNATURE_HEADER),
    ETAG,
    LAST_MODIFIED,
    DATE,
    LINK,
    LOCATION,
    RETRY_AFTER,
];

static ASKING: [HeaderName; 4] = [
    HeaderName::from_static("x-environment-key"),
    ACCEPT,
    ORIGIN,
    IF_NONE_MATCH,
];
static OFREP_ASKING: [HeaderName; 4] = [
    HeaderName::from_static("x-api-key"),
    AUTHORIZATION,
    ORIGIN,
    IF_NONE_MATCH,
];
static SENDING: [HeaderName; 4] = [
    HeaderName::from_static("x-environment-key"),
    ACCEPT,
    ORIGIN,
    CONTENT_TYPE,
];

/// The request headers that [`super::handle`] reads of this very request: at most four on the routes
/// that are asked all the time. A host where each header costs a conversion passes only these on.
pub fn read_headers(method: &Method, path: &str) -> &'static [HeaderName] {
    match (method, path) {
        (&Method::GET, "/api/v1/flags/" | "/api/v1/identities/") => &ASKING,
        (&Method::POST, "/api/v1/identities/" | "/api/v1/analytics/flags/") => &SENDING,
        (&Method::POST, path) if path.starts_with("/ofrep/") => &OFREP_ASKING,
        _ => &READ_HEADERS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let of = Route::of;
        assert_eq!(of("/api/v1/flags/"), Route::Flags);
        assert_eq!(of("/api/v1/flags"), Route::AddSlash);
        assert_eq!(of("/api/v1/flags/alice"), Route::FlagsOf("alice".into()));
        assert_eq!(of("/api/v1/flags/a%40b.c"), Route::FlagsOf("a@b.c".into()));
        assert_eq!(of("/api/v1/flags/a%20b"), Route::Unknown);
        assert_eq!(
            of("/api/v1/flags/12/multivariate-options/"),
            Route::MultivariateOptions(12)
        );
        assert_eq!(of("/api/v1/flags/x/multivariate-options/"), Route::Unknown);
        let huge = "/api/v1/flags/99999999999999999999/multivariate-options/";
        assert_eq!(of(huge), Route::MultivariateOptions(-1));
        assert_eq!(
            of("/api/v1/identities/alice/"),
            Route::Identity("alice".into())
        );
        assert_eq!(of("/api/v1/identities/alice"), Route::AddSlash);
        assert_eq!(of("/api/v1/identities/a%20b/"), Route::Unknown);
        assert_eq!(
            of("/api/v1/identities/t5/traits/dep"),
            Route::IdentityTrait("t5".into(), "dep".into())
        );
        assert_eq!(
            of("/api/v1/identities/t5/traits/dep/"),
            Route::Identity("t5".into())
        );
        assert_eq!(of("/api/v1/traits/nope/"), Route::Unknown);
        assert_eq!(of("/api/v1/"), Route::Unknown);
        assert_eq!(of("/api/v2/analytics/flags/"), Route::AnalyticsV2);
        assert_eq!(of("/version"), Route::AddSlash);
        assert_eq!(of("/ofrep/v1/evaluate/flags"), Route::Ofrep(None));
        assert_eq!(of("/ofrep/v1/evaluate/flags/"), Route::Ofrep(None));
        assert_eq!(
            of("/ofrep/v1/evaluate/flags/a%20b/c"),
            Route::Ofrep(Some("a b/c".into()))
        );
        assert_eq!(of("/ofrep/v1/evaluate/flagship"), Route::Unknown);
        assert_eq!(of("/edge/v1/environments"), Route::Publications);
        assert_eq!(
            of("/edge/v1/environments/k%2F1"),
            Route::Publication("k/1".into())
        );
        assert_eq!(of("/edge/v1/environments/"), Route::Unknown);
        assert_eq!(of("/edge/v1/environments/a/b"), Route::Unknown);
        assert_eq!(
            of("/edge/v1/environments/a%2Fb/identities"),
            Route::IdentityChanges("a/b".into())
        );
        assert_eq!(of("/edge/v1/environments//identities"), Route::Unknown);
        assert_eq!(
            of("/sse/environments/a%2Fb/stream"),
            Route::Stream("a/b".into())
        );
        for path in ["a/b/stream", "/stream", "stream", "a/stream/", "a"] {
            let path = format!("/sse/environments/{path}");
            assert_eq!(Route::of(&path), Route::Unknown, "{path}");
        }
        assert_eq!(of("/"), Route::Unknown);
        assert_eq!(of(""), Route::Unknown);
    }

    #[test]
    fn a_route_reads_no_header_outside_the_list() {
        for header in ASKING.iter().chain(&SENDING).chain(&OFREP_ASKING) {
            assert!(READ_HEADERS.contains(header), "{header}");
        }
    }
}
