//! What a compiled publication answers.

use bytes::Bytes;
use serde_json::{Value, json};
use yardarm_core::snapshot::{
    Identity, OverrideBucket, Package, Publication, ServerKey, Side, Snapshot, Trait, TraitValue,
    compile,
};
use yardarm_core::time::Timestamp;

use crate::shared;

/// A small environment: a plain flag, a disabled one, a multivariate one, a server-only one; a
/// segment that turns the plain one off; an identity that has its own.
pub(crate) fn document() -> Value {
    let state = |id: i64, name: &str, kind: &str, enabled: bool, value: Value| {
        json!({
            "feature": {"id": id, "name": name, "type": kind}, "enabled": enabled,
            "django_id": 100 + id, "feature_segment": null,
            "featurestate_uuid": format!("state-{id}"),
            "feature_state_value": value, "multivariate_feature_state_values": []
        })
    };
    let mut many = state(3, "many", "MULTIVARIATE", true, json!("control value"));
    many["multivariate_feature_state_values"] = json!([
        {"multivariate_feature_option": {"value": "second", "id": 2, "key": null},
            "percentage_allocation": 50.0, "id": 12, "mv_fs_value_uuid": "b"},
        {"multivariate_feature_option": {"value": "first", "id": 1, "key": "one"},
            "percentage_allocation": 50.0, "id": 11, "mv_fs_value_uuid": "a"},
    ]);
    let mut of_segment = state(1, "Plain", "STANDARD", false, json!("of the segment"));
    of_segment["featurestate_uuid"] = json!("of-segment");
    of_segment["feature_segment"] = json!({"priority": 0});
    let mut of_identity = state(1, "Plain", "STANDARD", true, json!(7));
    of_identity["featurestate_uuid"] = json!("of-identity");
    let mut of_identity_second = state(2, "off", "STANDARD", true, json!(null));
    of_identity_second["featurestate_uuid"] = json!("of-identity-second");
    json!({
        "id": 9, "api_key": "key",
        "project": {
            "id": 1, "name": "p",
            "organisation": {"id": 1, "name": "o", "feature_analytics": false,
                "stop_serving_flags": false, "persist_trait_data": true},
            "hide_disabled_flags": false,
            "segments": [{"id": 5, "name": "grown \u{fc}p", "rules": [{"type": "ALL", "rules": [
                {"type": "ANY", "conditions": [
                    {"operator": "GREATER_THAN", "value": "17", "property_": "age"}], "rules": []}
            ], "conditions": []}], "feature_states": [of_segment]}],
            "enable_realtime_updates": false, "server_key_only_feature_ids": [4]
        },
        "feature_states": [
            state(1, "Plain", "STANDARD", true, json!("d\u{e9}fault")),
            state(2, "off", "STANDARD", false, json!(null)),
            many,
            state(4, "secret", "STANDARD", true, json!(true)),
        ],
        "identity_overrides": [{
            "identifier": "vip", "environment_api_key": "key", "created_date": null,
            "identity_features": [of_identity_second, of_identity], "identity_traits": [],
            "identity_uuid": null, "django_id": 70, "dashboard_alias": null, "composite_key": "key_vip"
        }],
        "name": "Production", "allow_client_traits": true, "updated_at": "2026-01-01T00:00:00+00:00",
        "hide_sensitive_data": false, "hide_disabled_flags": null,
        "use_identity_composite_key_for_hashing": true, "use_identity_overrides_in_local_eval": true
    })
}

pub(crate) fn publication(document: &Value, has_details: bool) -> Publication {
    let details = has_details.then(|| {
        json!({
            "features": {"1": {"created_date": "2026-01-01T00:00:00Z", "description": "d",
                "initial_value": "i", "default_enabled": true}},
            "states": {
                "state-1": {"id": 11, "feature_segment": null, "identity": null},
                "of-segment": {"id": 12, "feature_segment": 55, "identity": null},
                "of-identity": {"id": 13, "feature_segment": null, "identity": 70},
            },
            "segments": {"5": "of age"}
        })
    });
    serde_json::from_value(json!({
        "version": 3, "updated_at_micros": 1_689_172_003_899_101_i64, "document": document,
        "details": details,
    }))
    .expect("a publication")
}

struct Compiled {
    package: Package,
    snapshot: Snapshot,
}

impl Compiled {
    fn new(publication: &Publication) -> Self {
        let (package, warnings) = compile(publication);
        assert_eq!(warnings, Vec::<String>::new());
        let package = Package::open(package.bytes()).expect("opens");
        let snapshot = Snapshot::open(package.snapshot()).expect("opens");
        Self { package, snapshot }
    }

    fn identity(&self, side: Side, identifier: &str, age: Option<i64>) -> Value {
        let traits: Vec<Trait<'_>> = age
            .map(|age| Trait {
                key: "age",
                value: TraitValue::Int(age),
            })
            .into_iter()
            .collect();
        let identity = Identity {
            identifier,
            hash_key: None,
            traits: &traits,
        };
        let bucket = self
            .snapshot
            .override_part(identifier)
            .and_then(|bucket| self.package.part(bucket))
            .map(OverrideBucket::new);
        let mut out = Vec::new();
        self.snapshot
            .write_identity_flags(side, &identity, bucket.as_ref(), &mut out);
        assert!(out.is_ascii());
        serde_json::from_slice(&out).expect("JSON")
    }
}

fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn flags_have_the_full_shape() {
    let compiled = Compiled::new(&publication(&document(), true));
    let (body, etag) = compiled.snapshot.flags(Side::Server);
    assert!(text(&body).starts_with(
        r#"[{"id":11,"feature":{"id":1,"name":"Plain","created_date":"2026-01-01T00:00:00Z","description":"d","initial_value":"i","default_enabled":true,"type":"STANDARD"},"feature_state_value":"d\u00e9fault","environment":9,"identity":null,"feature_segment":null,"enabled":true},{"#
    ));
    assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() == 34);
    let (client, client_etag) = compiled.snapshot.flags(Side::Client);
    let names = |body: &Bytes| -> Vec<Value> {
        let flags: Vec<Value> = serde_json::from_slice(body).expect("JSON");
        flags
            .iter()
            .map(|flag| flag["feature"]["name"].clone())
            .collect()
    };
    assert_eq!(names(&body), ["Plain", "off", "many", "secret"]);
    assert_eq!(names(&client), ["Plain", "off", "many"]);
    assert_ne!(etag, client_etag);
}

#[test]
fn flags_without_details_have_the_slim_shape() {
    let compiled = Compiled::new(&publication(&document(), false));
    let flag = compiled
        .snapshot
        .flag(Side::Client, "pLAIN")
        .expect("is there");
    assert_eq!(
        text(&flag),
        r#"{"feature":{"id":1,"name":"Plain","type":"STANDARD"},"enabled":true,"feature_state_value":"d\u00e9fault"}"#
    );
    let many = &compiled.identity(Side::Client, "someone", None)[2];
    let keys: Vec<&String> = many.as_object().expect("an object").keys().collect();
    assert_eq!(
        keys,
        ["feature", "enabled", "feature_state_value", "variant"]
    );
}

#[test]
fn one_flag_by_name() {
    let snapshot = Compiled::new(&publication(&document(), true)).snapshot;
    assert_eq!(
        snapshot.flag(Side::Client, ""),
        snapshot.flag(Side::Client, "plain")
    );
    assert_eq!(snapshot.flag(Side::Client, "secret"), None);
    assert!(snapshot.flag(Side::Server, "SECRET").is_some());
    assert_eq!(snapshot.flag(Side::Server, "nope"), None);
    assert!(snapshot.has_feature("Plain") && !snapshot.has_feature("plain"));
}

#[test]
fn overrides_take_precedence() {
    let compiled = Compiled::new(&publication(&document(), true));
    let plain = |identifier, age| compiled.identity(Side::Client, identifier, age)[0].clone();
    assert_eq!(
        plain("someone", None)["feature_state_value"],
        "d\u{e9}fault"
    );
    let of_segment = plain("someone", Some(18));
    assert_eq!(of_segment["feature_state_value"], "of the segment");
    assert_eq!(of_segment["feature_segment"], 55);
    assert_eq!(of_segment["enabled"], false);
    assert_eq!(of_segment["feature"]["description"], "d");
    let of_identity = plain("vip", Some(18));
    assert_eq!(of_identity["feature_state_value"], 7);
    assert_eq!(of_identity["identity"], 70);
    assert_eq!(
        compiled.identity(Side::Client, "vip", None)[1]["enabled"],
        true
    );
    assert_eq!(
        compiled.identity(Side::Client, "vi", None)[1]["enabled"],
        false
    );
}

#[test]
fn variants_are_tried_by_id() {
    let compiled = Compiled::new(&publication(&document(), true));
    for identifier in ["a", "b", "c", "d", "e"] {
        let hashed =
            yardarm_core::engine::percentage(b"103,", format!("key_{identifier}").as_bytes());
        let many = &compiled.identity(Side::Client, identifier, None)[2];
        let expected = if hashed < 50.0 {
            (json!("first"), json!("one"))
        } else {
            (json!("second"), json!(null))
        };
        assert_eq!(
            (many["feature_state_value"].clone(), many["variant"].clone()),
            expected
        );
    }
}

#[test]
fn disabled_flags_are_hidden_where_so_set() {
    let mut hiding = document();
    hiding["hide_disabled_flags"] = json!(true);
    let compiled = Compiled::new(&publication(&hiding, true));
    let names = |flags: &Value| -> Vec<String> {
        let flags = flags.as_array().expect("a list").iter();
        flags
            .map(|flag| flag["feature"]["name"].as_str().expect("text").to_owned())
            .collect()
    };
    let (body, _) = compiled.snapshot.flags(Side::Client);
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(names(&body), ["Plain", "many"]);
    assert_eq!(compiled.snapshot.flag(Side::Server, "off"), None);
    assert_eq!(
        names(&compiled.identity(Side::Server, "x", Some(18))),
        ["many", "secret"]
    );
    // An override shows what is hidden by default.
    assert_eq!(
        names(&compiled.identity(Side::Client, "vip", None)),
        ["Plain", "off", "many"]
    );

    let mut of_project = document();
    of_project["project"]["hide_disabled_flags"] = json!(true);
    let (body, _) = Compiled::new(&publication(&of_project, true))
        .snapshot
        .flags(Side::Client);
    assert_eq!(
        names(&serde_json::from_slice(&body).expect("JSON")),
        ["Plain", "many"]
    );
    of_project["hide_disabled_flags"] = json!(false);
    let (body, _) = Compiled::new(&publication(&of_project, true))
        .snapshot
        .flags(Side::Client);
    assert_eq!(
        names(&serde_json::from_slice(&body).expect("JSON")),
        ["Plain", "off", "many"]
    );
}

#[test]
fn sensitive_data_is_hidden_where_so_set() {
    let mut hiding = document();
    hiding["hide_sensitive_data"] = json!(true);
    let compiled = Compiled::new(&publication(&hiding, true));
    let (body, _) = compiled.snapshot.flags(Side::Client);
    assert!(text(&body).starts_with(
        r#"[{"id":null,"feature":{"id":1,"name":"Plain","created_date":null,"description":null,"initial_value":null,"default_enabled":null,"type":"STANDARD"},"feature_state_value":"d\u00e9fault","environment":null,"identity":null,"feature_segment":null,"enabled":true}"#
    ));
    let vip = &compiled.identity(Side::Client, "vip", None)[0];
    assert_eq!((&vip["identity"], &vip["id"]), (&json!(null), &json!(null)));
}

#[test]
fn one_flag_of_an_identity() {
    let compiled = Compiled::new(&publication(&document(), false));
    let identity = Identity {
        identifier: "x",
        hash_key: None,
        traits: &[],
    };
    let mut out = b"before".to_vec();
    let mut ask = |side, name| {
        compiled
            .snapshot
            .write_identity_flag(side, &identity, None, name, &mut out)
    };
    assert!(!ask(Side::Client, "secret"));
    assert!(!ask(Side::Client, "nope"));
    assert!(ask(Side::Client, "OFF"));
    assert_eq!(
        String::from_utf8_lossy(&out),
        r#"before{"feature":{"id":2,"name":"off","type":"STANDARD"},"enabled":false,"feature_state_value":null,"variant":null}"#
    );
}

#[test]
fn segments_of_an_identity() {
    let compiled = Compiled::new(&publication(&document(), true));
    let traits = [Trait {
        key: "age",
        value: TraitValue::Text("18"),
    }];
    let write = |traits| {
        let mut out = Vec::new();
        let identity = Identity {
            identifier: "x",
            hash_key: None,
            traits,
        };
        compiled
            .snapshot
            .write_identity_segments(&identity, &mut out);
        String::from_utf8(out).expect("UTF-8")
    };
    assert_eq!(write(&[]), "[]");
    assert_eq!(
        write(&traits),
        r#"[{"id":5,"name":"grown \u00fcp","description":"of age"}]"#
    );
}

#[test]
fn multivariate_options() {
    for has_details in [true, false] {
        let snapshot = Compiled::new(&publication(&document(), has_details)).snapshot;
        let options = |side, id| {
            let body = snapshot.multivariate_options(side, id)?;
            Some(text(&body).to_owned())
        };
        assert_eq!(
            options(Side::Client, 3).as_deref(),
            Some(
                r#"{"control_value":"control value","options":[{"value":"second"},{"value":"first"}]}"#
            )
        );
        assert_eq!(
            options(Side::Client, 1).as_deref(),
            Some(r#"{"control_value":"d\u00e9fault","options":[]}"#)
        );
        assert_eq!(options(Side::Client, 4), None);
        assert_eq!(
            options(Side::Server, 4).as_deref(),
            Some(r#"{"control_value":true,"options":[]}"#)
        );
        assert_eq!(options(Side::Server, 99), None);
    }
}

#[test]
fn the_head_is_at_hand() {
    let Compiled { package, snapshot } = Compiled::new(&publication(&document(), true));
    assert_eq!(snapshot.environment_key(), "key");
    assert_eq!(snapshot.version(), 3);
    assert_eq!(snapshot.updated_at(), Timestamp(1_689_172_003_899_101));
    assert_eq!(snapshot.updated_at_header(), "1689172003.899101");
    assert_eq!(snapshot.last_modified(), "Wed, 12 Jul 2023 14:26:43 GMT");
    assert_eq!(snapshot.content_hash(), package.meta().content_hash);
    assert_eq!(snapshot.content_hash().len(), 64);
    let settings = snapshot.settings();
    assert!(settings.allow_client_traits && settings.persist_trait_data && !settings.gone);
    assert_eq!(
        serde_json::from_slice::<Value>(&package.document_page(0).expect("a page")).expect("JSON"),
        document()
    );
}

#[test]
fn documents_are_served_without_overrides_where_so_set() {
    let mut without = document();
    without["use_identity_overrides_in_local_eval"] = json!(false);
    let compiled = Compiled::new(&publication(&without, true));
    let served = compiled.package.document_page(0).expect("a page");
    let served: Value = serde_json::from_slice(&served).expect("JSON");
    assert_eq!(served["identity_overrides"], json!([]));
    assert_eq!(
        compiled.identity(Side::Client, "vip", None)[0]["feature_state_value"],
        7
    );
}

#[test]
fn server_keys_expire_and_are_revoked() {
    let mut publication = publication(&document(), true);
    let key = |byte: u8, active, expires_at_micros| ServerKey {
        sha256: format!("{byte:02x}").repeat(32),
        active,
        expires_at_micros,
    };
    publication.server_keys = vec![
        key(3, true, Some(1000)),
        key(1, true, None),
        key(2, false, None),
    ];
    let Compiled { package, snapshot } = Compiled::new(&publication);
    let accepts = |byte, now| snapshot.accepts_server_key(&[byte; 32], Timestamp(now));
    assert!(accepts(1, i64::MAX));
    assert!(!accepts(2, 0));
    assert!(accepts(3, 999) && !accepts(3, 1000));
    assert!(!accepts(4, 0));
    let hashes: Vec<String> = (1..=3)
        .map(|byte| format!("{byte:02x}").repeat(32))
        .collect();
    assert_eq!(package.meta().server_keys, hashes);
}

#[test]
fn tombstones_are_gone() {
    let package = Package::tombstone("key", 8, 5);
    let package = Package::open(package.bytes()).expect("opens");
    let meta = package.meta();
    assert_eq!(
        (meta.environment_key.as_str(), meta.version, meta.gone),
        ("key", 8, true)
    );
    assert_eq!(meta.updated_at_micros, 5);
    let snapshot = Snapshot::open(package.snapshot()).expect("opens");
    assert!(snapshot.settings().gone);
    assert_eq!(snapshot.flag(Side::Server, ""), None);
    assert_eq!(snapshot.override_part("x"), None);
}

#[test]
fn parts_that_did_not_change_keep_their_names() {
    let first = Compiled::new(&publication(&document(), true)).package;
    let mut newer = publication(&document(), true);
    newer.version = 4;
    newer.document.updated_at = Some("2026-01-02T00:00:00+00:00".to_owned());
    let newer = Compiled::new(&newer).package;
    assert_ne!(newer.meta().content_hash, first.meta().content_hash);
    // The document says when it changed; the bucket says nothing of the kind.
    let names = |package: &Package| {
        let snapshot = package.opened().clone();
        [0, 1].map(|number| snapshot.part_name(number).expect("is there").to_hex())
    };
    let (before, after) = (names(&first), names(&newer));
    assert_ne!(before[0], after[0]);
    assert_eq!(before[1], after[1]);
}

#[test]
fn what_is_no_bucket_counts_as_an_empty_one() {
    let compiled = Compiled::new(&publication(&document(), true));
    let identity = Identity {
        identifier: "vip",
        hash_key: None,
        traits: &[],
    };
    let document = compiled.package.part(0).expect("is there");
    for bytes in [Bytes::new(), document] {
        let mut out = Vec::new();
        let bucket = OverrideBucket::new(bytes);
        let snapshot = &compiled.snapshot;
        snapshot.write_identity_flags(Side::Client, &identity, Some(&bucket), &mut out);
        let flags: Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(flags[0]["identity"], json!(null));
    }
}

#[test]
fn the_published_profiles_compile() {
    for profile in ["A", "B", "S"] {
        let Some(document) = shared::text(&format!("bench/env-{profile}.json")) else {
            return;
        };
        let document: Value = serde_json::from_str(&document).expect("JSON");
        let compiled = Compiled::new(&publication(&document, false));
        let flags = compiled.identity(Side::Client, "vip_000", Some(34));
        let count = document["feature_states"].as_array().expect("a list").len();
        assert_eq!(flags.as_array().expect("a list").len(), count);
    }
}
