//! Replies in the encoding that the client takes, over a real socket.

use std::io::Read as _;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use yardarm_core::snapshot::{Package, compile};

use crate::running::Running;

const KEY: &str = "encodingsEnvironment01";

/// A version of an environment with flags enough to be worth it.
fn large(key: &str, version: u64) -> Package {
    let flag = |id: u32| {
        json!({
            "feature": { "id": id, "name": format!("flag_{id}"), "type": "STANDARD" },
            "enabled": true,
            "feature_state_value": format!("value of version {version}"),
        })
    };
    let flags: Vec<_> = (1..=40).map(flag).collect();
    let publication = json!({
        "version": version,
        "updated_at_micros": version,
        "document": {
            "id": 1, "api_key": key, "name": "Large", "feature_states": flags,
            "project": { "id": 1, "organisation": { "id": 1 } }
        }
    });
    compile(&serde_json::from_value(publication).unwrap()).0
}

fn unpacked(reply: &Response<Bytes>) -> Value {
    let mut plain = Vec::new();
    let body = &reply.body()[..];
    let encoding = reply
        .headers()
        .get("content-encoding")
        .map(|value| value.to_str().unwrap());
    match encoding {
        None => plain.extend_from_slice(body),
        Some("gzip") => drop(
            flate2::read::GzDecoder::new(body)
                .read_to_end(&mut plain)
                .unwrap(),
        ),
        Some("br") => drop(
            brotli::Decompressor::new(body, 4096)
                .read_to_end(&mut plain)
                .unwrap(),
        ),
        Some(other) => panic!("{other}"),
    }
    serde_json::from_slice(&plain).unwrap()
}

/// How often a reply says that it varies by `Accept-Encoding`.
fn varies_by_encoding(reply: &Response<Bytes>) -> usize {
    let values = reply.headers().get_all("vary").iter();
    let text = values.map(|value| value.to_str().unwrap());
    text.map(|value| value.matches("Accept-Encoding").count())
        .sum()
}

#[tokio::test]
async fn flags_are_packed_and_their_tag_still_validates() {
    let directory = TempDir::new().unwrap();
    let edge = Running::start(directory.path()).await;
    edge.target.publish(&large(KEY, 1)).await.unwrap();
    let ask = |encoding: &'static str, tag: Option<String>| {
        let mut request = Request::get("/api/v1/flags/")
            .header("x-environment-key", KEY)
            .header("accept-encoding", encoding);
        if let Some(tag) = tag {
            request = request.header("if-none-match", tag);
        }
        edge.send(request.body(Bytes::new()).unwrap())
    };
    let plain = ask("identity", None).await;
    let strong = plain.headers()["etag"].to_str().unwrap().to_owned();
    assert!(strong.starts_with('"'));
    for encoding in ["gzip", "br", "gzip, deflate, br"] {
        let packed = ask(encoding, None).await;
        assert!(packed.body().len() * 3 < plain.body().len(), "{encoding}");
        assert_eq!(unpacked(&packed), unpacked(&plain));
        assert_eq!(varies_by_encoding(&packed), 1);
        let weak = packed.headers()["etag"].to_str().unwrap().to_owned();
        assert_eq!(weak, format!("W/{strong}"));
        let unchanged = ask(encoding, Some(weak.clone())).await;
        assert_eq!(unchanged.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(unchanged.headers()["etag"], weak);
        assert_eq!(varies_by_encoding(&unchanged), 1);
        assert!(unchanged.headers().get("content-encoding").is_none());
    }
    edge.target.publish(&large(KEY, 2)).await.unwrap();
    let newer = ask("br", None).await;
    assert_ne!(unpacked(&newer), unpacked(&plain), "another version's body");
    edge.stop().await;
}

#[tokio::test]
async fn an_identity_is_packed_too() {
    let directory = TempDir::new().unwrap();
    let edge = Running::start(directory.path()).await;
    edge.target.publish(&large(KEY, 1)).await.unwrap();
    let request = Request::post("/api/v1/identities/")
        .header("x-environment-key", KEY)
        .header("content-type", "application/json")
        .header("accept-encoding", "gzip");
    let body = json!({ "identifier": "ann", "traits": [] }).to_string();
    let reply = edge.send(request.body(body.into()).unwrap()).await;
    assert_eq!(reply.headers()["content-encoding"], "gzip");
    assert_eq!(unpacked(&reply)["identifier"], "ann");
    assert_eq!(varies_by_encoding(&reply), 1);
    edge.stop().await;
}
