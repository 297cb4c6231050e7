//! What holds whatever the data: laws of the engine and of the snapshot.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};
use yardarm_core::engine;
use yardarm_core::snapshot::{
    Identity, OverrideBucket, Package, Publication, Side, Snapshot, Trait, TraitValue, ascii_json,
    compile, context, inspect,
};
use yardarm_core::time::Timestamp;

use crate::{generated, reference};

fn identity_flags(
    package: &Package,
    side: Side,
    identifier: &str,
    traits: &[Trait<'_>],
) -> Vec<Value> {
    let snapshot = Snapshot::open(package.snapshot()).expect("opens");
    let bucket = snapshot
        .override_part(identifier)
        .and_then(|bucket| package.part(bucket))
        .map(OverrideBucket::new);
    let identity = Identity {
        identifier,
        hash_key: None,
        traits,
    };
    let mut out = Vec::new();
    snapshot.write_identity_flags(side, &identity, bucket.as_ref(), &mut out);
    serde_json::from_slice(&out).expect("JSON")
}

/// What the document's context answers, as far as flags show it.
fn expected(publication: &Publication, identifier: &str, x: Option<&str>) -> Vec<Value> {
    let mut context = context(&publication.document);
    context.identity = Some(engine::IdentityContext {
        identifier: identifier.to_owned(),
        traits: x.map(|x| ("x".to_owned(), x.into())).into_iter().collect(),
        ..engine::IdentityContext::default()
    });
    // An identity's overrides are a segment of its own, stronger than all (flagsmith-api.md B.6).
    let own = publication.document.identity_overrides.iter();
    let own = own
        .filter(|of| of.identifier == identifier)
        .flat_map(|of| &of.identity_features);
    let mut alone = publication.document.clone();
    alone.feature_states = own.cloned().collect();
    alone.project.segments.clear();
    let overrides: Vec<engine::Feature> = self::context(&alone)
        .features
        .into_iter()
        .map(|(_, feature)| engine::Feature {
            priority: Some(-1e9),
            ..feature
        })
        .collect();
    let rule = json!({"type": "ALL", "conditions": [
        {"property": "$.identity.identifier", "operator": "IN", "value": [identifier]}]});
    let segment = engine::Segment {
        name: "identity_overrides".to_owned(),
        rules: vec![serde_json::from_value(rule).expect("a rule")],
        overrides,
        ..engine::Segment::default()
    };
    context.segments.push((String::new(), segment));
    let hides = publication.document.hide_disabled_flags.unwrap_or(false);
    let flags = engine::evaluate(&context).flags.into_iter();
    flags
        .filter(|flag| flag.enabled || !hides)
        .map(|flag| json!([flag.name, flag.enabled, flag.value, flag.variant]))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The compiled form means what the context means.
    #[test]
    fn compiling_keeps_the_meaning(context in generated::context()) {
        let mut result = serde_json::to_value(engine::evaluate(&context)).expect("JSON");
        for flag in result["flags"].as_object_mut().expect("an object").values_mut() {
            flag.as_object_mut().expect("an object").remove("metadata");
        }
        prop_assert_eq!(result, reference::evaluate(&context));
    }

    /// A snapshot answers what its document's context evaluates to, identity overrides first.
    #[test]
    fn a_snapshot_answers_as_its_document_evaluates(
        publication in generated::publication(),
        number in 0_u32..6,
        x in prop::option::of(prop::sample::select(vec!["a", "1", "1.2.3", ""])),
    ) {
        let (package, _) = compile(&publication);
        let identifier = format!("i{number}");
        let traits: Vec<Trait<'_>> = x
            .map(|x| Trait { key: "x", value: TraitValue::Text(x) }).into_iter().collect();
        let answered: Vec<Value> = identity_flags(&package, Side::Server, &identifier, &traits)
            .iter()
            .map(|flag| json!([flag["feature"]["name"], flag["enabled"], flag["feature_state_value"], flag["variant"]]))
            .collect();
        prop_assert_eq!(&answered, &expected(&publication, &identifier, x));

        // A client sees the same but for what only servers see.
        let hidden = &publication.document.project.server_key_only_feature_ids;
        let for_client = identity_flags(&package, Side::Client, &identifier, &traits);
        let shown = |flag: &Value| !hidden.iter().any(|id| generated_name(*id) == flag[0]);
        let expected: Vec<Value> = answered.iter().filter(|flag| shown(flag)).map(|flag| flag[0].clone()).collect();
        let names: Vec<Value> = for_client.iter().map(|flag| flag["feature"]["name"].clone()).collect();
        prop_assert_eq!(names, expected);

        // One flag alone is the one of the list.
        let snapshot = Snapshot::open(package.snapshot()).expect("opens");
        let bucket = snapshot.override_part(&identifier)
            .and_then(|bucket| package.part(bucket)).map(OverrideBucket::new);
        let identity = Identity { identifier: &identifier, hash_key: None, traits: &traits };
        for flag in for_client {
            let name = flag["feature"]["name"].as_str().expect("text").to_uppercase();
            let mut out = Vec::new();
            prop_assert!(snapshot.write_identity_flag(Side::Client, &identity, bucket.as_ref(), &name, &mut out));
            prop_assert_eq!(serde_json::from_slice::<Value>(&out).expect("JSON"), flag);
        }
    }

    /// A document goes in and out without loss, and only ASCII comes out.
    #[test]
    fn documents_go_in_and_out(publication in generated::publication()) {
        let json = ascii_json::to_vec(&publication.document);
        prop_assert!(json.is_ascii());
        let again: Value = serde_json::from_slice(&json).expect("JSON");
        prop_assert_eq!(&again, &serde_json::to_value(&publication.document).expect("JSON"));
        prop_assert_eq!(
            &serde_json::from_slice::<yardarm_core::snapshot::document::Document>(&json).expect("a document"),
            &publication.document
        );
        let (package, _) = compile(&publication);
        let served: Value = serde_json::from_slice(&package.document_page(0).expect("a page")).expect("JSON");
        prop_assert_eq!(served, again);
    }

    /// Damaged bytes are refused, or read as something; nothing panics.
    #[test]
    fn damage_does_not_panic(
        publication in generated::publication(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let (package, _) = compile(&publication);
        let damage = |bytes: &Bytes| {
            let mut bytes = bytes.to_vec();
            for (index, value) in &flips {
                let at = index.index(bytes.len());
                bytes[at] = *value;
            }
            bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len())));
            Bytes::from(bytes)
        };
        let damaged = damage(&package.bytes());
        if let Ok(opened) = Package::open(damaged.clone()) {
            // Cut between two parts at most.
            prop_assert!(package.bytes().starts_with(&damaged));
            prop_assert_eq!(opened.is_whole(), damaged == package.bytes());
        }
        let buckets: Vec<OverrideBucket> = (1..package.opened().parts())
            .filter_map(|bucket| package.part(bucket))
            .map(|bytes| OverrideBucket::new(damage(&bytes)))
            .collect();
        // The parts again, with what is opened first left whole.
        let mut section = damage(&package.snapshot()).to_vec();
        let whole = package.snapshot();
        section.resize(whole.len(), 0);
        section[..16].copy_from_slice(&whole[..16]);
        if let Ok(snapshot) = Snapshot::open(Bytes::from(section)) {
            touch_everything(&snapshot, &buckets);
        }
        touch_everything(&Snapshot::open(whole).expect("opens"), &buckets);
        let _ = inspect(&package);
    }

    /// A bucket is the same every time, and below 100.
    #[test]
    fn buckets_are_stable(salt in "[0-9]{1,6}", key in ".{0,40}") {
        let position = engine::percentage(format!("{salt},").as_bytes(), key.as_bytes());
        prop_assert!((0.0..100.0).contains(&position));
        prop_assert_eq!(position.to_bits(), reference::percentage(&[&salt, &key]).to_bits());
    }
}

fn generated_name(id: i64) -> &'static str {
    ["one", "two", "three", "four"][usize::try_from(id).expect("small")]
}

fn touch_everything(snapshot: &Snapshot, buckets: &[OverrideBucket]) {
    let _ = (
        snapshot.environment_key(),
        snapshot.version(),
        snapshot.content_hash(),
    );
    let _ = (
        snapshot.updated_at(),
        snapshot.updated_at_header(),
        snapshot.last_modified(),
    );
    let _ = (snapshot.document_page(0), snapshot.settings());
    let base = Bytes::from_static(b"{}");
    for page in 0..snapshot.document_pages() {
        let _ = (snapshot.document_page(page), snapshot.part_name(page));
        let _ = snapshot.join_document(&base, std::slice::from_ref(&base));
    }
    let _ = snapshot.accepts_server_key(&[7; 32], Timestamp(0));
    let traits = [Trait {
        key: "x",
        value: TraitValue::Text("1.2.3"),
    }];
    for side in [Side::Client, Side::Server] {
        let _ = (
            snapshot.flags(side),
            snapshot.flag(side, ""),
            snapshot.flag(side, "ONE"),
        );
        let _ = snapshot.multivariate_options(side, 1);
        for identifier in ["i0", "i1", "nobody"] {
            let identity = Identity {
                identifier,
                hash_key: None,
                traits: &traits,
            };
            let _ = snapshot.override_part(identifier);
            for bucket in buckets.iter().map(Some).chain([None]) {
                let mut out = Vec::new();
                snapshot.write_identity_flags(side, &identity, bucket, &mut out);
                snapshot.write_identity_flag(side, &identity, bucket, "two", &mut out);
            }
            snapshot.write_identity_segments(&identity, &mut Vec::new());
        }
    }
    let _ = snapshot.has_feature("one");
}

/// Of many identities, each tenth of the percentages takes a tenth: chi-squared with 9 degrees of
/// freedom is below 27.9 but for one salt in a thousand.
#[test]
fn buckets_are_uniform() {
    for salt in ["1,", "93,", "5000,"] {
        let mut tenths = [0_u32; 10];
        let count = 20_000;
        for number in 0..count {
            let position = engine::percentage(salt.as_bytes(), format!("user-{number}").as_bytes());
            let tenth = tenths
                .iter_mut()
                .zip(1_u32..)
                .find(|(_, t)| position < f64::from(*t) * 10.0);
            *tenth.expect("below 100").0 += 1;
        }
        let expected = f64::from(count) / 10.0;
        let chi_squared: f64 = tenths
            .iter()
            .map(|n| (f64::from(*n) - expected).powi(2) / expected)
            .sum();
        assert!(chi_squared < 27.9, "{salt} {tenths:?}");
    }
}
