//! A disk that takes no more, files that were half written, and files of a newer version.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use yardarm_conformance::environment::Environment;
use yardarm_conformance::publication_path;

use crate::serving::{Serving, identify, limited};

/// Every file below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

fn names_with(directory: &Path, extension: &str) -> usize {
    let of = |path: &PathBuf| path.extension().is_some_and(|found| found == extension);
    files(directory).iter().filter(|path| of(path)).count()
}

/// Where a package says which format it has.
fn with_format(package: &Bytes, format: u32) -> Bytes {
    let mut bytes = package.to_vec();
    bytes[4..8].copy_from_slice(&format.to_le_bytes());
    bytes.into()
}

#[tokio::test]
async fn a_full_disk_refuses_what_is_new_and_serves_what_is_held() {
    let directory = TempDir::new().unwrap();
    let environment = Environment::fresh("full");
    let edge = Serving::start(directory.path());
    assert_eq!(edge.publish(&environment, 1).await, StatusCode::CREATED);
    let small = json!({"identifier": "ann", "traits": [{"trait_key": "a", "trait_value": 1}]});
    let answer = edge
        .send(identify(&environment.key, small.to_string()))
        .await;
    assert_eq!(answer.status(), StatusCode::OK);
    drop(edge.stop());

    let edge = Serving::spawn(limited(directory.path(), 1));
    assert_eq!(
        edge.publish(&environment, 2).await,
        StatusCode::SERVICE_UNAVAILABLE
    );
    edge.says("File too large");
    assert_eq!(edge.value(&environment).await, Ok(Environment::value(1)));
    let large = json!({"identifier": "ann", "traits": [
        {"trait_key": "a", "trait_value": 2}, {"trait_key": "b", "trait_value": "x".repeat(1000)},
    ]});
    let answer = edge
        .send(identify(&environment.key, large.to_string()))
        .await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    // What needs no disk works: what is stored is read, and not half of what was refused.
    let ann = edge
        .send(identify(&environment.key, r#"{"identifier":"ann"}"#))
        .await;
    assert_eq!(ann.status(), StatusCode::OK);
    let ann: Value = serde_json::from_slice(ann.body()).unwrap();
    assert_eq!(ann["traits"].as_array().unwrap().len(), 1);
    assert_eq!(ann["traits"][0]["trait_value"], 1);
    assert_eq!(names_with(directory.path(), "tmp"), 0);
    edge.kill();

    // Room again: everything is taken.
    let edge = Serving::start(directory.path());
    assert_eq!(edge.value(&environment).await, Ok(Environment::value(1)));
    assert_eq!(edge.publish(&environment, 2).await, StatusCode::CREATED);
    let answer = edge
        .send(identify(&environment.key, large.to_string()))
        .await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(edge.value(&environment).await, Ok(Environment::value(2)));
}

#[tokio::test]
async fn a_package_of_a_newer_format_is_refused_and_the_one_held_serves() {
    let directory = TempDir::new().unwrap();
    let environment = Environment::fresh("newer");
    let edge = Serving::start(directory.path());
    edge.publish(&environment, 1).await;
    let newer = with_format(&environment.package(2).bytes(), u32::MAX);
    let path = publication_path(&environment.key);
    let answer = edge
        .send(edge.target.signed(Method::PUT, &path, newer))
        .await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    let told = String::from_utf8_lossy(answer.body()).into_owned();
    assert!(told.contains("newer than this edge understands"), "{told}");
    assert_eq!(edge.value(&environment).await, Ok(Environment::value(1)));
}

#[tokio::test]
async fn after_a_downgrade_newer_files_stay_and_wait_for_a_publication() {
    let directory = TempDir::new().unwrap();
    let (newer, known) = (Environment::fresh("newer"), Environment::fresh("known"));
    let edge = Serving::start(directory.path());
    edge.publish(&newer, 1).await;
    let file = files(&directory.path().join("environments")).remove(0);
    edge.publish(&known, 1).await;
    drop(edge.stop());
    let content = with_format(&fs::read(&file).unwrap().into(), u32::MAX);
    fs::write(&file, &content).unwrap();

    let edge = Serving::start(directory.path());
    assert_eq!(edge.value(&known).await, Ok(Environment::value(1)));
    assert_eq!(edge.value(&newer).await, Err(StatusCode::FORBIDDEN));
    assert_eq!(
        fs::read(&file).unwrap(),
        content,
        "an upgrade reads it again"
    );
    assert_eq!(edge.publish(&newer, 1).await, StatusCode::CREATED);
    assert_eq!(edge.value(&newer).await, Ok(Environment::value(1)));
}

#[tokio::test]
async fn a_half_written_file_is_set_aside_and_told() {
    let directory = TempDir::new().unwrap();
    let (half, whole) = (Environment::fresh("half"), Environment::fresh("whole"));
    let edge = Serving::start(directory.path());
    edge.publish(&half, 1).await;
    let file = files(&directory.path().join("environments")).remove(0);
    edge.publish(&whole, 1).await;
    edge.kill();
    let content = fs::read(&file).unwrap();
    fs::write(&file, &content[..content.len() / 2]).unwrap();

    let edge = Serving::start(directory.path());
    assert_eq!(edge.value(&whole).await, Ok(Environment::value(1)));
    assert_eq!(edge.value(&half).await, Err(StatusCode::FORBIDDEN));
    assert_eq!(names_with(directory.path(), "damaged"), 1);
    assert_eq!(edge.publish(&half, 1).await, StatusCode::CREATED);
    assert_eq!(edge.value(&half).await, Ok(Environment::value(1)));
}
