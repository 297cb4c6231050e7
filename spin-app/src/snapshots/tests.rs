//! Publications over a map: whole versions after every crash, one winner among publishers.

use yardarm_core::edge::Install;
use yardarm_core::snapshot::PackageMeta;
use yardarm_core::time::Timestamp;

use super::install::Parcel;
use super::*;
use crate::key_value::memory::{Memory, block_on, join};

const MINUTE: i64 = 61_000_000;

/// A version whose every part tells which version it is of.
fn parcel(version: u64, size: usize, server_keys: &[&str]) -> Parcel {
    let part = |name: &str, size: usize| {
        let mut bytes = format!("{name} of {version} ").into_bytes();
        bytes.resize(size.max(bytes.len()), b'.');
        bytes
    };
    Parcel {
        meta: PackageMeta {
            environment_key: "env-a".to_owned(),
            version,
            content_hash: format!("{version:064x}").chars().rev().collect(),
            updated_at_micros: 0,
            gone: false,
            server_keys: server_keys.iter().map(|key| (*key).to_owned()).collect(),
            override_buckets: 2,
        },
        snapshot: part("snapshot", size),
        document: part("document", size),
        buckets: vec![part("bucket 0", 30), part("bucket 1", 2 * size)],
    }
}

fn at(minutes: i64) -> Timestamp {
    Timestamp(minutes * MINUTE)
}

/// What serves, after checking that every part of it is there and of one version.
fn serving(store: &Memory) -> Option<u64> {
    let (head, snapshot) = block_on(read(store, KeyRef::Client("env-a"), |_| false)).unwrap()?;
    let version = head.version;
    let starts =
        |bytes: &[u8], name: &str| bytes.starts_with(format!("{name} of {version} ").as_bytes());
    assert!(starts(&snapshot.unwrap(), "snapshot"));
    for (part, name) in [
        ("document", "document"),
        ("bucket/0", "bucket 0"),
        ("bucket/1", "bucket 1"),
    ] {
        let part = read_part(store, "env-a", version, &head.content_hash, part);
        assert!(
            starts(&block_on(part).unwrap().unwrap(), name),
            "{name} of {version}"
        );
    }
    let listed: Vec<u64> = block_on(held(store))
        .unwrap()
        .iter()
        .map(|h| h.version)
        .collect();
    assert_eq!(listed, [version]);
    Some(version)
}

fn put(store: &Memory, parcel: &Parcel, now: Timestamp) -> Install {
    block_on(install(store, parcel, now)).unwrap()
}

#[test]
fn versions_only_grow() {
    for size in [100, 40_000, 2_000_000] {
        let store = Memory::new();
        assert_eq!(put(&store, &parcel(3, size, &[]), at(0)), Install::Stored);
        assert_eq!(put(&store, &parcel(3, size, &[]), at(0)), Install::Already);
        assert_eq!(
            put(&store, &parcel(2, size, &[]), at(0)),
            Install::Older { held: 3 }
        );
        assert_eq!(serving(&store), Some(3));
        assert_eq!(put(&store, &parcel(4, size, &[]), at(0)), Install::Stored);
        assert_eq!(serving(&store), Some(4));
    }
}

#[test]
fn a_small_snapshot_is_one_read_and_a_known_one_too() {
    let store = Memory::new();
    put(&store, &parcel(1, 20_000, &["s1"]), at(0));
    store.reads();
    block_on(read(&store, KeyRef::Client("env-a"), |_| false))
        .unwrap()
        .unwrap();
    assert_eq!(store.reads(), 1);
    put(&store, &parcel(2, 400_000, &["s1"]), at(0));
    store.reads();
    block_on(read(&store, KeyRef::Client("env-a"), |_| false))
        .unwrap()
        .unwrap();
    assert_eq!(store.reads(), 2);
    let known = block_on(read(&store, KeyRef::Client("env-a"), |_| true))
        .unwrap()
        .unwrap();
    assert!(known.1.is_none());
    assert_eq!(store.reads(), 1);
    block_on(read(&store, KeyRef::Server("s1"), |_| true))
        .unwrap()
        .unwrap();
    assert_eq!(store.reads(), 2);
}

#[test]
fn a_crash_after_any_write_leaves_a_whole_version_and_the_next_try_ends_the_same() {
    for size in [100, 1_000_000] {
        let mut writes = 0;
        loop {
            let store = Memory::new();
            put(&store, &parcel(1, size, &["s1", "old"]), at(0));
            put(&store, &parcel(2, size, &["s1", "s2"]), at(2));
            store.die_after(writes);
            let died = block_on(install(&store, &parcel(3, size, &["s2", "s3"]), at(4))).is_err();
            let version = serving(&store).unwrap();
            assert!(
                version == 3 || (died && version == 2),
                "{version} after {writes} writes"
            );
            store.revive();
            // Another crash victim's newer version comes by, and then the same one again.
            put(&store, &parcel(3, size, &["s2", "s3"]), at(6));
            assert_eq!(serving(&store), Some(3));
            assert_eq!(leads_to(&store, "s2"), Some(3));
            assert_eq!(leads_to(&store, "s3"), Some(3));
            assert_eq!(
                leads_to(&store, "s1"),
                None,
                "forgotten after {writes} writes"
            );
            assert_only(&store, &[2, 3]);
            if !died {
                assert!(writes > 5);
                break;
            }
            writes += 1;
        }
    }
}

#[test]
fn a_version_that_was_given_up_is_swept_by_the_next() {
    let mut writes = 0;
    loop {
        let store = Memory::new();
        put(&store, &parcel(1, 40_000, &["s1"]), at(0));
        store.die_after(writes);
        let died = block_on(install(&store, &parcel(2, 40_000, &["s1", "s2"]), at(2))).is_err();
        store.revive();
        put(&store, &parcel(3, 40_000, &["s1"]), at(4));
        put(&store, &parcel(4, 40_000, &["s1"]), at(6));
        assert_eq!(serving(&store), Some(4));
        assert_eq!(leads_to(&store, "s2"), None);
        assert_only(&store, &[3, 4]);
        if !died {
            break;
        }
        writes += 1;
    }
}

#[test]
fn publishers_at_once_end_with_the_highest_version() {
    for seed in 0..60 {
        let store = Memory::interleaved(seed);
        let mut parcels: Vec<Parcel> = (1..=4)
            .map(|version| parcel(version, 40_000, &["s1"]))
            .collect();
        // Version 2 is long under way: it starts late, and is slow to write.
        parcels[1].buckets.resize(40, b"small".to_vec());
        parcels.push(parcels[3].clone());
        let turn = usize::try_from(seed % 5).unwrap();
        parcels.rotate_left(turn);
        let minute = |parcel: &Parcel| if parcel.meta.version == 2 { 20 } else { 10 };
        let installs = parcels
            .iter()
            .map(|parcel| install(&store, parcel, at(minute(parcel))))
            .collect();
        for outcome in block_on(join(installs)) {
            outcome.unwrap();
        }
        assert_eq!(serving(&store), Some(4), "seed {seed}");
        assert_eq!(leads_to(&store, "s1"), Some(4));
        put(&store, &parcel(5, 40_000, &["s1"]), at(40));
        assert_only(&store, &[4, 5]);
    }
}

#[test]
fn a_newer_version_that_takes_long_is_not_swept_by_an_older_one() {
    for seed in 0..20 {
        let store = Memory::interleaved(seed);
        put(&store, &parcel(1, 40_000, &[]), at(0));
        let mut slow = parcel(3, 40_000, &["s3"]);
        slow.buckets.resize(40, b"small".to_vec());
        let quick = parcel(2, 40_000, &[]);
        let installs = vec![
            install(&store, &slow, at(1)),
            install(&store, &quick, at(9)),
        ];
        for outcome in block_on(join(installs)) {
            assert_eq!(outcome.unwrap(), Install::Stored);
        }
        assert_eq!(serving(&store), Some(3), "seed {seed}");
        assert_eq!(leads_to(&store, "s3"), Some(3));
    }
}

#[test]
fn a_version_under_way_is_left_alone_for_a_minute() {
    let store = Memory::new();
    put(&store, &parcel(1, 100, &[]), at(0));
    store.die_after(4);
    assert!(block_on(install(&store, &parcel(2, 100, &[]), at(10))).is_err());
    assert!(store.revive());
    let parts = || {
        store
            .keys()
            .iter()
            .filter(|key| key.starts_with("env/env-a/2-"))
            .count()
    };
    assert!(parts() > 0);
    put(&store, &parcel(3, 100, &[]), at(10));
    assert!(parts() > 0);
    put(&store, &parcel(3, 100, &[]), at(12));
    assert_eq!(parts(), 0);
}

#[test]
fn the_version_before_stays_for_requests_on_their_way() {
    let store = Memory::new();
    let document = |version: u64| {
        let hash = parcel(version, 1, &[]).meta.content_hash;
        let part = read_part(&store, "env-a", version, &hash, "document");
        block_on(part).unwrap().is_some()
    };
    for version in 1..=3 {
        put(
            &store,
            &parcel(version, 40_000, &[]),
            at(i64::try_from(version * 2).unwrap()),
        );
    }
    assert_eq!([document(1), document(2), document(3)], [false, true, true]);
}

#[test]
fn a_reader_whose_version_was_swept_reads_the_newest() {
    let store = Memory::new();
    put(&store, &parcel(1, 40_000, &[]), at(0));
    let overtaken = std::cell::Cell::new(false);
    // The reader asks this after it has read the head and before it reads the snapshot.
    let overtake = |_: &Head| {
        if !overtaken.replace(true) {
            put(&store, &parcel(2, 40_000, &[]), at(2));
            put(&store, &parcel(3, 40_000, &[]), at(4));
        }
        false
    };
    let found = block_on(read(&store, KeyRef::Client("env-a"), overtake)).unwrap();
    let (head, snapshot) = found.unwrap();
    assert_eq!(head.version, 3);
    assert!(snapshot.unwrap().starts_with(b"snapshot of 3 "));
}

#[test]
fn a_reader_meets_whole_versions_while_publishers_work() {
    for seed in 0..40 {
        let store = Memory::interleaved(seed);
        put(&store, &parcel(1, 40_000, &[]), at(0));
        let publish = async {
            for version in 2..8 {
                let minutes = i64::try_from(version).unwrap();
                install(&store, &parcel(version, 40_000, &[]), at(minutes))
                    .await
                    .unwrap();
            }
        };
        let look = async {
            let mut last = 0;
            for _ in 0..30 {
                let found = read(&store, KeyRef::Client("env-a"), |_| false)
                    .await
                    .unwrap();
                let (head, snapshot) = found.unwrap();
                assert!(head.version >= last);
                last = head.version;
                let text = format!("snapshot of {last} ");
                assert!(snapshot.unwrap().starts_with(text.as_bytes()));
            }
        };
        let both: Vec<std::pin::Pin<Box<dyn Future<Output = ()> + '_>>> =
            vec![Box::pin(publish), Box::pin(look)];
        block_on(join(both));
    }
}

#[test]
fn hostile_and_unknown_keys_lead_nowhere() {
    let store = Memory::new();
    put(&store, &parcel(1, 100, &["s1"]), at(0));
    let long = "k".repeat(5_000);
    for key in ["", "env-b", "env-a/journal", "it's", "~", &long] {
        let found = block_on(read(&store, KeyRef::Client(key), |_| false)).unwrap();
        assert_eq!(found, None, "{key}");
    }
    assert!(head_key(&long).len() < 100);
    assert_eq!(
        block_on(read(&store, KeyRef::Server("s2"), |_| false)).unwrap(),
        None
    );
}

/// Which version a server key leads to.
fn leads_to(store: &Memory, sha256: &str) -> Option<u64> {
    let found = block_on(read(store, KeyRef::Server(sha256), |_| true)).unwrap();
    found.map(|(head, _)| head.version)
}

/// Nothing is in the store but these versions' parts and what every environment has.
fn assert_only(store: &Memory, versions: &[u64]) {
    for key in store.keys() {
        let of_a_version = versions
            .iter()
            .any(|v| key.starts_with(&format!("env/env-a/{v}-")));
        let known = ["env/env-a", "env/env-a/journal", "environments"].contains(&key.as_str());
        assert!(
            of_a_version || known || key.starts_with("key/"),
            "left over: {key}"
        );
    }
}
