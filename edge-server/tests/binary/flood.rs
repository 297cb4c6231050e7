//! Many who have no business here, while others are served: wrong signatures, and large bodies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use yardarm_conformance::environment::Environment;
use yardarm_conformance::{Target, publication_path, unix_seconds};

use crate::serving::{Serving, identify};

/// How much memory a flood may cost, in bytes.
const GROWTH: u64 = 96 << 20;

/// A publication that is signed with another secret; `hashed` tells beforehand what its body's hash is.
fn forged(address: &str, environment: &Environment, hashed: bool) -> Request<Bytes> {
    let forger = Target::new(&format!("http://{address}"), "not the secret").unwrap();
    let (path, body) = (
        publication_path(&environment.key),
        environment.package(99).bytes().clone(),
    );
    let mut request = forger.signed_at(unix_seconds(), Method::PUT, &path, body);
    if !hashed {
        request.headers_mut().remove("yardarm-content-sha256");
    }
    request
}

/// The flood is as fast as this machine lets it be, some thousands a second in a debug build.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_signatures_change_nothing_and_keep_nobody_from_being_served() {
    const FLOODERS: usize = 16;
    let directory = TempDir::new().unwrap();
    let environment = Environment::fresh("flood");
    let edge = Serving::start(directory.path());
    assert_eq!(edge.publish(&environment, 1).await, StatusCode::CREATED);
    let before = edge.memory();
    let (refused, over) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let mut flood = JoinSet::new();
    for flooder in 0..FLOODERS {
        let (target, refused, over) =
            (edge.target.clone(), Arc::clone(&refused), Arc::clone(&over));
        let request = forged(&edge.address, &environment, flooder % 2 == 0);
        flood.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let answer = target.send(request.clone()).await.unwrap();
                assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
                refused.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let begun = Instant::now();
    let (mut version, mut slowest) = (1, Duration::ZERO);
    while begun.elapsed() < Duration::from_secs(3) {
        let asked = Instant::now();
        assert_eq!(
            edge.value(&environment).await,
            Ok(Environment::value(version))
        );
        slowest = slowest.max(asked.elapsed());
        version += 1;
        assert_eq!(
            edge.publish(&environment, version).await,
            StatusCode::CREATED
        );
    }
    over.store(true, Ordering::Relaxed);
    while let Some(flooder) = flood.join_next().await {
        flooder.unwrap();
    }
    let (refused, grown) = (
        refused.load(Ordering::Relaxed),
        edge.memory().saturating_sub(before),
    );
    println!(
        "{refused} wrong signatures in {:.1} s beside {version} publications; slowest answer {slowest:?}; {} MB more",
        begun.elapsed().as_secs_f64(),
        grown >> 20,
    );
    assert!(refused > 100, "{refused} is no flood");
    assert!(version > 2, "nothing was published meanwhile");
    assert!(grown < GROWTH, "{grown} bytes of memory more");
    assert_eq!(
        edge.value(&environment).await,
        Ok(Environment::value(version))
    );
}

/// They announce packages and never send them. Only who has signed may keep a place for large bodies.
#[tokio::test]
async fn who_has_not_signed_keeps_no_publisher_waiting() {
    let directory = TempDir::new().unwrap();
    let environment = Environment::fresh("idlers");
    let edge = Serving::start(directory.path());
    let mut idlers = Vec::new();
    for number in 0..20 {
        let mut idler = TcpStream::connect(&edge.address).await.unwrap();
        let content = if number % 2 == 0 {
            format!("Yardarm-Content-SHA256: {}\r\n", "0".repeat(64))
        } else {
            String::new()
        };
        let head = format!(
            "PUT /edge/v1/environments/{} HTTP/1.1\r\nHost: edge\r\nContent-Length: 1000000\r\n\
             Yardarm-Timestamp: {}\r\nYardarm-Signature: {}\r\n{content}\r\nYDPK",
            environment.key,
            unix_seconds(),
            "0".repeat(64),
        );
        idler.write_all(head.as_bytes()).await.unwrap();
        idlers.push(idler);
    }
    let publishing = edge.publish(&environment, 1);
    let published = tokio::time::timeout(Duration::from_secs(20), publishing).await;
    assert_eq!(published, Ok(StatusCode::CREATED));
    drop(idlers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_are_read_or_refused_and_the_rest_is_served() {
    const LIMIT: usize = 8 << 20;
    let directory = TempDir::new().unwrap();
    let environment = Environment::fresh("large");
    let edge = Serving::start(directory.path());
    edge.publish(&environment, 1).await;
    let body = |bytes: usize| {
        let mut body = br#"{"identifier":"ann"}"#.to_vec();
        body.resize(bytes, b' ');
        Bytes::from(body)
    };
    let (most, more) = (body(LIMIT), body(LIMIT + 1));
    let before = edge.memory();
    let mut sending = JoinSet::new();
    for number in 0..24 {
        let (body, expected) = if number % 2 == 0 {
            (most.clone(), StatusCode::OK)
        } else {
            (more.clone(), StatusCode::PAYLOAD_TOO_LARGE)
        };
        let (target, key) = (edge.target.clone(), environment.key.clone());
        sending.spawn(async move {
            // A refusal may come, and the connection go, before all was sent.
            match target.send(identify(&key, body)).await {
                Ok(answer) => assert_eq!(answer.status(), expected),
                Err(error) => assert_ne!(expected, StatusCode::OK, "{error:#}"),
            }
        });
    }
    while !sending.is_empty() {
        assert_eq!(edge.value(&environment).await, Ok(Environment::value(1)));
        while let Some(sent) = sending.try_join_next() {
            sent.unwrap();
        }
    }
    let grown = edge.memory().saturating_sub(before);
    println!("12 bodies of 8 MB at once: {} MB more", grown >> 20);
    // Each once, and half as much again while a body that grows is moved.
    assert!(grown < 400 << 20, "{grown} bytes of memory more");
}

/// The edge gives a slow body half a minute, so that this takes as long: `cargo test -p yardarm-edge --test binary -- --ignored`.
#[tokio::test]
#[ignore = "takes half a minute of waiting"]
async fn a_body_that_does_not_come_is_given_up() {
    use tokio::io::AsyncReadExt as _;

    let directory = TempDir::new().unwrap();
    let environment = Environment::fresh("slow");
    let edge = Serving::start(directory.path());
    edge.publish(&environment, 1).await;
    let mut slow = TcpStream::connect(&edge.address).await.unwrap();
    let head = format!(
        "POST /api/v1/identities/ HTTP/1.1\r\nHost: edge\r\nX-Environment-Key: {}\r\n\
         Content-Type: application/json\r\nContent-Length: 200\r\n\r\n",
        environment.key,
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    let (mut reading, mut writing) = slow.into_split();
    let drip = tokio::spawn(async move {
        while writing.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let mut answer = String::new();
    let read = tokio::time::timeout(Duration::from_mins(1), reading.read_to_string(&mut answer));
    // The connection may be reset once all is said.
    let _ = read.await.expect("an end");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(edge.value(&environment).await, Ok(Environment::value(1)));
    drip.abort();
}
