//! Event streams of the native edge: limits, heartbeats, and the end of serving.

use std::time::{Duration, Instant};

use http::StatusCode;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use yardarm_conformance::environment::Environment;
use yardarm_conformance::events::Events;
use yardarm_core::edge::stream::REFUSAL_DELAY;
use yardarm_edge::StreamSettings;

use crate::running::Running;

const PATIENCE: Duration = Duration::from_secs(10);

fn settings(most: usize, heartbeat: Duration) -> StreamSettings {
    StreamSettings { most, heartbeat }
}

#[tokio::test]
async fn an_event_is_repeated_and_then_the_stream_only_breathes() {
    let directory = TempDir::new().unwrap();
    let breath = settings(1, Duration::from_millis(10));
    let edge = Running::with_streams(directory.path(), breath).await;
    let environment = Environment::fresh("breathing");
    edge.target.publish(&environment.package(1)).await.unwrap();
    let mut events = Events::open(&edge.target, &environment.key).await.unwrap();
    let mut told = Vec::new();
    for _ in 0..5 {
        told.push(events.next(PATIENCE).await.unwrap().unwrap());
    }
    assert!(told[0].ends_with(&told[1]), "{told:?}");
    assert_eq!(told[1], told[2]);
    assert_eq!(told[3..], [":\n\n", ":\n\n"]);
    edge.stop().await;
}

#[tokio::test]
async fn there_are_as_many_as_the_setting_says() {
    let directory = TempDir::new().unwrap();
    let edge = Running::with_streams(directory.path(), settings(2, PATIENCE)).await;
    let environment = Environment::fresh("crowded");
    edge.target.publish(&environment.package(1)).await.unwrap();
    let first = Events::open(&edge.target, &environment.key).await.unwrap();
    let mut second = Events::open(&edge.target, &environment.key).await.unwrap();
    assert_eq!(edge.streams.len(), 2);
    let asked = Instant::now();
    let third = Events::open(&edge.target, &environment.key).await.unwrap();
    let refusal = third.refusal().await.unwrap();
    assert!(asked.elapsed() >= REFUSAL_DELAY, "{:?}", asked.elapsed());
    assert_eq!(refusal.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refusal.headers().contains_key("retry-after"));
    assert_eq!(refusal.headers()["access-control-allow-origin"], "*");

    // Who is gone is noticed at the latest when something is sent.
    drop(first);
    let gone = async {
        while edge.streams.len() > 1 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap();
    let again = Events::open(&edge.target, &environment.key).await.unwrap();
    assert_eq!(again.head.status, StatusCode::OK);
    edge.target.publish(&environment.package(2)).await.unwrap();
    let mut told = String::new();
    while !told.contains("id: 2\n") {
        told = second.next(PATIENCE).await.unwrap().unwrap();
    }
    drop((second, again));
    edge.stop().await;
}

#[tokio::test]
async fn each_event_is_a_chunk_of_its_own() {
    let directory = TempDir::new().unwrap();
    let edge = Running::start(directory.path()).await;
    let environment = Environment::fresh("chunks");
    edge.target.publish(&environment.package(1)).await.unwrap();
    let mut socket = TcpStream::connect(edge.address).await.unwrap();
    let path = format!("/sse/environments/{}/stream", environment.key);
    let request = format!("GET {path} HTTP/1.1\r\nHost: edge\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut heard = String::new();
    let mut read_until = async |end: &str| {
        while !heard.contains(end) {
            let mut bytes = [0; 1024];
            let count = timeout(PATIENCE, socket.read(&mut bytes)).await.unwrap();
            heard.push_str(std::str::from_utf8(&bytes[..count.unwrap()]).unwrap());
        }
        heard.clone()
    };
    let first = read_until("}\n\n\r\n").await;
    assert!(
        first.contains("\r\ntransfer-encoding: chunked\r\n"),
        "{first}"
    );
    edge.target.publish(&environment.package(2)).await.unwrap();
    let both = read_until("id: 2\n").await;
    let (_, last) = both.rsplit_once("\r\nid: 2\n").unwrap();
    assert!(last.ends_with("}\n\n\r\n"), "{both}");
    drop(socket);
    edge.stop().await;
}

#[tokio::test]
async fn the_end_of_serving_ends_the_streams() {
    let directory = TempDir::new().unwrap();
    let edge = Running::start(directory.path()).await;
    let environment = Environment::fresh("ending");
    edge.target.publish(&environment.package(1)).await.unwrap();
    let mut events = Events::open(&edge.target, &environment.key).await.unwrap();
    events.next(PATIENCE).await.unwrap().unwrap();
    let streams = edge.streams.clone();
    timeout(Duration::from_secs(5), edge.begin_stop())
        .await
        .expect("it does not wait for them")
        .unwrap();
    assert_eq!(events.next(PATIENCE).await.unwrap(), None);
    assert!(streams.is_empty());
}
