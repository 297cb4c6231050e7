//! What a control plane hands over to be compiled for one environment.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::document::Document;

/// One version of one environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Publication {
    /// Grows with every change of the environment; never reused.
    pub version: u64,
    /// When the environment last changed, in microseconds since the epoch; answered as
    /// `X-Flagsmith-Document-Updated-At` and `Last-Modified`.
    pub updated_at_micros: i64,
    /// The document.
    pub document: Document,
    /// What `/flags/` shows beyond the document. `None` (an edge for an existing Flagsmith) answers
    /// the Edge API's slim shape.
    #[serde(default)]
    pub details: Option<Details>,
    /// The environment's server-side keys.
    #[serde(default)]
    pub server_keys: Vec<ServerKey>,
}

/// Fields of the full flag shape (flagsmith-api.md A.3) that the environment document lacks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Details {
    /// By feature id.
    pub features: BTreeMap<i64, FeatureDetails>,
    /// By `featurestate_uuid`.
    pub states: BTreeMap<String, StateDetails>,
    /// Descriptions of segments, by segment id; one that is not here has none.
    #[serde(default)]
    pub segments: BTreeMap<i64, String>,
}

/// What is shown of a feature beyond id, name and type.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FeatureDetails {
    /// ISO 8601 with `Z`, as answered.
    pub created_date: String,
    /// Description.
    pub description: Option<String>,
    /// Initial value, always text.
    pub initial_value: Option<String>,
    /// Whether the feature starts enabled.
    pub default_enabled: bool,
}

/// Row ids of a feature state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct StateDetails {
    /// Id of the feature state (not its salt).
    pub id: i64,
    /// Id of the feature segment, for a segment override.
    pub feature_segment: Option<i64>,
    /// Id of the identity, for an identity override.
    pub identity: Option<i64>,
}

/// A server-side key as an edge holds it: never the key itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerKey {
    /// SHA-256 of the whole key, `ser.` included, in lower-case hex.
    pub sha256: String,
    /// Whether it has not been revoked.
    pub active: bool,
    /// When it stops working, in microseconds since the epoch.
    #[serde(default)]
    pub expires_at_micros: Option<i64>,
}
