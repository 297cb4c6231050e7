//! A snapshot section with damage anywhere behind its first bytes is asked for everything.
#![no_main]

use std::sync::OnceLock;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use yardarm_core::snapshot::{
    Identity, OverrideBucket, Package, Publication, Side, Snapshot, Trait, TraitValue, compile,
};
use yardarm_core::time::Timestamp;

/// Something of everything.
fn package() -> &'static Package {
    static PACKAGE: OnceLock<Package> = OnceLock::new();
    PACKAGE.get_or_init(|| {
        let condition = |operator: &str, property: &str, value: &str| {
            json!({"operator": operator, "property_": property, "value": value})
        };
        let state = |id: i64| {
            json!({"feature": {"id": id, "name": format!("f{id}"), "type": "MULTIVARIATE"},
                "enabled": true, "django_id": id, "feature_state_value": "v",
                "multivariate_feature_state_values": [{"multivariate_feature_option":
                    {"value": "o", "id": 1}, "percentage_allocation": 50.0, "id": 1}]})
        };
        let rules = json!([{"type": "ANY", "rules": [{"type": "NONE", "rules": [], "conditions": [
            condition("IN", "x", "a,b"), condition("REGEX", "x", "^a"), condition("MODULO", "y", "2|1"),
            condition("EQUAL", "$.identity.traits.*", "1.2.3:semver")]}], "conditions": [
            condition("PERCENTAGE_SPLIT", "", "30"), condition("GREATER_THAN", "$.environment.name", "2")]}]);
        let document = json!({"id": 1, "api_key": "key", "project": {"id": 1,
            "organisation": {"id": 1}, "segments": [{"id": 1, "rules": rules,
            "feature_states": [state(1)]}]}, "feature_states": [state(1), state(2)],
            "identity_overrides": [{"identifier": "i", "identity_features": [state(2)]}]});
        let publication: Publication = serde_json::from_value(json!({"version": 1,
            "updated_at_micros": 1, "document": document, "server_keys": [
            {"sha256": "00".repeat(32), "active": true}]})).expect("a publication");
        compile(&publication).0
    })
}

fuzz_target!(|changes: Vec<(u16, u8)>| {
    const KEPT: usize = 16;
    let damage = |bytes: Bytes| {
        let mut bytes = bytes.to_vec();
        for (at, value) in &changes {
            let at = KEPT + usize::from(*at) % (bytes.len() - KEPT);
            bytes[at] = *value;
        }
        Bytes::from(bytes)
    };
    let snapshot = Snapshot::open(damage(package().snapshot())).expect("the first bytes are whole");
    let bucket = OverrideBucket::new(damage(package().part(1).expect("is there")));
    let traits = [Trait { key: "x", value: TraitValue::Text("ab") }];
    let identity = Identity { identifier: "i", hash_key: None, traits: &traits };
    for side in [Side::Client, Side::Server] {
        snapshot.write_identity_flags(side, &identity, Some(&bucket), &mut Vec::new());
        snapshot.write_identity_flag(side, &identity, Some(&bucket), "F2", &mut Vec::new());
        let _ = (snapshot.flags(side), snapshot.flag(side, ""), snapshot.flag(side, "f1"));
        let _ = snapshot.multivariate_options(side, 1);
    }
    snapshot.write_identity_segments(&identity, &mut Vec::new());
    let _ = (snapshot.environment_key(), snapshot.content_hash(), snapshot.last_modified());
    let _ = (snapshot.updated_at_header(), snapshot.settings());
    let base = package().part(0).expect("is there");
    for page in 0..snapshot.document_pages().min(4) {
        let chunks = snapshot.document_page(page).map(|page| page.chunks.len());
        let _ = snapshot.join_document(&base, &vec![base.clone(); chunks.unwrap_or(0).min(3)]);
    }
    let _ = (0..snapshot.parts().min(4)).filter_map(|part| snapshot.part_name(part)).count();
    let _ = (snapshot.has_feature("f1"), snapshot.override_part("i"));
    let _ = snapshot.accepts_server_key(&[0; 32], Timestamp(0));
});
