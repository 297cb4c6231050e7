//! `yardarm-edge`: the native edge as a server of its own.

#![forbid(unsafe_code)]

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use yardarm_edge::{
    Client, DataDirectory, Deliveries, Edge, IdentityFiles, NativeHost, NoUsage, PullThrough,
    SnapshotStore, Upstream, Usage, raise_open_files,
};

use crate::config::{Config, UpstreamConfig};

mod config;

/// Takes a tenth off a request's own time (8.2 to 7.4 microseconds for an identity, without the socket) for
/// some 8 MB of memory; `examples/answer.rs` measures it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let config = Config::parse();
    let done = config.start().and_then(|upstream| run(&config, upstream));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(config: &Config, upstream: Option<UpstreamConfig>) -> anyhow::Result<()> {
    let secret = config.publishing_secret()?;
    if secret.is_none() && upstream.is_none() {
        tracing::warn!(
            "no publishing secret (YARDARM_PUBLISHING_SECRET): only what is already held is served"
        );
    }
    let deliveries = config.deliveries(secret.as_deref())?;
    let directory = Arc::new(DataDirectory::open(&config.data_dir)?);
    let in_directory = || format!("data directory {}", config.data_dir.display());
    let snapshots =
        SnapshotStore::open(&directory.path().join("environments")).with_context(in_directory)?;
    let identities = IdentityFiles::open(&directory, config.identity_memory_bytes())
        .with_context(in_directory)?;
    let listen = config.listen(upstream.as_ref());
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}"))?;
    let tls = config.tls()?;
    if let Some(tls) = tls.clone() {
        tokio::spawn(tls.follow_files());
    }
    let stop = stop_signal().context("cannot wait for signals")?;
    tracing::info!(
        listen = %listener.local_addr()?,
        data_dir = %config.data_dir.display(),
        environments = snapshots.len(),
        tls = tls.is_some(),
        "serving",
    );
    let (usage, deliveries) = match deliveries {
        None => (None, None),
        Some(settings) => {
            let usage = config.usage();
            let deliveries = Deliveries::open(&directory, &settings, usage.clone())?;
            deliveries.follow(&identities).await?;
            (usage, Some(deliveries))
        }
    };
    let mut host = NativeHost::new(snapshots.clone(), identities, secret.clone());
    if let Some((url, secret)) = config.control_plane_url().zip(secret) {
        let client = Client::new().context("cannot build the HTTP client")?;
        let pull = PullThrough::new(url.to_owned(), secret, client);
        host = host.with_pull_through(Arc::new(pull));
    }
    let upstream = match upstream {
        None => None,
        Some(config) => {
            let memory = directory.path().join("upstream.json");
            tracing::info!(
                url = %config.settings.root, environments = config.settings.pairs.len(), "upstream",
            );
            let upstream = Arc::new(Upstream::new(config.settings, memory));
            host = host
                .with_upstream(Arc::clone(&upstream))
                .with_allowed_origins(config.edge_proxy.allow_origins);
            let client = Client::new().context("cannot build the HTTP client")?;
            tokio::spawn(Arc::clone(&upstream).run(snapshots, client));
            Some(upstream)
        }
    };
    let usage = usage.map_or_else(|| Arc::new(NoUsage) as _, |usage| usage as Arc<dyn Usage>);
    let streams = config.streams(raise_open_files());
    let edge = Edge::with_streams(host, usage, streams);
    let streams = edge.streams().clone();
    let answer = move |request| {
        let edge = edge.clone();
        async move { edge.answer(request).await }
    };
    let stop = async move {
        stop.await;
        streams.close();
    };
    let (served, all_served) = oneshot::channel::<()>();
    let delivering = deliveries.map(|deliveries| {
        tokio::spawn(deliveries.run(async {
            // Whether told or dropped, nobody is served any more.
            let _ = all_served.await;
        }))
    });
    yardarm_edge::serve_with(listener, tls, answer, stop).await;
    if let Some(upstream) = upstream {
        upstream.remember();
    }
    drop(served);
    if let Some(delivering) = delivering {
        delivering.await.context("deliveries ended badly")?;
    }
    tracing::info!("stopped");
    Ok(())
}

/// Completes at the first SIGTERM or SIGINT.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: no new connections, running requests finish");
    })
}
