//! What an edge sends home: one batch, as it travels to the control plane.
//!
//! `POST /api/v1/edge/deliveries/`, signed like a publication ([`super::signature`]) with the secret of the
//! edge's target. An edge repeats a batch, under the same id and unchanged, until it is confirmed; the control plane
//! takes an id once. 2xx confirms. 400, with a JSON object, and 413 say that this batch will never be taken: the edge logs and drops it.
//! Anything else, and no answer, means: again, later.
//!
//! Identities travel as versions of single traits, each with the time of its change at the edge that made
//! it. Whoever takes them in keeps the later version of each trait, so order and repetition do not matter, and
//! changes of different traits of one identity never undo each other. The same versions travel the
//! other way (`POST /edge/v1/environments/<key>/identities`) when people edit traits.

use std::collections::HashMap;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Uri};
use serde::{Deserialize, Serialize};

use super::identity_record::{StoredTrait, TraitScalar};
use super::route::{SIGNATURE, TIMESTAMP};
use super::signature;
use crate::time::Timestamp;

/// Where a control plane takes deliveries.
pub const PATH: &str = "/api/v1/edge/deliveries/";

/// What a control plane's answer to a delivery means to the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was taken, now or before.
    Confirmed,
    /// It will never be taken: drop it, and say so in the log.
    Refused,
    /// It would be taken in parts ([`Delivery::halves`]).
    TooLarge,
    /// Send the same again, later.
    Later,
}

impl Verdict {
    /// What a status means, with what was said. What the control plane refuses it refuses with a JSON object; a 400 in other
    /// words is that of a proxy, or of a server that expected TLS, and says nothing about the batch.
    pub fn of(status: u16, said: &str) -> Self {
        match status {
            200..=299 => Self::Confirmed,
            400 if said.trim_start().starts_with('{') => Self::Refused,
            413 => Self::TooLarge,
            _ => Self::Later,
        }
    }
}

/// The request that brings a delivery, as JSON, to a control plane's `url`, whose path ends in [`PATH`]: signed.
pub fn request(
    url: Uri,
    secret: &[u8],
    body: Vec<u8>,
    now: Timestamp,
) -> Result<Request<Bytes>, http::Error> {
    let signature = signature::sign(secret, "POST", url.path(), now.secs(), &body);
    Request::builder()
        .method(Method::POST)
        .uri(url)
        .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .header(&TIMESTAMP, now.secs())
        .header(&SIGNATURE, signature)
        .body(body.into())
}

/// A batch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// 128 random bits, lower-case hex: the same for every attempt.
    pub id: String,
    /// What kind of host sends it: `worker`, `spin` or `native`.
    pub edge: String,
    /// Identities seen for the first time or changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identities: Vec<IdentityChange>,
    /// Requests that SDKs made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<RequestCount>,
    /// Flags that SDKs evaluated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evaluations: Vec<EvaluationCount>,
    /// How many requests and evaluations the edge counted and then had to forget since its last
    /// confirmed batch, because the control plane was away for longer than its memory lasts.
    #[serde(default)]
    pub dropped: u64,
}

impl Delivery {
    /// Deliveries of at most `rows` identities each, still without ids; several changes of one identity come together.
    pub fn of_identities(changes: Vec<IdentityChange>, edge: &str, rows: usize) -> Vec<Self> {
        let mut identities: Vec<IdentityChange> = Vec::new();
        let mut places = HashMap::new();
        for change in changes {
            let name = (change.environment_key.clone(), change.identifier.clone());
            if let Some(place) = places.get(&name) {
                let held: &mut IdentityChange = &mut identities[*place];
                held.absorb(change);
            } else {
                places.insert(name, identities.len());
                identities.push(change);
            }
        }
        let mut deliveries = Vec::new();
        while !identities.is_empty() {
            let rest = identities.split_off(identities.len().min(rows.max(1)));
            deliveries.push(Self {
                edge: edge.to_owned(),
                identities: std::mem::replace(&mut identities, rest),
                ..Self::default()
            });
        }
        deliveries
    }

    /// Both halves of one that is too large, each without an id; nothing where it is a single row.
    pub fn halves(mut self) -> Option<(Self, Self)> {
        let rows = self.identities.len() + self.requests.len() + self.evaluations.len();
        if rows < 2 {
            return None;
        }
        let mut keep = rows / 2;
        let second = Self {
            id: String::new(),
            edge: self.edge.clone(),
            identities: rest(&mut self.identities, &mut keep),
            requests: rest(&mut self.requests, &mut keep),
            evaluations: rest(&mut self.evaluations, &mut keep),
            dropped: 0,
        };
        self.id.clear();
        Some((self, second))
    }

    /// The delivery as it is sent: JSON under an id. Where that would be longer than `most` bytes it is several; a single
    /// row is never cut.
    ///
    /// # Errors
    /// Never in practice: everything in it can be JSON.
    pub fn into_bodies(
        self,
        most: usize,
        id: &mut dyn FnMut() -> String,
    ) -> serde_json::Result<Vec<String>> {
        let mut bodies = Vec::new();
        let mut rest = vec![self];
        while let Some(mut delivery) = rest.pop() {
            delivery.id = id();
            let body = serde_json::to_string(&delivery)?;
            if body.len() > most
                && let Some((first, second)) = delivery.halves()
            {
                rest.extend([second, first]);
            } else {
                bodies.push(body);
            }
        }
        Ok(bodies)
    }
}

/// Leaves up to `keep` rows where they are and gives the others.
fn rest<T>(rows: &mut Vec<T>, keep: &mut usize) -> Vec<T> {
    let kept = rows.len().min(*keep);
    *keep -= kept;
    rows.split_off(kept)
}

/// An identity that is new or has changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IdentityChange {
    /// The environment's client-side key.
    pub environment_key: String,
    /// The identity's identifier.
    pub identifier: String,
    /// When the sender first saw it, microseconds since the epoch.
    pub created_at_micros: i64,
    /// The traits that changed; none when the identity is only new.
    #[serde(default)]
    pub traits: Vec<TraitVersion>,
}

/// One trait as it was left by one change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TraitVersion {
    /// Name.
    pub key: String,
    /// Value; nothing when the trait was deleted.
    pub value: Option<TraitScalar>,
    /// When it changed, microseconds since the epoch by the clock of whoever changed it.
    pub changed_at_micros: i64,
}

impl TraitVersion {
    /// The deletion of a trait, at a time in microseconds since the epoch.
    pub const fn deletion(key: String, changed_at_micros: i64) -> Self {
        Self {
            key,
            value: None,
            changed_at_micros,
        }
    }
}

impl From<StoredTrait> for TraitVersion {
    fn from(stored: StoredTrait) -> Self {
        Self {
            key: stored.key,
            value: Some(stored.value),
            changed_at_micros: stored.changed_at_micros,
        }
    }
}

/// How often SDKs asked for something, within one minute and alike in everything else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestCount {
    /// The environment's client-side key.
    pub environment_key: String,
    /// What was asked for.
    pub resource: Resource,
    /// The host that was asked (the request's `Host`); empty when unknown.
    #[serde(default)]
    pub host: String,
    /// Who asked.
    #[serde(default)]
    pub labels: Labels,
    /// Start of the minute, Unix seconds.
    pub minute: i64,
    /// How many requests.
    pub count: u64,
}

/// How often SDKs evaluated a flag, within one minute and alike in everything else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationCount {
    /// The environment's client-side key.
    pub environment_key: String,
    /// The feature's name.
    pub feature_name: String,
    /// For whom, where the SDK tells (analytics v2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_identifier: Option<String>,
    /// The state seen, where the SDK tells (analytics v2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled_when_evaluated: Option<bool>,
    /// Who evaluated.
    #[serde(default)]
    pub labels: Labels,
    /// Start of the minute, Unix seconds.
    pub minute: i64,
    /// How many evaluations, as the SDK said.
    pub count: i64,
}

/// What usage is counted by (flagsmith-api.md A.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// `/flags/`, and OFREP evaluations without a targeting key.
    Flags,
    /// `/identities/`, and OFREP evaluations with a targeting key.
    Identities,
    /// `/traits/` and what is below it.
    Traits,
    /// `/environment-document/`.
    EnvironmentDocument,
}

/// What an SDK says of itself and of the application it serves; each at most 255 characters.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Labels {
    /// `Flagsmith-Application-Name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_application_name: Option<String>,
    /// `Flagsmith-Application-Version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_application_version: Option<String>,
    /// `Flagsmith-SDK-User-Agent`, else `User-Agent`, where it names a Flagsmith SDK.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(identifier: usize) -> IdentityChange {
        IdentityChange {
            environment_key: "env".to_owned(),
            identifier: identifier.to_string(),
            created_at_micros: 1,
            traits: Vec::new(),
        }
    }

    #[test]
    fn changes_of_one_identity_come_together() {
        let sizes = |changes: Vec<_>, rows| {
            let deliveries = Delivery::of_identities(changes, "native", rows);
            let sizes = deliveries.iter().map(|delivery| delivery.identities.len());
            sizes.collect::<Vec<_>>()
        };
        let changes: Vec<_> = (0..1_203).map(|n| change(n % 601)).collect();
        assert_eq!(sizes(changes.clone(), 500), [500, 101]);
        assert_eq!(sizes(changes, 601), [601]);
        assert!(sizes(Vec::new(), 500).is_empty());
    }

    #[test]
    fn halves_are_what_the_whole_was() {
        let row = RequestCount {
            environment_key: "env".to_owned(),
            resource: Resource::Flags,
            host: String::new(),
            labels: Labels::default(),
            minute: 0,
            count: 1,
        };
        let whole = Delivery {
            id: "id".to_owned(),
            edge: "native".to_owned(),
            identities: vec![change(0), change(1)],
            requests: vec![row; 3],
            evaluations: Vec::new(),
            dropped: 7,
        };
        let (first, second) = whole.halves().unwrap();
        assert_eq!((first.identities.len(), first.requests.len()), (2, 0));
        assert_eq!((second.identities.len(), second.requests.len()), (0, 3));
        assert_eq!((first.dropped, second.dropped), (7, 0));
        assert!(first.id.is_empty() && second.edge == "native");
        let (first, second) = first.halves().unwrap();
        assert_eq!((first.identities.len(), second.identities.len()), (1, 1));
        assert_eq!(first.halves(), None);
        assert_eq!(Delivery::default().halves(), None);
    }

    #[test]
    fn bodies_are_as_short_as_they_must_be() {
        let bodies = |most| {
            let delivery = Delivery {
                identities: (0..9).map(change).collect(),
                ..Delivery::default()
            };
            let mut number = 0;
            let mut id = || {
                number += 1;
                number.to_string()
            };
            let bodies = delivery.into_bodies(most, &mut id).unwrap();
            assert!(bodies.iter().all(|body| body.len() <= most.max(200)));
            let read = bodies
                .iter()
                .map(|body| serde_json::from_str(body).unwrap());
            read.collect::<Vec<Delivery>>()
        };
        assert_eq!(bodies(10_000).len(), 1);
        for most in [400, 1] {
            let some = bodies(most);
            let rows = some.iter().flat_map(|delivery| &delivery.identities);
            let names: Vec<_> = rows.map(|row| row.identifier.clone()).collect();
            assert_eq!(names.concat(), "012345678", "in their order");
            let mut ids: Vec<_> = some.iter().map(|delivery| &delivery.id).collect();
            ids.sort();
            ids.dedup();
            assert_eq!(ids.len(), some.len());
        }
        assert_eq!(bodies(1).len(), 9);
    }

    #[test]
    fn a_delivery_is_signed_as_it_is_checked() {
        let url = Uri::from_static("http://home:8000/x/api/v1/edge/deliveries/");
        let now = Timestamp::from_secs(1_795_357_662);
        let request = request(url, b"secret", b"{}".to_vec(), now).unwrap();
        let text = |name| request.headers().get(name)?.to_str().ok();
        let (timestamp, signature) = (text(&TIMESTAMP), text(&SIGNATURE));
        let (path, body) = (request.uri().path(), request.body());
        assert_eq!(path, "/x/api/v1/edge/deliveries/");
        signature::verify(b"secret", "POST", path, timestamp, signature, body, now).unwrap();
        assert_eq!(text(&CONTENT_TYPE), Some("application/json"));
    }

    #[test]
    fn answers_mean_what_the_protocol_says() {
        for (status, verdict) in [
            (200, Verdict::Confirmed),
            (202, Verdict::Confirmed),
            (400, Verdict::Refused),
            (413, Verdict::TooLarge),
        ] {
            assert_eq!(Verdict::of(status, "{}"), verdict);
        }
        for status in [0, 301, 401, 403, 404, 409, 429, 500, 503] {
            assert_eq!(Verdict::of(status, "{}"), Verdict::Later, "{status}");
        }
        for (said, verdict) in [
            (
                r#"{"id": ["Enter 32 lower-case hex digits."]}"#,
                Verdict::Refused,
            ),
            (
                "<html>400 The plain HTTP request was sent to HTTPS port",
                Verdict::Later,
            ),
            ("", Verdict::Later),
        ] {
            assert_eq!(Verdict::of(400, said), verdict, "{said}");
        }
        assert_eq!(Verdict::of(200, ""), Verdict::Confirmed);
    }
}
