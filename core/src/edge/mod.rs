//! The SDK HTTP API, once for every host.
//!
//! [`handle`] takes a request and the host's ports and gives the reply, plus the effects that the
//! host runs after replying. Streams stay with the host.

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response};

mod access;
mod analytics;
mod anonymous;
mod asker;
mod body;
mod conditional;
mod cors;
mod deleted_traits;
pub mod delivery;
mod environment_document;
mod error;
mod field;
mod flags;
mod health;
mod http_date;
mod identities;
mod identity_changes;
mod identity_record;
mod identity_versions;
mod json;
mod json_parser;
mod json_text;
mod metadata;
mod negotiation;
mod ofrep;
mod own_json;
mod plain_submission;
mod ports;
mod publication;
pub mod pull_through;
mod python_text;
mod query;
mod reply;
mod route;
pub mod signature;
pub mod stream;
mod submission;
mod traits;
pub mod upstream;
pub mod usage;

pub use identity_record::{ChangeError, IdentityRecord, StoredTrait, TraitChange, TraitScalar};
pub use own_json::read_json;
pub use ports::{Held, Host, Install, KeyRef, Unavailable};
pub use publication::MissingParts;
pub use route::{ANSWER_HEADERS, READ_HEADERS, read_headers};

/// What Python's decoder says of a body that is not JSON, position included; `None` when it is. For
/// the admin API, whose clients see the same messages (flagsmith-observed.md 3.1).
pub fn json_error(body: &[u8]) -> Option<String> {
    json_parser::parse(body).err()
}

use delivery::Labels;
pub use reply::cache_tag;

use error::Refusal;
use route::{Endpoint, Route};
use stream::Streaming;
use usage::{Counted, Origin};

/// What a request came to.
#[derive(Debug)]
pub struct Outcome {
    /// The reply, complete with headers.
    pub reply: Response<Bytes>,
    /// What to do after replying.
    pub effects: Vec<Effect>,
    /// Set on the route of streams only.
    pub stream: Option<Streaming>,
    /// The request itself, where it counts as usage.
    pub counted: Option<Counted>,
}

/// Work that need not delay the reply: the host runs it in `wait_until`, a spawned task, or before
/// returning.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Flags were evaluated in an SDK (analytics v1 and v2).
    Evaluations {
        /// The environment's client-side key.
        environment_key: String,
        /// Who evaluated them.
        labels: Labels,
        /// One row a feature and identity.
        rows: Vec<Evaluation>,
    },
}

/// One row of analytics.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Feature name; known in the environment.
    pub feature_name: String,
    /// Identity, v2 only.
    pub identity_identifier: Option<String>,
    /// The state seen, v2 only.
    pub enabled_when_evaluated: Option<bool>,
    /// How often.
    pub count: i64,
}

impl From<Response<Bytes>> for Outcome {
    fn from(reply: Response<Bytes>) -> Self {
        Self {
            reply,
            effects: Vec::new(),
            stream: None,
            counted: None,
        }
    }
}

/// Answers one request: SDK API, event streams, health, version, and the signed publication routes.
///
/// The target of `request` is read as path and query; of its headers only [`READ_HEADERS`] count,
/// and [`usage::LABEL_HEADERS`] where usage is of interest.
/// The reply has all its headers but those that are the transport's own (`Date`, and
/// `Content-Length` except in answer to HEAD). Never panics, whatever comes in.
pub async fn handle<H: Host>(host: &H, request: Request<Bytes>) -> Outcome {
    let (head, body) = request.into_parts();
    let mut outcome = answer(host, &head, body).await;
    let reply = &mut outcome.reply;
    cors::open(reply, &head.headers);
    if let Some(origins) = host.allowed_origins() {
        cors::restrict(reply, &head.headers, origins);
    }
    reply::sign_off(reply, host.name());
    if head.method == Method::HEAD {
        if let Some(Streaming::Open(_)) = outcome.stream.take() {
            return outcome;
        }
        let length = std::mem::take(reply.body_mut()).len();
        reply
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    outcome
}

/// The document's path without its slash.
const BARE_DOCUMENT: &str = "/api/v1/environment-document";

async fn answer<H: Host>(host: &H, head: &Parts, body: Bytes) -> Outcome {
    if cors::is_preflight(head) {
        return cors::preflight(&head.headers).into();
    }
    let path = head.uri.path();
    let route = match Route::of(path) {
        // edge-proxy has this one without its slash.
        Route::AddSlash if path == BARE_DOCUMENT && host.has_upstream() => Route::Document,
        route => route,
    };
    if let Some(endpoint) = route.endpoint() {
        let mut counted = None;
        let mut outcome = match sdk(host, endpoint, &route, head, &body, &mut counted).await {
            Ok(outcome) => outcome,
            Err(refusal) => refusal.reply(endpoint).into(),
        };
        outcome.counted = counted;
        return outcome;
    }
    match &route {
        Route::Stream(key) => return stream::get(host, head, key).await,
        Route::Ofrep(key) => return ofrep::answer(host, head, &body, key.as_deref()).await,
        _ => {}
    }
    let reply = match route {
        Route::AddSlash => reply::redirect(path, head.uri.query()),
        Route::Live => health::live(&head.method),
        Route::Ready => health::ready(host, &head.method).await,
        Route::Version => health::version(host, &head.method),
        Route::Publication(key) => publication::put(host, head, body, &key).await,
        Route::Publications => publication::list(host, head, &body).await,
        Route::IdentityChanges(key) => identity_changes::post(host, head, &body, &key).await,
        _ => reply::not_found(),
    };
    reply.into()
}

/// Answers on an SDK endpoint. What is looked at first is told first: representation, key, method,
/// body. A request whose key is good counts, whatever becomes of it.
async fn sdk<H: Host>(
    host: &H,
    endpoint: &'static Endpoint,
    route: &Route<'_>,
    head: &Parts,
    body: &Bytes,
    counted: &mut Option<Counted>,
) -> Result<Outcome, Refusal> {
    let query = head.uri.query();
    negotiation::check(endpoint, &head.headers, query)?;
    let access = &access::open(host, endpoint, &head.headers).await?;
    *counted = usage::resource_of(route).map(|resource| Counted {
        resource,
        snapshot: access.snapshot.clone(),
        origin: Origin::of(head),
    });
    let get = head.method == Method::GET
        || (head.method == Method::HEAD
            && endpoint
                .allow
                .to_str()
                .is_ok_and(|allow| allow.contains("HEAD")));
    let post = head.method == Method::POST;
    let mut reply = match route {
        _ if head.method == Method::OPTIONS => metadata::describe(endpoint),
        Route::Flags if get => flags::get(access, head),
        Route::FlagsOf(identifier) if get => {
            flags::get_of_identity(host, access, identifier, query).await?
        }
        Route::MultivariateOptions(feature) if get => {
            flags::multivariate_options(access, *feature)?
        }
        Route::Identities if get => identities::get(host, access, query).await?,
        Route::Identities if post => identities::post(host, access, head, body).await?,
        Route::Identity(identifier) if get => {
            identities::get_deprecated(host, access, identifier).await?
        }
        Route::IdentityTrait(identifier, key) if post => {
            traits::post_deprecated(host, access, head, body, (identifier, key)).await?
        }
        Route::Traits if post => traits::post(host, access, head, body).await?,
        Route::TraitsBulk if head.method == Method::PUT => {
            traits::put_bulk(host, access, head, body).await?
        }
        Route::TraitsIncrement if post => traits::post_increment(host, access, head, body).await?,
        Route::Document if get => environment_document::get(host, access, head).await?,
        Route::Analytics if post => return analytics::post(access, head, body),
        Route::AnalyticsV2 if post => return analytics::post_v2(access, head, body),
        _ => return Err(Refusal::MethodNotAllowed(head.method.clone())),
    };
    if let Some(confirmed_at) = host.confirmed_at(&access.snapshot) {
        reply::snapshot_age(&mut reply, host.now().secs() - confirmed_at.secs());
    }
    Ok(reply.into())
}
