//! What an edge sends home: one batch, as it travels to the control plane.
//!
//! `POST /api/v1/edge/deliveries/`, signed like a publication ([`super::signature`]) with the secret of the
//! edge's target. An edge repeats a batch, under the same id and unchanged, until it is confirmed; the control plane
//! takes an id once. 2xx confirms. 400 and 413 say that this batch will never be taken: the edge logs and drops it.
//! Anything else, and no answer, means: again, later.
//!
//! Identities travel as versions of single traits, each with the time of its change at the edge that made
//! it. Whoever takes them in keeps the later version of each trait, so order and repetition do not matter, and
//! changes of different traits of one identity never undo each other. The same versions travel the
//! other way (`POST /edge/v1/environments/<key>/identities`) when people edit traits.

use serde::{Deserialize, Serialize};

use super::identity_record::TraitScalar;

/// Where a control plane takes deliveries.
pub const PATH: &str = "/api/v1/edge/deliveries/";

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
