//! A small environment of its own for each run, so that a server can be checked again and again
//! although versions only grow.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use yardarm_core::snapshot::{Package, Publication, compile};

/// The one flag it has.
pub const FLAG: &str = "conformance_flag";

/// An environment with one flag, whose value tells its version.
#[derive(Debug, Clone)]
pub struct Environment {
    /// Its client-side key.
    pub key: String,
}

impl Environment {
    /// One that no server has seen yet.
    pub fn fresh(purpose: &str) -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            key: format!("{purpose}{}", now.as_nanos()),
        }
    }

    /// What its flag is worth in a version.
    pub fn value(version: u64) -> String {
        format!("value of version {version}")
    }

    /// A version of it, compiled.
    pub fn package(&self, version: u64) -> Package {
        compile(&self.publication(version)).0
    }

    fn publication(&self, version: u64) -> Publication {
        let publication = json!({
            "version": version,
            "updated_at_micros": 1_767_225_600_000_000_i64 + i64::try_from(version).unwrap_or(0),
            "document": {
                "id": 1,
                "api_key": self.key,
                "name": "Conformance",
                "updated_at": "2026-01-01T00:00:00.000000+00:00",
                "allow_client_traits": true,
                "hide_sensitive_data": false,
                "hide_disabled_flags": null,
                "use_identity_composite_key_for_hashing": true,
                "use_identity_overrides_in_local_eval": true,
                "project": {
                    "id": 1,
                    "name": "Conformance",
                    "hide_disabled_flags": false,
                    "enable_realtime_updates": false,
                    "server_key_only_feature_ids": [],
                    "organisation": {
                        "id": 1,
                        "name": "Conformance",
                        "feature_analytics": false,
                        "stop_serving_flags": false,
                        "persist_trait_data": true
                    },
                    "segments": []
                },
                "feature_states": [{
                    "feature": { "id": 1, "name": FLAG, "type": "STANDARD" },
                    "enabled": true,
                    "django_id": 1,
                    "feature_segment": null,
                    "featurestate_uuid": "00000000-0000-4000-8000-000000000001",
                    "feature_state_value": Self::value(version),
                    "multivariate_feature_state_values": []
                }],
                "identity_overrides": []
            }
        });
        #[expect(clippy::expect_used, reason = "the text above is the shape")]
        serde_json::from_value(publication).expect("a publication")
    }
}
