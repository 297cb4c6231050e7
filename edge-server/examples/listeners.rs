//! What `scripts/bench streams` measures an edge with: opens event streams, reads what that costs the
//! edge's process in memory, publishes, and times how long the event takes to reach everybody.
//!
//! `listeners URL SECRET PID STREAMS`

use std::env;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use yardarm_conformance::Target;
use yardarm_conformance::environment::Environment;

/// Streams opened and closed before anything is read, so that the allocator has what it takes.
const WARM_UP: usize = 200;
/// Connections that are being opened at once.
const AT_ONCE: usize = 200;
/// How often the event is timed.
const ROUNDS: u64 = 10;
/// Longer than the repetitions of an event last.
const QUIET: Duration = Duration::from_secs(7);
const PATIENCE: Duration = Duration::from_secs(30);

/// A stream heard of a version at a moment.
type Heard = (u64, Instant);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = env::args().skip(1);
    let mut next = |what: &'static str| arguments.next().with_context(|| format!("no {what}"));
    let url = next("URL")?;
    let target = Target::new(&url, &next("secret")?)?;
    let pid: u32 = next("process")?.parse()?;
    let count: usize = next("number of streams")?.parse()?;
    let address = url.trim_start_matches("http://").trim_end_matches('/');

    let environment = Environment::fresh("listeners");
    publish(&target, &environment, 1).await?;
    let (heard, mut hears) = mpsc::unbounded_channel();
    let warm = open(address, &environment.key, WARM_UP, &heard).await?;
    await_all(&mut hears, WARM_UP, 1).await?;
    drop(warm);
    sleep(QUIET).await;

    let before = resident_bytes(pid)?;
    let begun = Instant::now();
    let streams = open(address, &environment.key, count, &heard).await?;
    await_all(&mut hears, count, 1).await?;
    println!("{count} streams opened in {:?}", begun.elapsed());
    sleep(QUIET).await;
    let grown = resident_bytes(pid)?.saturating_sub(before);
    println!(
        "resident: {} KB before, {} KB more with the streams open: {} bytes a stream",
        before >> 10,
        grown >> 10,
        grown / count as u64,
    );

    let (mut halves, mut lasts) = (Vec::new(), Vec::new());
    for version in 2..2 + ROUNDS {
        let begun = Instant::now();
        publish(&target, &environment, version).await?;
        let answered = begun.elapsed();
        let mut moments = await_all(&mut hears, count, version).await?;
        moments.sort();
        let after = |moment: Instant| moment.saturating_duration_since(begun);
        let (half, last) = (after(moments[count / 2]), after(moments[count - 1]));
        println!("published in {answered:?}; heard by half after {half:?}, by all after {last:?}");
        halves.push(half);
        lasts.push(last);
        sleep(Duration::from_millis(500)).await;
    }
    halves.sort();
    lasts.sort();
    let middle = lasts.len() / 2;
    println!(
        "median of {ROUNDS}: half of {count} after {:?}, all after {:?} (slowest {:?}); {} KB resident",
        halves[middle],
        lasts[middle],
        lasts[lasts.len() - 1],
        resident_bytes(pid)? >> 10,
    );
    drop(streams);
    Ok(())
}

async fn publish(target: &Target, environment: &Environment, version: u64) -> anyhow::Result<()> {
    let answer = target.publish(&environment.package(version)).await?;
    ensure!(answer.status() == StatusCode::CREATED, "{answer:?}");
    Ok(())
}

/// Opens streams, some at a time; each is closed when its task is dropped.
async fn open(
    address: &str,
    environment_key: &str,
    count: usize,
    heard: &mpsc::UnboundedSender<Heard>,
) -> anyhow::Result<tokio::task::JoinSet<()>> {
    let request =
        format!("GET /sse/environments/{environment_key}/stream HTTP/1.1\r\nHost: edge\r\n\r\n");
    let mut streams = tokio::task::JoinSet::new();
    let mut left = count;
    while left > 0 {
        let some = left.min(AT_ONCE);
        left -= some;
        for _ in 0..some {
            let mut socket = TcpStream::connect(address).await?;
            socket.write_all(request.as_bytes()).await?;
            streams.spawn(listen(socket, heard.clone()));
        }
    }
    Ok(streams)
}

async fn listen(mut socket: TcpStream, heard: mpsc::UnboundedSender<Heard>) {
    let mut bytes = vec![0; 1024];
    let mut last = 0;
    while let Ok(count) = socket.read(&mut bytes).await
        && count > 0
    {
        let text = String::from_utf8_lossy(&bytes[..count]);
        for line in text.lines() {
            let version = line.strip_prefix("id: ").and_then(|id| id.parse().ok());
            if let Some(version) = version
                && version > last
            {
                last = version;
                let _ = heard.send((version, Instant::now()));
            }
        }
    }
}

/// When each of the streams heard of a version.
async fn await_all(
    hears: &mut mpsc::UnboundedReceiver<Heard>,
    count: usize,
    version: u64,
) -> anyhow::Result<Vec<Instant>> {
    let mut moments = Vec::with_capacity(count);
    while moments.len() < count {
        let heard = timeout(PATIENCE, hears.recv()).await;
        let heard =
            heard.with_context(|| format!("{} of {count} heard of {version}", moments.len()))?;
        let (heard, moment) = heard.context("nobody listens")?;
        if heard == version {
            moments.push(moment);
        }
    }
    Ok(moments)
}

fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kilobytes.context("no resident size")?.parse::<u64>()? << 10)
}
