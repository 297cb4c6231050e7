//! An environment document from anywhere is compiled, opened, described and asked; and it goes in
//! and out without loss.
#![no_main]

use libfuzzer_sys::fuzz_target;
use yardarm_core::snapshot::document::Document;
use yardarm_core::snapshot::{
    Identity, OverrideBucket, Package, Publication, Side, Snapshot, Trait, TraitValue, ascii_json,
    compile, inspect,
};

fuzz_target!(|data: &[u8]| {
    let Ok(document) = serde_json::from_slice::<Document>(data) else {
        return;
    };
    let json = ascii_json::to_vec(&document);
    assert!(json.is_ascii());
    let again: Document = serde_json::from_slice(&json).expect("a document");
    assert_eq!(again, document);

    let identifier = document
        .identity_overrides
        .first()
        .map_or_else(|| "someone".to_owned(), |of| of.identifier.clone());
    let publication = Publication {
        version: 1,
        updated_at_micros: 1,
        document,
        details: None,
        server_keys: Vec::new(),
    };
    let (package, _) = compile(&publication);
    let package = Package::open(package.bytes()).expect("just compiled");
    let snapshot = Snapshot::open(package.snapshot()).expect("just compiled");
    let bucket = snapshot
        .override_part(&identifier)
        .and_then(|bucket| package.part(bucket))
        .map(OverrideBucket::new);
    let traits = [Trait {
        key: "x",
        value: TraitValue::Text("1.2.3"),
    }];
    let identity = Identity {
        identifier: &identifier,
        hash_key: None,
        traits: &traits,
    };
    for side in [Side::Client, Side::Server] {
        let mut out = Vec::new();
        snapshot.write_identity_flags(side, &identity, bucket.as_ref(), &mut out);
        let _: Vec<serde_json::Value> = serde_json::from_slice(&out).expect("JSON");
        let _: Vec<serde_json::Value> =
            serde_json::from_slice(&snapshot.flags(side).0).expect("JSON");
    }
    inspect(&package);
});
