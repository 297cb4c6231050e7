//! Publications over a map: whole versions after every crash, one winner among publishers.

use std::cell::RefCell;
use std::collections::HashMap;

use serde_json::json;
use yardarm_core::edge::Install;
use yardarm_core::snapshot::{Package, compile};
use yardarm_core::time::Timestamp;

use super::*;
use crate::key_value::memory::{Memory, block_on, join};

const MINUTE: i64 = 61_000_000;
const IDENTITIES: usize = 400;

/// A server-side key's hash.
fn hash(key: &str) -> String {
    hex::encode(Sha256::digest(key))
}

/// A version with a snapshot and a document of some `size`, and two buckets or more. Every identity's
/// override tells `version`, or as much of it as says `told`.
fn told(version: u64, size: usize, server_keys: &[&str], told: impl Fn(usize) -> u64) -> Package {
    let state = |value: String| json!({"feature": {"id": 1, "name": "f"}, "enabled": true, "feature_state_value": value});
    let overrides = (0..IDENTITIES).map(|n| {
        let value = format!("{} {n} {}", told(n), "x".repeat(100));
        json!({"identifier": format!("user-{n}"), "identity_features": [state(value)]})
    });
    let keys = server_keys
        .iter()
        .map(|key| json!({"sha256": hash(key), "active": true}));
    let publication = json!({"version": version, "updated_at_micros": version, "document": {
        "id": 1, "api_key": "env-a", "project": {"id": 1, "organisation": {"id": 1}},
        "feature_states": [state(format!("{version} {}", ".".repeat(size)))],
        "identity_overrides": overrides.collect::<Vec<_>>(),
    }, "server_keys": keys.collect::<Vec<_>>()});
    compile(&serde_json::from_value(publication).unwrap()).0
}

fn package(version: u64, size: usize, server_keys: &[&str]) -> Package {
    thread_local! {
        /// Compiling takes its time, and the same ones are asked for again and again.
        static MADE: RefCell<HashMap<(u64, usize, String), Package>> = RefCell::default();
    }
    let key = (version, size, server_keys.concat());
    let make = || told(version, size, server_keys, |_| version);
    MADE.with_borrow_mut(|made| made.entry(key).or_insert_with(make).clone())
}

fn at(minutes: i64) -> Timestamp {
    Timestamp(minutes * MINUTE)
}

/// What serves, after checking that every part of it is there.
fn serving(store: &Memory) -> Option<u64> {
    let (head, snapshot) = block_on(read(store, KeyRef::Client("env-a"), |_| false)).unwrap()?;
    let snapshot = Snapshot::open(snapshot.unwrap().into()).unwrap();
    assert_eq!(snapshot.version(), head.version);
    assert!(snapshot.parts() > 2);
    for number in 0..snapshot.parts() {
        let name = snapshot.part_name(number).unwrap();
        let part = block_on(read_part(store, &head, number, name)).unwrap();
        assert!(
            part.is_some_and(|part| name.is_of(&part)),
            "part {number} of {}",
            head.version
        );
    }
    // Listed is what serves, or what did when somebody died.
    assert!(versions_held(store).iter().all(|v| *v <= head.version));
    Some(head.version)
}

fn versions_held(store: &Memory) -> Vec<u64> {
    let held = block_on(held(store)).unwrap();
    held.iter().map(|head| head.version).collect()
}

fn put(store: &Memory, package: &Package, now: Timestamp) -> Install {
    let outcome = block_on(install(store, package, now)).unwrap();
    let serves = block_on(read(store, KeyRef::Client("env-a"), |_| true)).unwrap();
    let serves = serves.map(|(head, _)| head.version);
    assert_eq!(versions_held(store), serves.as_slice(), "listed");
    outcome
}

#[test]
fn versions_only_grow() {
    for size in [100, 40_000, 2_000_000] {
        let store = Memory::new();
        assert_eq!(put(&store, &package(3, size, &[]), at(0)), Install::Stored);
        assert_eq!(put(&store, &package(3, size, &[]), at(0)), Install::Already);
        assert_eq!(
            put(&store, &package(2, size, &[]), at(0)),
            Install::Older { held: 3 }
        );
        assert_eq!(serving(&store), Some(3));
        assert_eq!(put(&store, &package(4, size, &[]), at(0)), Install::Stored);
        assert_eq!(serving(&store), Some(4));
    }
}

#[test]
fn a_small_snapshot_is_one_read_and_a_known_one_too() {
    let store = Memory::new();
    put(&store, &package(1, 20_000, &["s1"]), at(0));
    store.reads();
    block_on(read(&store, KeyRef::Client("env-a"), |_| false))
        .unwrap()
        .unwrap();
    assert_eq!(store.reads(), 1);
    put(&store, &package(2, 400_000, &["s1"]), at(0));
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
    block_on(read(&store, KeyRef::Server(&hash("s1")), |_| true))
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
            put(&store, &package(1, size, &["s1", "old"]), at(0));
            put(&store, &package(2, size, &["s1", "s2"]), at(2));
            store.die_after(writes);
            let died = block_on(install(&store, &package(3, size, &["s2", "s3"]), at(4))).is_err();
            let version = serving(&store).unwrap();
            assert!(
                version == 3 || (died && version == 2),
                "{version} after {writes} writes"
            );
            store.revive();
            // Another crash victim's newer version comes by, and then the same one again.
            put(&store, &package(3, size, &["s2", "s3"]), at(6));
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
        put(&store, &package(1, 40_000, &["s1"]), at(0));
        store.die_after(writes);
        let died = block_on(install(&store, &package(2, 40_000, &["s1", "s2"]), at(2))).is_err();
        store.revive();
        put(&store, &package(3, 40_000, &["s1"]), at(4));
        put(&store, &package(4, 40_000, &["s1"]), at(6));
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
        // Version 2 is long under way: it starts late, and is slow to write.
        let size = |version: u64| if version == 2 { 10_000_000 } else { 40_000 };
        let mut packages: Vec<Package> = (1..=4)
            .map(|version| package(version, size(version), &["s1"]))
            .collect();
        packages.push(packages[3].clone());
        let turn = usize::try_from(seed % 5).unwrap();
        packages.rotate_left(turn);
        let minute = |package: &Package| if package.meta().version == 2 { 20 } else { 10 };
        let installs = packages
            .iter()
            .map(|package| install(&store, package, at(minute(package))))
            .collect();
        for outcome in block_on(join(installs)) {
            outcome.unwrap();
        }
        assert_eq!(serving(&store), Some(4), "seed {seed}");
        assert_eq!(leads_to(&store, "s1"), Some(4));
        put(&store, &package(5, 40_000, &["s1"]), at(40));
        assert_only(&store, &[4, 5]);
    }
}

#[test]
fn a_newer_version_that_takes_long_is_not_swept_by_an_older_one() {
    for seed in 0..20 {
        let store = Memory::interleaved(seed);
        put(&store, &package(1, 40_000, &[]), at(0));
        let slow = package(3, 10_000_000, &["s3"]);
        let quick = package(2, 40_000, &[]);
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
    put(&store, &package(1, 100, &[]), at(0));
    store.die_after(4);
    assert!(block_on(install(&store, &package(2, 100, &[]), at(10))).is_err());
    assert!(store.revive());
    let parts = || {
        store
            .keys()
            .iter()
            .filter(|key| key.starts_with("env/env-a/2-"))
            .count()
    };
    assert!(parts() > 0);
    put(&store, &package(3, 100, &[]), at(10));
    assert!(parts() > 0);
    put(&store, &package(3, 100, &[]), at(12));
    assert_eq!(parts(), 0);
}

#[test]
fn the_version_before_stays_for_requests_on_their_way() {
    let store = Memory::new();
    let mut heads = Vec::new();
    for version in 1..=3 {
        let now = at(i64::try_from(version * 2).unwrap());
        put(&store, &package(version, 40_000, &[]), now);
        let found = block_on(read(&store, KeyRef::Client("env-a"), |_| false))
            .unwrap()
            .unwrap();
        heads.push((found.0, Snapshot::open(found.1.unwrap().into()).unwrap()));
    }
    let document = |(head, snapshot): &(Head, Snapshot)| {
        let name = snapshot.part_name(0).unwrap();
        block_on(read_part(&store, head, 0, name))
            .unwrap()
            .is_some()
    };
    assert_eq!(
        heads.iter().map(document).collect::<Vec<_>>(),
        [false, true, true]
    );
}

/// Who reads a version in which only `changed` identities have another value than version 1 gave them.
fn edited(version: u64, changed: &[usize]) -> Package {
    told(version, 100, &[], |n| {
        if changed.contains(&n) { version } else { 1 }
    })
}

#[test]
fn a_version_writes_only_what_changed_and_the_rest_goes_when_nobody_has_it() {
    let store = Memory::new();
    put(&store, &edited(1, &[]), at(0));
    let all = store.bytes();
    for version in 2..40 {
        let package = edited(version, &[usize::try_from(version).unwrap() * 7]);
        let minutes = i64::try_from(version).unwrap();
        assert_eq!(put(&store, &package.with_only(&[]), at(minutes * 2)), {
            let missing: Vec<u32> = block_on(missing(&store, &package));
            assert!(missing.len() < package.missing().len() + 4, "{missing:?}");
            Install::Incomplete { missing }
        });
        assert_eq!(put(&store, &package, at(minutes * 2)), Install::Stored);
        assert_eq!(serving(&store), Some(version));
        assert!(
            store.bytes() < 3 * all,
            "{} of {all} in version {version}",
            store.bytes()
        );
    }
    assert!(store.largest() <= crate::key_value::MAX_VALUE);
}

/// Numbers of the parts that the serving version has not.
async fn missing(store: &Memory, package: &Package) -> Vec<u32> {
    let found = read(store, KeyRef::Client("env-a"), |_| false)
        .await
        .unwrap()
        .unwrap();
    let held = Snapshot::open(found.1.unwrap().into()).unwrap();
    let has = |name: PartName<'_>| {
        (0..held.parts()).any(|number| held.part_name(number).unwrap().sha256 == name.sha256)
    };
    let snapshot = package.opened();
    let numbers = 0..snapshot.parts();
    numbers
        .filter(|number| !has(snapshot.part_name(*number).unwrap()))
        .collect()
}

#[test]
fn parts_come_one_by_one_and_the_former_version_serves_meanwhile() {
    let store = Memory::new();
    put(&store, &package(1, 100, &[]), at(0));
    let next = package(2, 100, &[]);
    let count = next.opened().parts();
    for number in (0..count).rev() {
        assert_eq!(serving(&store), Some(1));
        let outcome = put(&store, &next.with_only(&[number]), at(9));
        let missing = (0..number).collect();
        let expected = if number == 0 {
            Install::Stored
        } else {
            Install::Incomplete { missing }
        };
        assert_eq!(outcome, expected);
    }
    assert_eq!(serving(&store), Some(2));
}

#[test]
fn publishers_at_once_share_parts_and_never_lose_one() {
    // Each has what an earlier one changed, or has it back as it was.
    let edited: Vec<Package> = (0..11)
        .map(|version| edited(version, &[usize::try_from(version % 3).unwrap()]))
        .collect();
    for seed in 0..60 {
        let store = Memory::interleaved(seed);
        put(&store, &edited[1], at(0));
        let installs = edited[2..9].iter().map(|package| {
            let version = i64::try_from(package.meta().version).unwrap();
            install(&store, package, at(version * 3))
        });
        for outcome in block_on(join(installs.collect())) {
            outcome.unwrap();
        }
        assert_eq!(serving(&store), Some(8), "seed {seed}");
        put(&store, &edited[9], at(60));
        put(&store, &edited[10], at(62));
        assert_eq!(serving(&store), Some(10), "seed {seed}");
    }
}

#[test]
fn what_another_yardarm_stored_is_not_held() {
    let store = Memory::new();
    put(&store, &package(5, 100, &["s1"]), at(0));
    let head = store.value("env/env-a").unwrap();
    let end = head.iter().position(|byte| *byte == b'\n').unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(&head[..end]).unwrap();
    json["format"] = json!(Snapshot::FORMAT + 1);
    block_on(store.set("env/env-a", format!("{json}\nsomething").as_bytes())).unwrap();
    block_on(store.set(&list::list_key("env-a"), format!("[{json}]").as_bytes())).unwrap();
    assert!(block_on(read(&store, KeyRef::Client("env-a"), |_| false)).is_err());
    assert_eq!(block_on(held(&store)).unwrap(), []);
    assert_eq!(
        put(&store, &package(5, 100, &["s1"]), at(2)),
        Install::Stored
    );
    assert_eq!(serving(&store), Some(5));
}

#[test]
fn a_reader_whose_version_was_swept_reads_the_newest() {
    let store = Memory::new();
    put(&store, &package(1, 40_000, &[]), at(0));
    let overtaken = std::cell::Cell::new(false);
    // The reader asks this after it has read the head and before it reads the snapshot.
    let overtake = |_: &Head| {
        if !overtaken.replace(true) {
            put(&store, &package(2, 40_000, &[]), at(2));
            put(&store, &package(3, 40_000, &[]), at(4));
        }
        false
    };
    let found = block_on(read(&store, KeyRef::Client("env-a"), overtake)).unwrap();
    let (head, snapshot) = found.unwrap();
    assert_eq!(head.version, 3);
    assert_eq!(
        Snapshot::open(snapshot.unwrap().into()).unwrap().version(),
        3
    );
}

#[test]
fn a_reader_meets_whole_versions_while_publishers_work() {
    for seed in 0..40 {
        let store = Memory::interleaved(seed);
        put(&store, &package(1, 40_000, &[]), at(0));
        let publish = async {
            for version in 2..8 {
                let minutes = i64::try_from(version).unwrap();
                install(&store, &package(version, 40_000, &[]), at(minutes))
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
                let snapshot = Snapshot::open(snapshot.unwrap().into()).unwrap();
                assert_eq!(snapshot.version(), last);
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
    put(&store, &package(1, 100, &["s1"]), at(0));
    let long = "k".repeat(5_000);
    for key in ["", "env-b", "env-a/journal", "it's", "~", &long] {
        let found = block_on(read(&store, KeyRef::Client(key), |_| false)).unwrap();
        assert_eq!(found, None, "{key}");
    }
    assert!(head_key(&long).len() < 100);
    assert_eq!(
        block_on(read(&store, KeyRef::Server(&hash("s2")), |_| false)).unwrap(),
        None
    );
}

/// Which version a server key leads to.
fn leads_to(store: &Memory, key: &str) -> Option<u64> {
    let found = block_on(read(store, KeyRef::Server(&hash(key)), |_| true)).unwrap();
    found.map(|(head, _)| head.version)
}

/// Nothing is in the store but these versions' parts and what every environment has.
fn assert_only(store: &Memory, versions: &[u64]) {
    for key in store.keys() {
        let of_a_version = versions
            .iter()
            .any(|v| key.starts_with(&format!("env/env-a/{v}-")));
        let known = ["env/env-a", "env/env-a/journal"].contains(&key.as_str());
        let common = key.starts_with("key/") || key.starts_with("environments/");
        assert!(of_a_version || known || common, "left over: {key}");
    }
}
