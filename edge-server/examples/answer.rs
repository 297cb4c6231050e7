//! How long the edge itself takes for a request, without sockets: the part of `scripts/bench native` that
//! this repository can make faster, with and without counting usage. The shortest of many batches, since the machine is
//! shared.
//!
//! `answer DOCUMENT POST_BODY`: an environment document and the body of `POST /identities/`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use yardarm_core::snapshot::document::Document;
use yardarm_core::snapshot::{Publication, compile};
use yardarm_edge::{
    CountedUsage, DataDirectory, Edge, IdentityFiles, NativeHost, NoUsage, SnapshotStore, Usage,
};

const BATCHES: u32 = 400;
const BATCH: u32 = 500;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = env::args().skip(1);
    let document: Document =
        serde_json::from_slice(&fs::read(arguments.next().context("no document")?)?)?;
    let post: Bytes = fs::read(arguments.next().context("no body")?)?.into();
    let key = document.api_key.clone();

    let scratch = env::temp_dir().join(format!("yardarm-answer-{}", std::process::id()));
    let owner = Arc::new(DataDirectory::open(&scratch)?);
    let snapshots = SnapshotStore::open(&scratch.join("environments"))?;
    snapshots
        .install(
            &compile(&Publication {
                version: 1,
                updated_at_micros: 1,
                document,
                details: None,
                server_keys: Vec::new(),
            })
            .0,
        )
        .await?;
    let identities = IdentityFiles::open(&owner, 1 << 20)?;
    let edge = |usage: Arc<dyn Usage>| {
        let host = NativeHost::new(snapshots.clone(), identities.clone(), None);
        Edge::new(host, usage)
    };
    let uncounted = edge(Arc::new(NoUsage));
    let counted = edge(Arc::new(CountedUsage::new(16 << 20)));

    let flags = || {
        Request::get("/api/v1/flags/")
            .header("x-environment-key", &key)
            .header("host", "flags.example")
            .header("user-agent", "flagsmith-node-sdk/6.0.0")
            .body(Full::new(Bytes::new()))
    };
    let identity = || {
        Request::post("/api/v1/identities/")
            .header("x-environment-key", &key)
            .header("content-type", "application/json")
            .header("content-length", post.len())
            .header("host", "flags.example")
            .header("user-agent", "flagsmith-node-sdk/6.0.0")
            .body(Full::new(post.clone()))
    };
    for (edge, how) in [(&uncounted, "usage off"), (&counted, "usage on ")] {
        println!(
            "GET /flags/        {how} {:?}",
            shortest(edge, flags).await?
        );
        let took = shortest(edge, identity).await?;
        println!("POST /identities/  {how} {took:?}");
    }
    fs::remove_dir_all(scratch)?;
    Ok(())
}

async fn shortest(
    edge: &Edge<IdentityFiles>,
    request: impl Fn() -> http::Result<Request<Full<Bytes>>>,
) -> anyhow::Result<Duration> {
    let first = edge.answer(request()?).await;
    ensure!(first.status() == StatusCode::OK, "{first:?}");
    let mut shortest = Duration::MAX;
    for _ in 0..BATCHES {
        let requests = (0..BATCH)
            .map(|_| request())
            .collect::<Result<Vec<_>, _>>()?;
        let begun = Instant::now();
        for request in requests {
            black_box(edge.answer(request).await);
        }
        shortest = shortest.min(begun.elapsed() / BATCH);
    }
    Ok(shortest)
}
