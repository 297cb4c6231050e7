//! The environments behind the recorded exchanges, put together from what was recorded of them, and
//! edited as the recorded admin requests did.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use yardarm_core::edge::{Host as _, IdentityRecord};
use yardarm_core::snapshot::document::{Document, FeatureState};
use yardarm_core::snapshot::publication::{Details, FeatureDetails, StateDetails};
use yardarm_core::snapshot::{Package, Publication, ServerKey, compile};
use yardarm_core::testing::{MemoryHost, run_ready};
use yardarm_core::time::Timestamp;

/// After the last of the recording.
const NOW: Timestamp = Timestamp::from_secs(1_795_400_000);
const DEVELOPMENT: &str = "oracleDevelopmentKey01";
/// The feature that gets an override by each toxic segment.
const TOXIC_FEATURE: i64 = 4;
/// See [`break_tie`].
const SECOND_OF_TIE: i64 = 57;

/// One host with all environments.
pub(crate) struct World {
    host: MemoryHost,
    environments: Vec<Publication>,
    /// By server-side key.
    keys: BTreeMap<String, String>,
    version: u64,
}

impl World {
    /// As it was before the first exchange.
    pub(crate) fn of(exchanges: &[Value]) -> Self {
        let documents = ["envdoc server key", "envdoc v2", "envdoc prod"];
        let documents = documents.map(|label| labelled(exchanges, label));
        let (features, rows, segments) = learn(exchanges);
        let mut keys = BTreeMap::new();
        let mut environments = Vec::new();
        for exchange in documents {
            let body = exchange["resp_body"].clone();
            let mut document: Document =
                serde_json::from_value(body).expect("an environment document");
            break_tie(&mut document);
            keys.insert(key_of(exchange).to_owned(), document.api_key.clone());
            let row_of = |state: &FeatureState| {
                let salt = state.django_id.unwrap_or_default();
                let known = rows.get(&(document.id, state.feature.id, Some(salt)));
                known.copied().unwrap_or(StateDetails {
                    id: salt,
                    ..StateDetails::default()
                })
            };
            // In a versioned environment the salt is the id of an earlier state.
            let row_of_default = |state: &FeatureState| {
                let known = rows.get(&(document.id, state.feature.id, None));
                known.copied().unwrap_or_else(|| row_of(state))
            };
            let defaults = document
                .feature_states
                .iter()
                .map(|of| (of, row_of_default(of)));
            let of_segments = document
                .project
                .segments
                .iter()
                .flat_map(|of| &of.feature_states);
            let of_identities = document
                .identity_overrides
                .iter()
                .flat_map(|of| &of.identity_features);
            let overrides = of_segments.chain(of_identities).map(|of| (of, row_of(of)));
            let states = defaults.chain(overrides);
            let states = states
                .map(|(of, row)| (of.featurestate_uuid.clone(), row))
                .collect();
            let details = Details {
                features: features.clone(),
                states,
                segments: segments.clone(),
            };
            environments.push(Publication {
                version: 0,
                updated_at_micros: updated_at(exchange).unwrap_or_default(),
                document,
                details: Some(details),
                server_keys: Vec::new(),
            });
        }
        for (server, environment) in &keys {
            let publication = environments
                .iter_mut()
                .find(|of| of.document.api_key == *environment);
            publication
                .expect("its environment")
                .server_keys
                .push(ServerKey {
                    sha256: sha256(server),
                    active: true,
                    expires_at_micros: None,
                });
        }
        let host = MemoryHost::new(None, NOW).with_row_ids();
        let mut world = Self {
            host,
            environments,
            keys,
            version: 0,
        };
        for number in 0..world.environments.len() {
            world.publish(number);
        }
        world.seed(exchanges);
        world
    }

    pub(crate) fn host(&self) -> &MemoryHost {
        &self.host
    }

    /// Identities that were there before, and those whose row id decides their buckets.
    fn seed(&self, exchanges: &[Value]) {
        let alice = &labelled(exchanges, "id get alice server")["resp_body"];
        let traits: Vec<Value> = alice["traits"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|of| json!({ "id": of["id"], "key": of["trait_key"], "value": of["trait_value"] }))
            .collect();
        let record = json!({ "id": 1, "created_at_micros": 0, "traits": traits });
        let record: IdentityRecord = serde_json::from_value(record).expect("a record");
        self.host.store_identity(DEVELOPMENT, "alice", record);
        let listed = &labelled(exchanges, "hash id-based identities")["resp_body"]["results"];
        for identity in listed.as_array().into_iter().flatten() {
            let record = IdentityRecord {
                id: identity["id"].as_i64(),
                ..IdentityRecord::default()
            };
            let identifier = identity["identifier"].as_str().unwrap_or_default();
            self.host.store_identity(DEVELOPMENT, identifier, record);
        }
    }

    fn publish(&mut self, number: usize) {
        self.version += 1;
        let publication = &mut self.environments[number];
        publication.version = self.version;
        let package = compile(publication).0;
        run_ready(self.host.install(&package)).expect("a store in memory works");
    }

    /// Takes over when the environment last changed, which Flagsmith tells with most answers.
    pub(crate) fn follow(&mut self, exchange: &Value) {
        let key = key_of(exchange);
        let environment = self.keys.get(key).map_or(key, String::as_str);
        let found = self
            .environments
            .iter()
            .position(|of| of.document.api_key == environment);
        let Some(number) = found else { return };
        let publication = &mut self.environments[number];
        let former = publication.clone();
        if let Some(updated_at) = updated_at(exchange) {
            publication.updated_at_micros = updated_at;
        }
        if let Some(updated_at) = exchange["resp_body"]["updated_at"].as_str() {
            publication.document.updated_at = Some(updated_at.to_owned());
        }
        // These two switches were set in the database.
        let label = exchange["label"].as_str().unwrap_or_default();
        let organisation = &mut publication.document.project.organisation;
        organisation.persist_trait_data = !label.starts_with("no persist org");
        organisation.stop_serving_flags = label.starts_with("stop serving");
        if *publication != former {
            self.publish(number);
        }
    }

    /// Does what a recorded admin request did, where SDK answers depend on it.
    pub(crate) fn edit(&mut self, exchange: &Value) {
        let (method, path) = (
            &exchange["method"],
            exchange["path"].as_str().unwrap_or_default(),
        );
        let body = &exchange["req_body"];
        let parts: Vec<&str> = path.trim_matches('/').split('/').skip(2).collect();
        match (method.as_str().unwrap_or_default(), parts.as_slice()) {
            ("PATCH", ["environments", _]) => self.set_switches(body),
            ("PATCH", ["projects", _]) => {
                let hides = body["hide_disabled_flags"].as_bool().unwrap_or_default();
                self.environments[0].document.project.hide_disabled_flags = hides;
                self.publish(0);
            }
            ("PATCH", ["environments", _, "featurestates", "1"]) => {
                let enabled = body["enabled"].as_bool().unwrap_or_default();
                self.environments[0].document.feature_states[0].enabled = enabled;
                self.publish(0);
            }
            ("POST", ["projects", _, "segments"]) => self.add_segment(exchange),
            ("POST", ["environments", _, "features", _, "create-segment-override"]) => {
                self.add_override(exchange);
            }
            ("DELETE", ["projects", _, "segments", id]) => {
                let segments = &mut self.environments[0].document.project.segments;
                segments.retain(|segment| segment.id.to_string() != *id);
                self.publish(0);
            }
            _ => {}
        }
    }

    fn set_switches(&mut self, body: &Value) {
        let document = &mut self.environments[0].document;
        let former = document.api_key.clone();
        for (name, value) in body.as_object().into_iter().flatten() {
            let is_set = value.as_bool().unwrap_or_default();
            match name.as_str() {
                "allow_client_traits" => document.allow_client_traits = is_set,
                "hide_sensitive_data" => document.hide_sensitive_data = is_set,
                "hide_disabled_flags" => document.hide_disabled_flags = value.as_bool(),
                "use_identity_composite_key_for_hashing" => {
                    document.use_identity_composite_key_for_hashing = is_set;
                }
                "use_identity_overrides_in_local_eval" => {
                    document.use_identity_overrides_in_local_eval = is_set;
                }
                "api_key" => value
                    .as_str()
                    .unwrap_or_default()
                    .clone_into(&mut document.api_key),
                _ => {}
            }
        }
        if former != document.api_key {
            self.version += 1;
            let tombstone = Package::tombstone(&former, self.version, 0);
            run_ready(self.host.install(&tombstone)).expect("a store in memory works");
        }
        self.publish(0);
    }

    fn add_segment(&mut self, exchange: &Value) {
        let mut segment = exchange["req_body"].clone();
        segment["id"] = exchange["resp_body"]["id"].clone();
        rename_properties(&mut segment);
        let segment = serde_json::from_value(segment).expect("a segment");
        self.environments[0].document.project.segments.push(segment);
        self.publish(0);
    }

    fn add_override(&mut self, exchange: &Value) {
        let made = &exchange["resp_body"];
        let publication = &mut self.environments[0];
        let mut states = publication.document.feature_states.iter();
        let feature = states.find(|state| state.feature.id == TOXIC_FEATURE);
        let state = json!({
            "feature": feature.expect("the feature").feature,
            "enabled": made["enabled"],
            "django_id": made["id"],
            "feature_segment": { "priority": made["feature_segment"]["priority"] },
            "featurestate_uuid": made["uuid"],
            "feature_state_value": made["feature_state_value"]["string_value"],
        });
        let row = StateDetails {
            id: made["id"].as_i64().unwrap_or_default(),
            feature_segment: made["feature_segment"]["id"].as_i64(),
            identity: None,
        };
        let uuid = made["uuid"].as_str().unwrap_or_default().to_owned();
        publication
            .details
            .as_mut()
            .expect("details")
            .states
            .insert(uuid, row);
        let mut segments = publication.document.project.segments.iter_mut();
        let id = made["feature_segment"]["segment"].as_i64();
        let segment = segments
            .find(|segment| Some(segment.id) == id)
            .expect("its segment");
        segment
            .feature_states
            .push(serde_json::from_value(state).expect("a state"));
        self.publish(0);
    }
}

/// Two overrides of one flag have the same priority in the recording. Flagsmith's SDKs take the first,
/// and so does this engine; its API took the second.
fn break_tie(document: &mut Document) {
    let overrides = document
        .project
        .segments
        .iter_mut()
        .flat_map(|of| &mut of.feature_states);
    for state in overrides.filter(|state| state.django_id == Some(SECOND_OF_TIE)) {
        state
            .feature_segment
            .as_mut()
            .expect("a segment override")
            .priority = Some(-1);
    }
}

fn labelled<'e>(exchanges: &'e [Value], label: &str) -> &'e Value {
    exchanges
        .iter()
        .find(|of| of["label"] == label)
        .unwrap_or(&Value::Null)
}

fn key_of(exchange: &Value) -> &str {
    exchange["req_headers"]["X-Environment-Key"]
        .as_str()
        .unwrap_or_default()
        .trim()
}

fn updated_at(exchange: &Value) -> Option<i64> {
    let text = exchange["resp_headers"]["X-Flagsmith-Document-Updated-At"].as_str()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let micros: i64 = format!("{fraction:0<6}").parse().ok()?;
    Some(seconds.parse::<i64>().ok()? * 1_000_000 + micros)
}

fn sha256(text: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(text).into();
    digest.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// As the environment document has them: `property_`, and text for every value.
fn rename_properties(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(rename_properties),
        Value::Object(fields) => {
            if let Some(property) = fields.remove("property") {
                fields.insert("property_".to_owned(), property);
                let text = fields
                    .get("value")
                    .and_then(Value::as_str)
                    .unwrap_or("None")
                    .to_owned();
                fields.insert("value".to_owned(), Value::String(text));
            }
            fields.values_mut().for_each(rename_properties);
        }
        _ => {}
    }
}

type Rows = BTreeMap<(i64, i64, Option<i64>), StateDetails>;

/// What answers told beyond the documents: of features; of states, by environment, feature and id, or
/// none for the environment's default; and the descriptions of segments.
fn learn(exchanges: &[Value]) -> (BTreeMap<i64, FeatureDetails>, Rows, BTreeMap<i64, String>) {
    let (mut features, mut rows, mut segments) =
        (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let shown = exchanges.iter().flat_map(|exchange| {
        let body = &exchange["resp_body"];
        let flags = body["flags"].as_array().or(body.as_array());
        let flags = flags.into_iter().flatten().chain(std::iter::once(body));
        flags.filter_map(Value::as_object)
    });
    for flag in shown {
        let Some(id) = flag.get("id").and_then(Value::as_i64) else {
            continue;
        };
        let Some(feature) = flag
            .get("feature")
            .filter(|of| of["created_date"].is_string())
        else {
            continue;
        };
        let of = |name: &str| flag.get(name).and_then(Value::as_i64);
        let feature_id = feature["id"].as_i64().unwrap_or_default();
        let text = |name: &str| feature[name].as_str().map(str::to_owned);
        features
            .entry(feature_id)
            .or_insert_with(|| FeatureDetails {
                created_date: text("created_date").unwrap_or_default(),
                description: text("description"),
                initial_value: text("initial_value"),
                default_enabled: feature["default_enabled"].as_bool().unwrap_or_default(),
            });
        let (feature_segment, identity) = (of("feature_segment"), of("identity"));
        let row = StateDetails {
            id,
            feature_segment,
            identity,
        };
        let environment = of("environment").unwrap_or_default();
        rows.entry((environment, feature_id, Some(id)))
            .or_insert(row);
        if feature_segment.or(identity).is_none() {
            rows.entry((environment, feature_id, None)).or_insert(row);
        }
    }
    let described = exchanges
        .iter()
        .filter_map(|of| of["resp_body"]["segments"].as_array());
    for segment in described.flatten().filter_map(Value::as_object) {
        let text = |map: &Map<String, Value>, name| {
            map.get(name).and_then(Value::as_str).map(str::to_owned)
        };
        let id = segment.get("id").and_then(Value::as_i64);
        if let (Some(id), Some(description)) = (id, text(segment, "description")) {
            segments.entry(id).or_insert(description);
        }
    }
    (features, rows, segments)
}
