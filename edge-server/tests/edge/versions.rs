//! Publications: kept on disk, damaged ones set aside, never half installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::StatusCode;
use tempfile::TempDir;
use yardarm_conformance::environment::Environment;
use yardarm_core::edge::{Host as _, Install, KeyRef};
use yardarm_core::snapshot::Package;
use yardarm_edge::{DataDirectory, IdentityFiles, NativeHost, SnapshotStore};

use crate::running::Running;

/// The package files of a data directory.
fn package_files(directory: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(directory.join("environments")).unwrap();
    files.map(|file| file.unwrap().path()).collect()
}

#[tokio::test]
async fn a_restart_serves_from_disk() {
    let directory = TempDir::new().unwrap();
    let edge = Running::start(directory.path()).await;
    let (kept, deleted) = (Environment::fresh("kept"), Environment::fresh("deleted"));
    for version in [1, 3] {
        edge.target.publish(&kept.package(version)).await.unwrap();
    }
    edge.target.publish(&deleted.package(1)).await.unwrap();
    edge.target
        .publish(&Package::tombstone(&deleted.key, 2, 1))
        .await
        .unwrap();
    edge.stop().await;

    let edge = Running::start(directory.path()).await;
    assert_eq!(edge.value(&kept.key).await, Ok(Environment::value(3)));
    assert_eq!(edge.value(&deleted.key).await, Err(StatusCode::FORBIDDEN));
    for (environment, older) in [(&kept, 2), (&deleted, 1)] {
        let answer = edge
            .target
            .publish(&environment.package(older))
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::CONFLICT);
    }
    let answer = edge.target.publish(&kept.package(3)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    edge.stop().await;
}

#[tokio::test]
async fn damaged_files_are_set_aside_and_the_rest_serve() {
    let directory = TempDir::new().unwrap();
    let edge = Running::start(directory.path()).await;
    let damaged = Environment::fresh("damaged");
    let whole = Environment::fresh("whole");
    edge.target.publish(&damaged.package(1)).await.unwrap();
    let file = package_files(directory.path()).remove(0);
    edge.target.publish(&whole.package(1)).await.unwrap();
    edge.stop().await;

    let content = fs::read(&file).unwrap();
    fs::write(&file, &content[..content.len() - 3]).unwrap();
    fs::write(file.with_file_name("half.package.tmp"), "half").unwrap();
    fs::write(file.with_file_name("renamed.package"), &content).unwrap();
    let edge = Running::start(directory.path()).await;
    assert_eq!(edge.value(&whole.key).await, Ok(Environment::value(1)));
    assert_eq!(edge.value(&damaged.key).await, Err(StatusCode::FORBIDDEN));
    let mut names: Vec<_> = package_files(directory.path())
        .iter()
        .map(|path| path.extension().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["damaged", "damaged", "package"]);

    let answer = edge.target.publish(&damaged.package(1)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    assert_eq!(edge.value(&damaged.key).await, Ok(Environment::value(1)));
    edge.stop().await;
}

#[tokio::test]
async fn what_cannot_be_stored_is_not_served() {
    let directory = TempDir::new().unwrap();
    let edge = Running::start(directory.path()).await;
    let environment = Environment::fresh("full");
    edge.target.publish(&environment.package(1)).await.unwrap();
    // A directory where the unfinished file would be stands in for a disk that takes no more.
    let file = package_files(directory.path()).remove(0);
    let in_the_way = file.with_extension("package.tmp");
    fs::create_dir(&in_the_way).unwrap();
    let answer = edge.target.publish(&environment.package(2)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        edge.value(&environment.key).await,
        Ok(Environment::value(1))
    );

    fs::remove_dir(&in_the_way).unwrap();
    let answer = edge.target.publish(&environment.package(2)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    assert_eq!(
        edge.value(&environment.key).await,
        Ok(Environment::value(2))
    );
    edge.stop().await;
}

#[tokio::test]
async fn a_request_sees_one_version_while_newer_ones_arrive() {
    let directory = TempDir::new().unwrap();
    let owner = Arc::new(DataDirectory::open(directory.path()).unwrap());
    let snapshots = SnapshotStore::open(&directory.path().join("environments")).unwrap();
    let host = NativeHost::new(snapshots, IdentityFiles::open(&owner, 0).unwrap(), None);
    let environment = Environment::fresh("reading");
    let mut reading = Vec::new();
    for version in [1, 2, 3] {
        let package = environment.package(version);
        assert_eq!(host.install(&package).await.unwrap(), Install::Stored);
        let snapshot = host
            .snapshot(KeyRef::Client(&environment.key))
            .await
            .unwrap()
            .unwrap();
        reading.push((snapshot, package));
    }
    for (snapshot, package) in &reading {
        assert_eq!(host.part(snapshot, 0).await.unwrap(), package.part(0));
    }
    let (oldest, _) = reading.remove(0);
    let reopened = yardarm_core::snapshot::Snapshot::open(oldest.bytes().to_vec().into()).unwrap();
    drop(oldest);
    assert_eq!(host.part(&reopened, 0).await.unwrap(), None);
}
