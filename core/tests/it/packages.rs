//! Packages on their way: whole, in part, damaged, and of another format.

use bytes::Bytes;
use serde_json::{Value, json};
use yardarm_core::edge::{Host, Install, KeyRef};
use yardarm_core::snapshot::{Package, PackageError, Publication, compile};
use yardarm_core::testing::{MemoryHost, run_ready};
use yardarm_core::time::Timestamp;

/// So many identities, each with an override that tells its number.
fn large(version: u64, identities: usize, changed: Option<usize>) -> Package {
    let state = |n: usize, value: String| -> Value {
        json!({"feature": {"id": 1, "name": "f", "type": "STANDARD"}, "enabled": true,
            "django_id": n, "feature_segment": null, "featurestate_uuid": format!("{n:032}"),
            "feature_state_value": value, "multivariate_feature_state_values": []})
    };
    let overrides: Vec<Value> = (0..identities)
        .map(|n| {
            let value = match changed {
                Some(changed) if changed == n => "changed".to_owned(),
                _ => format!("value of {n}"),
            };
            json!({"identifier": format!("user-{n}"), "environment_api_key": "key",
                "identity_features": [state(n, value)], "identity_traits": []})
        })
        .collect();
    let publication: Publication = serde_json::from_value(json!({
        "version": version, "updated_at_micros": version, "document": {
            "id": 1, "api_key": "key", "name": "n", "updated_at": format!("of version {version}"),
            "project": {"id": 1, "name": "p", "organisation": {"id": 1}, "segments": []},
            "feature_states": [state(0, "default".to_owned())], "identity_overrides": overrides}
    }))
    .expect("a publication");
    compile(&publication).0
}

/// Hands a package over as a publisher does; how many requests and bytes that took.
fn hand_over(host: &MemoryHost, package: &Package) -> (usize, usize) {
    let (mut requests, mut bytes) = (0, 0);
    let mut send = |body: Bytes| {
        requests += 1;
        bytes += body.len();
        let package = Package::open(body).expect("a package");
        run_ready(host.install(&package)).expect("a store in memory works")
    };
    let mut outcome = send(package.opening());
    while let Install::Incomplete { missing } = outcome {
        let mut batches = package.batches(&missing).into_iter();
        let first = batches.next().expect("something is missing");
        outcome = send(first.bytes());
    }
    assert_eq!(outcome, Install::Stored);
    (requests, bytes)
}

#[test]
fn only_what_changed_travels() {
    let host = MemoryHost::new(None, Timestamp(0));
    let first = large(1, 20_000, None);
    assert!(first.size() > 5 << 20, "{}", first.size());
    let (requests, bytes) = hand_over(&host, &first);
    let heads = requests * first.snapshot().len();
    assert!(
        requests < 24 && bytes <= first.size() + heads,
        "{requests} requests, {bytes} bytes"
    );

    let second = large(2, 20_000, Some(12_345));
    let (requests, bytes) = hand_over(&host, &second);
    // The snapshot twice, the document's base, a chunk of it, a bucket.
    assert_eq!(requests, 2);
    assert!(bytes < 700 << 10, "{bytes} of {}", second.size());
    let held = run_ready(host.snapshot(KeyRef::Client("key")))
        .expect("works")
        .expect("held");
    assert_eq!(held.version(), 2);
    for number in 0..held.parts() {
        let part = run_ready(host.part(&held, number))
            .expect("works")
            .expect("held");
        assert!(held.part_name(number).expect("named").is_of(&part));
    }
}

#[test]
fn the_former_version_serves_until_all_parts_are_there() {
    let host = MemoryHost::new(None, Timestamp(0));
    hand_over(&host, &large(1, 4_000, None));
    let next = large(2, 4_000, Some(7));
    let held = || {
        run_ready(host.snapshot(KeyRef::Client("key")))
            .expect("works")
            .expect("held")
            .version()
    };
    let Install::Incomplete { missing } =
        run_ready(host.install(&next.with_only(&[]))).expect("works")
    else {
        panic!("parts are missing");
    };
    for number in &missing {
        assert_eq!(held(), 1, "without {number}");
        let outcome = run_ready(host.install(&next.with_only(&[*number]))).expect("works");
        assert_eq!(outcome == Install::Stored, Some(number) == missing.last());
    }
    assert_eq!(held(), 2);
}

#[test]
fn a_small_package_is_one_request() {
    let package = large(1, 100, None);
    assert_eq!(package.opening(), package.bytes());
    assert_eq!(
        Package::tombstone("key", 2, 0).opening(),
        Package::tombstone("key", 2, 0).bytes()
    );
}

#[test]
fn batches_are_bounded_and_bring_everything() {
    let package = large(1, 20_000, None);
    let missing: Vec<u32> = (0..package.opened().parts()).collect();
    let batches = package.batches(&missing);
    assert!(batches.len() > 2);
    let mut brought = Vec::new();
    for batch in batches {
        let all = batch.opened().parts();
        let lacks = batch.missing();
        let of_batch: Vec<u32> = (0..all).filter(|number| !lacks.contains(number)).collect();
        assert!(of_batch.len() <= 24 && batch.size() <= (1 << 20) + batch.snapshot().len() + 100);
        brought.extend(of_batch);
    }
    assert_eq!(brought, missing);
}

#[test]
fn other_formats_are_named() {
    let package = large(1, 3, None);
    let with_format = |format: u32| {
        let mut bytes = package.bytes().to_vec();
        bytes[4..8].copy_from_slice(&format.to_le_bytes());
        Package::open(bytes.into()).map(|_| ())
    };
    assert_eq!(with_format(4), Ok(()));
    assert_eq!(with_format(3), Err(PackageError::TooOld(3)));
    assert_eq!(with_format(5), Err(PackageError::TooNew(5)));
    let first = Package::open(Bytes::from_static(b"YDPK\x01\0\0\0..."));
    assert!(matches!(first, Err(PackageError::TooOld(1))));
}

#[test]
fn parts_are_taken_only_as_named() {
    let package = large(1, 3, None);
    let head = package.snapshot();
    let part = package.part(1).expect("is there");
    let open = |tail: &[&[u8]]| {
        let bytes = [&head[..], &tail.concat()].concat();
        Package::open(bytes.into()).map(|package| package.missing())
    };
    let number = |number: u32| number.to_le_bytes();
    assert_eq!(open(&[]), Ok(vec![0, 1]));
    assert_eq!(open(&[&number(1), &part]), Ok(vec![0]));
    for (what, tail) in [
        ("no such part", vec![&number(2)[..], &part]),
        ("twice", vec![&number(1)[..], &part, &number(1), &part]),
        ("another's bytes", vec![&number(0)[..], &part]),
        ("cut short", vec![&number(1)[..], &part[1..]]),
        ("half a number", vec![&number(1)[..2]]),
    ] {
        assert!(open(&tail).is_err(), "{what}");
    }
}
