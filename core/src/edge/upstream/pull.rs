//! One look at an environment's document: what to ask, page after page, and how it ended.
//!
//! The first page is the document; later ones, named by `Link: <…>; rel="next"`, only add identity overrides
//! (clients.md 1.1).

use std::collections::HashMap;

use bytes::Bytes;
use http::header::{
    ACCEPT, DATE, ETAG, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
    LINK, LOCATION, RETRY_AFTER,
};
use http::{HeaderMap, Method, Request, StatusCode};
use serde::{Deserialize, Serialize};

use super::super::http_date;
use super::address::{Address, Root};
use super::keys::KeyPair;
use crate::snapshot::document::{Document, IdentityOverride};
use crate::time::Timestamp;

static ENVIRONMENT_KEY: HeaderName = HeaderName::from_static("x-environment-key");

/// How many redirects one page may take.
const REDIRECTS: u8 = 5;
/// How many pages a document may have.
const PAGES: u32 = 10_000;

/// A look that is under way.
#[derive(Debug)]
pub struct Pull {
    root: Root,
    pair: KeyPair,
    held: Option<Validators>,
    address: Address,
    redirects: u8,
    pages: u32,
    /// Bytes that the rest may have.
    room: usize,
    first: Option<Fetched>,
}

/// What to send along to be told that nothing has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validators {
    /// The entity tag, quoted.
    etag: Option<String>,
    /// When it changed, as an HTTP date.
    modified: Option<String>,
}

/// A whole document.
#[derive(Debug, Clone, PartialEq)]
pub struct Fetched {
    /// The pages put together.
    pub document: Document,
    /// When it last changed, by itself or else by its headers.
    pub updated_at: Option<Timestamp>,
    /// What to ask with next time.
    pub validators: Option<Validators>,
}

/// What an answer asks for.
#[derive(Debug)]
pub enum Step {
    /// Another request.
    Ask(Box<Pull>),
    /// Nothing more.
    Done(End),
}

/// How a look ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// What is held is current.
    NotModified,
    /// Here it is.
    Document(Box<Fetched>),
    /// It told nothing.
    Failed(PullError),
}

/// Why a look told nothing. The text names no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PullError {
    /// The key is not, or no longer, one of upstream's.
    #[error("upstream refuses the server-side key (status {0})")]
    Denied(u16),
    /// Another status.
    #[error("upstream answered with status {status}")]
    Status {
        /// Which one.
        status: u16,
        /// Seconds that upstream asks to be left alone.
        retry_after: Option<u32>,
    },
    /// The body is not what it should be.
    #[error("upstream's answer is not an environment document: {0}")]
    Body(String),
    /// It is larger than this host can take.
    #[error("upstream's answer is too large")]
    TooLarge,
    /// The document is of another environment than the client-side key says.
    #[error("the server-side key is of environment {0}, not of the client-side key beside it")]
    OtherEnvironment(String),
    /// A redirect or a link that a server-side key must not follow.
    #[error("upstream leads to {0}, where the server-side key is not sent")]
    Elsewhere(String),
    /// Redirects or pages without an end.
    #[error("upstream leads in circles")]
    Circles,
    /// The exchange itself failed; the host says how.
    #[error("upstream cannot be asked: {0}")]
    Exchange(String),
}

/// What counts of a later page.
#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    identity_overrides: Vec<IdentityOverride>,
    #[serde(default)]
    updated_at: Option<String>,
}

impl Pull {
    /// Begins a look, conditional where `held` says so; all pages together may have `room` bytes.
    pub fn new(root: &Root, pair: &KeyPair, held: Option<Validators>, room: usize) -> Self {
        Self {
            root: root.clone(),
            pair: pair.clone(),
            held,
            address: root.document(),
            redirects: 0,
            pages: 0,
            room,
            first: None,
        }
    }

    /// The request to send, without `User-Agent` and `Host`. Redirects are not to be followed.
    pub fn request(&self) -> Request<Bytes> {
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = Method::GET;
        // An address was read from a URI, and a key is checked to be visible ASCII.
        *request.uri_mut() = self.address.to_string().parse().unwrap_or_default();
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let mut set = |name: &HeaderName, value: &str| {
            if let Ok(mut value) = HeaderValue::from_str(value) {
                value.set_sensitive(*name == ENVIRONMENT_KEY);
                headers.insert(name, value);
            }
        };
        set(&ENVIRONMENT_KEY, self.pair.server());
        if let Some(held) = &self.held
            && self.first.is_none()
        {
            if let Some(etag) = &held.etag {
                set(&IF_NONE_MATCH, etag);
            }
            if let Some(modified) = &held.modified {
                set(&IF_MODIFIED_SINCE, modified);
            }
        }
        request
    }

    /// How many bytes the answer's body may have.
    pub fn room(&self) -> usize {
        self.room
    }

    /// Takes the answer in.
    pub fn answer(
        mut self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Step {
        match self.take(status, headers, body, now) {
            Ok(None) => Step::Ask(Box::new(self)),
            Ok(Some(end)) => Step::Done(end),
            Err(error) => Step::Done(End::Failed(error)),
        }
    }

    /// How it ended, unless there is more to ask.
    fn take(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Option<End>, PullError> {
        if status == StatusCode::NOT_MODIFIED && self.first.is_none() && self.held.is_some() {
            return Ok(Some(End::NotModified));
        }
        if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
            self.redirect(headers)?;
            return Ok(None);
        }
        if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
            return Err(PullError::Denied(status.as_u16()));
        }
        if !status.is_success() {
            return Err(PullError::Status {
                status: status.as_u16(),
                retry_after: text(headers, &RETRY_AFTER).and_then(|text| text.parse().ok()),
            });
        }
        self.room = self
            .room
            .checked_sub(body.len())
            .ok_or(PullError::TooLarge)?;
        match &mut self.first {
            None => {
                let document: Document = object(body)?;
                if document.api_key != self.pair.client() {
                    return Err(PullError::OtherEnvironment(document.api_key));
                }
                self.first = Some(Fetched::first(document, headers, now));
            }
            Some(first) => first.add(object(body)?),
        }
        self.pages += 1;
        let next = headers.get_all(LINK).iter().find_map(next_link);
        if let Some(target) = next {
            let there = self.root.link(target);
            self.go(there, target)?;
            self.redirects = 0;
            return Ok(None);
        }
        let whole = self.first.take().map(|mut fetched| {
            fetched.merge_overrides();
            End::Document(Box::new(fetched))
        });
        Ok(whole)
    }

    fn redirect(&mut self, headers: &HeaderMap) -> Result<(), PullError> {
        self.redirects += 1;
        if self.redirects > REDIRECTS {
            return Err(PullError::Circles);
        }
        let target = text(headers, &LOCATION).unwrap_or_default();
        let there = self.address.join(target).filter(|_| !target.is_empty());
        self.go(there, target)
    }

    fn go(&mut self, there: Option<Address>, target: &str) -> Result<(), PullError> {
        let there = there.ok_or_else(|| PullError::Elsewhere(format!("{target:?}")))?;
        if !self.address.may_lead_to(&there) {
            return Err(PullError::Elsewhere(there.authority().to_owned()));
        }
        if there == self.address || self.pages > PAGES {
            return Err(PullError::Circles);
        }
        self.address = there;
        Ok(())
    }
}

impl Fetched {
    fn first(document: Document, headers: &HeaderMap, now: Timestamp) -> Self {
        let date = |name| http_date::parse(text(headers, name)?, now);
        let of_document = document.updated_at.as_deref();
        let updated_at = of_document
            .and_then(Timestamp::from_iso8601)
            .or_else(|| date(&LAST_MODIFIED));
        // Dates are compared by the second: one is a validator only when its second was over as the answer
        // was made (RFC 9110, 8.8.2.2). Otherwise a second change within it would never be seen.
        let answered_at = date(&DATE).unwrap_or(now);
        let modified = updated_at
            .filter(|updated_at| updated_at.secs() < answered_at.secs())
            .map(Timestamp::http_date);
        let etag = text(headers, &ETAG).map(str::to_owned);
        let validators =
            (etag.is_some() || modified.is_some()).then_some(Validators { etag, modified });
        Self {
            document,
            updated_at,
            validators,
        }
    }

    fn add(&mut self, page: Page) {
        // It changed while it was read: the next look asks for all of it again.
        if page.updated_at.is_some() && page.updated_at != self.document.updated_at {
            self.validators = None;
        }
        self.document
            .identity_overrides
            .extend(page.identity_overrides);
    }

    /// Pages are cut by feature, so that one identity may be on several; here each is there once.
    fn merge_overrides(&mut self) {
        let overrides = std::mem::take(&mut self.document.identity_overrides);
        let mut places = HashMap::with_capacity(overrides.len());
        let mut merged: Vec<IdentityOverride> = Vec::with_capacity(overrides.len());
        for identity in overrides {
            match places.get(&identity.identifier) {
                None => {
                    places.insert(identity.identifier.clone(), merged.len());
                    merged.push(identity);
                }
                Some(place) => merged[*place]
                    .identity_features
                    .extend(identity.identity_features),
            }
        }
        self.document.identity_overrides = merged;
    }
}

impl PullError {
    /// Whether upstream says that the key opens nothing.
    pub const fn is_denied(&self) -> bool {
        matches!(self, Self::Denied(_))
    }

    /// Seconds that upstream asks to be left alone.
    pub const fn retry_after(&self) -> Option<u32> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// Reads an object; serde would take an array of the fields' values, too.
fn object<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, PullError> {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(PullError::Body("it is no JSON object".to_owned()));
    }
    serde_json::from_slice(body).map_err(|error| PullError::Body(error.to_string()))
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// The target of the link to the next page (RFC 8288), if this header has one.
fn next_link(value: &HeaderValue) -> Option<&str> {
    let mut rest = value.to_str().ok()?;
    while let Some((_, link)) = rest.split_once('<') {
        let (target, parameters) = link.split_once('>')?;
        let (parameters, next) = parameters.split_once(',').unwrap_or((parameters, ""));
        let is_next = parameters.split(';').any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = value.trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("rel")
                && value
                    .split_ascii_whitespace()
                    .any(|relation| relation.eq_ignore_ascii_case("next"))
        });
        if is_next {
            return Some(target);
        }
        rest = next;
    }
    None
}

#[cfg(test)]
mod tests;
