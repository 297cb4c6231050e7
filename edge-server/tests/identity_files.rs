//! Identities on disk: nothing accepted is lost, nothing refused leaves a trace.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use tokio::task::JoinSet;
use yardarm_core::edge::{ChangeError, IdentityRecord, StoredTrait, TraitChange, TraitScalar};
use yardarm_core::time::Timestamp;
use yardarm_edge::{DataDirectory, Identities as _, IdentityFiles};

const ENVIRONMENT: &str = "environment";
const NOW: Timestamp = Timestamp(1_767_225_600_000_000);

fn open(directory: &TempDir) -> IdentityFiles {
    let owner = Arc::new(DataDirectory::open(directory.path()).unwrap());
    IdentityFiles::open(&owner, 1 << 20).unwrap()
}

fn set(key: &str, value: impl Into<Option<i64>>) -> TraitChange {
    TraitChange::Merge(vec![(key.to_owned(), value.into().map(TraitScalar::Int))])
}

fn add(key: &str, by: i64) -> TraitChange {
    let key = key.to_owned();
    TraitChange::Increment { key, by }
}

fn integer(record: &IdentityRecord, key: &str) -> Option<i64> {
    record
        .traits
        .iter()
        .find(|stored| stored.key == key)
        .map(|stored| match stored.value {
            TraitScalar::Int(value) => value,
            ref other => panic!("{key} is {other:?}"),
        })
}

/// Every file below a directory that is not the lock.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.file_name().unwrap() != "lock" {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn an_identity_is_made_once_and_found_after_a_restart() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    // Anything can be an identifier; it never shows in a path.
    for identifier in [
        "ann",
        "../../etc/passwd",
        "",
        "\u{1f6a9} flag",
        &"x".repeat(2000),
    ] {
        assert_eq!(store.identity(ENVIRONMENT, identifier).await.unwrap(), None);
        let change = TraitChange::Merge(Vec::new());
        let made = store
            .change_identity(ENVIRONMENT, identifier, &change, NOW)
            .await
            .unwrap();
        let expected = IdentityRecord {
            created_at_micros: NOW.micros(),
            ..IdentityRecord::default()
        };
        assert_eq!(made.unwrap(), expected);
        let change = set("age", 30);
        let later = Timestamp(NOW.micros() + 1);
        store
            .change_identity(ENVIRONMENT, identifier, &change, later)
            .await
            .unwrap()
            .unwrap();
    }
    assert_eq!(files(directory.path()).len(), 5);
    drop(store);

    let store = open(&directory);
    let found = store
        .identity(ENVIRONMENT, "../../etc/passwd")
        .await
        .unwrap()
        .unwrap();
    let traits = vec![StoredTrait {
        id: None,
        key: "age".to_owned(),
        value: TraitScalar::Int(30),
        changed_at_micros: NOW.micros() + 1,
    }];
    let expected = IdentityRecord {
        id: None,
        created_at_micros: NOW.micros(),
        traits,
        deleted: Vec::new(),
    };
    assert_eq!(found, expected);
    assert_eq!(
        store.identity("another environment", "ann").await.unwrap(),
        None
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_changes_of_one_identity_all_count() {
    const CHANGES: i64 = 200;
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    let mut changes = JoinSet::new();
    for n in 0..CHANGES {
        let store = store.clone();
        changes.spawn(async move {
            for change in [set(&format!("trait_{n}"), n), add("count", 1)] {
                store
                    .change_identity(ENVIRONMENT, "busy", &change, NOW)
                    .await
                    .unwrap()
                    .unwrap();
            }
        });
    }
    changes.join_all().await;
    let in_memory = store.identity(ENVIRONMENT, "busy").await.unwrap();
    drop(store);

    let record = open(&directory)
        .identity(ENVIRONMENT, "busy")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(in_memory.as_ref(), Some(&record));
    assert_eq!(integer(&record, "count"), Some(CHANGES));
    for n in 0..CHANGES {
        assert_eq!(integer(&record, &format!("trait_{n}")), Some(n));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_whose_caller_goes_away_is_whole_or_absent() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    for n in 0..50 {
        let change = add("count", 1);
        let changing = store.change_identity(ENVIRONMENT, "gone", &change, NOW);
        let patience = std::time::Duration::from_micros(n * 10);
        let _ = tokio::time::timeout(patience, changing).await;
    }
    let settled = store
        .change_identity(ENVIRONMENT, "gone", &add("count", 1), NOW)
        .await;
    let settled = integer(&settled.unwrap().unwrap(), "count").unwrap();
    let counted = store
        .change_identity(ENVIRONMENT, "gone", &add("count", 1), NOW)
        .await;
    assert_eq!(
        integer(&counted.unwrap().unwrap(), "count"),
        Some(settled + 1)
    );
}

#[tokio::test]
async fn a_refused_change_stores_nothing() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    let text = TraitScalar::Text("three".to_owned());
    let text = TraitChange::Merge(vec![("n".to_owned(), Some(text))]);
    store
        .change_identity(ENVIRONMENT, "ann", &text, NOW)
        .await
        .unwrap()
        .unwrap();
    let before = fs::read(&files(directory.path())[0]).unwrap();

    let refused = store
        .change_identity(ENVIRONMENT, "ann", &add("n", 1), NOW)
        .await
        .unwrap();
    assert_eq!(refused, Err(ChangeError::NotAnInteger));
    let refused = store
        .change_identity(ENVIRONMENT, "new", &add("n", i64::MAX), NOW)
        .await;
    assert_eq!(refused.unwrap(), Err(ChangeError::OutOfRange));
    assert_eq!(files(directory.path()).len(), 1);
    assert_eq!(fs::read(&files(directory.path())[0]).unwrap(), before);
    assert_eq!(store.identity(ENVIRONMENT, "new").await.unwrap(), None);
}

#[tokio::test]
async fn a_change_that_cannot_be_stored_is_an_error_and_changes_nothing() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    store
        .change_identity(ENVIRONMENT, "ann", &set("a", 1), NOW)
        .await
        .unwrap()
        .unwrap();
    // A directory where the unfinished file would be stands in for a disk that takes no more.
    let file = files(directory.path()).remove(0);
    let in_the_way = file.with_extension("json.tmp");
    fs::create_dir(&in_the_way).unwrap();
    store
        .change_identity(ENVIRONMENT, "ann", &set("a", 2), NOW)
        .await
        .unwrap_err();
    let seen = store.identity(ENVIRONMENT, "ann").await.unwrap().unwrap();
    assert_eq!(integer(&seen, "a"), Some(1));
    // What changes nothing needs no disk.
    store
        .change_identity(ENVIRONMENT, "ann", &set("a", 1), NOW)
        .await
        .unwrap()
        .unwrap();

    fs::remove_dir(&in_the_way).unwrap();
    let stored = store
        .change_identity(ENVIRONMENT, "ann", &set("a", 2), NOW)
        .await
        .unwrap();
    assert_eq!(integer(&stored.unwrap(), "a"), Some(2));
}

#[tokio::test]
async fn a_damaged_file_is_set_aside() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    store
        .change_identity(ENVIRONMENT, "ann", &set("a", 1), NOW)
        .await
        .unwrap()
        .unwrap();
    drop(store);
    let file = files(directory.path()).remove(0);
    fs::write(&file, r#"{"identifier":"ann","crea"#).unwrap();

    let store = open(&directory);
    assert_eq!(store.identity(ENVIRONMENT, "ann").await.unwrap(), None);
    store
        .change_identity(ENVIRONMENT, "ann", &set("a", 2), NOW)
        .await
        .unwrap()
        .unwrap();
    let mut kept: Vec<_> = files(directory.path());
    kept.sort();
    assert_eq!(kept, [file.clone(), file.with_extension("json.damaged")]);
}

#[tokio::test]
async fn memory_is_bounded_and_the_disk_is_not() {
    let directory = TempDir::new().unwrap();
    let owner = Arc::new(DataDirectory::open(directory.path()).unwrap());
    let store = IdentityFiles::open(&owner, 4096).unwrap();
    for n in 0..100 {
        let identifier = format!("identity {n}");
        store
            .change_identity(ENVIRONMENT, &identifier, &set("n", n), NOW)
            .await
            .unwrap()
            .unwrap();
    }
    for n in 0..100 {
        let record = store
            .identity(ENVIRONMENT, &format!("identity {n}"))
            .await
            .unwrap();
        assert_eq!(integer(&record.unwrap(), "n"), Some(n));
    }
}
