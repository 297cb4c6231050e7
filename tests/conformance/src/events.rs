//! Event streams: a change is told at once, a deletion ends the stream; a host that has none says so.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;
use yardarm_core::snapshot::Package;

use crate::environment::Environment;
use crate::target::Target;

/// How long a change may take to be told.
const PROMPTLY: Duration = Duration::from_secs(1);
/// How long a stream may take to open or to end; a cold workerd needs a moment.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a host without streams answers.
const NONE_HERE: &str = "This edge has no event streams";

/// An open stream.
#[derive(Debug)]
pub struct Events {
    /// Status and headers it began with.
    pub head: http::response::Parts,
    body: Incoming,
}

impl Events {
    /// Asks for the stream of an environment, as a page of another origin does.
    pub async fn open(target: &Target, environment_key: &str) -> anyhow::Result<Self> {
        let path = format!("/sse/environments/{environment_key}/stream");
        let request = Request::get(path)
            .header(header::ACCEPT, "text/event-stream")
            .header(header::ORIGIN, "https://app.example");
        let answer = timeout(PATIENCE, target.open(request.body(Bytes::new())?)).await;
        let (head, body) = answer.context("no answer")??.into_parts();
        Ok(Self { head, body })
    }

    /// The next chunk; `None` at the end. An error after `within`.
    pub async fn next(&mut self, within: Duration) -> anyhow::Result<Option<String>> {
        let frame = timeout(within, self.body.frame()).await;
        let Some(frame) = frame.with_context(|| format!("nothing within {within:?}"))? else {
            return Ok(None);
        };
        let data = frame?.into_data().unwrap_or_default();
        Ok(Some(String::from_utf8(data.into())?))
    }

    /// The rest, for an answer that is none.
    pub async fn refusal(self) -> anyhow::Result<Response<Bytes>> {
        let body = self.body.collect().await?.to_bytes();
        Ok(Response::from_parts(self.head, body))
    }
}

/// The lines of the event that announces a version of an environment.
fn announcement(version: u64, updated_at: &str) -> String {
    format!("id: {version}\nevent: environment_updated\ndata: {{\"updated_at\": {updated_at}}}\n\n")
}

/// Who listens hears the version held, each newer one within a second, no older one, and the end.
pub async fn tells_of_changes(target: &Target) -> anyhow::Result<()> {
    let environment = Environment::fresh("events");
    publish(target, &environment.package(1), StatusCode::CREATED).await?;
    let mut events = Events::open(target, &environment.key).await?;
    if events.head.status == StatusCode::NOT_FOUND {
        let answer = events.refusal().await?;
        let body = String::from_utf8_lossy(answer.body());
        ensure!(body.contains(NONE_HERE), "no stream, but {body}");
        return Ok(());
    }
    let head = |name: &str| {
        let value = events.head.headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or("")
    };
    ensure!(events.head.status == StatusCode::OK, "{:?}", events.head);
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store"),
        ("access-control-allow-origin", "*"),
    ] {
        ensure!(head(name) == value, "{name}: {}", head(name));
    }
    ensure!(
        head("access-control-expose-headers").contains("X-Flagsmith-Document-Updated-At"),
        "a page cannot read the time of an answer"
    );
    let told = events.next(PATIENCE).await?.unwrap_or_default();
    let (retry, first) = told.split_once('\n').context("more than a line")?;
    ensure!(retry.starts_with("retry: "), "{retry}");
    let time = updated_at(target, &environment).await?;
    ensure!(first == announcement(1, &time), "{told:?} of {time}");

    for version in [3, 2, 4] {
        let status = if version == 2 {
            StatusCode::CONFLICT
        } else {
            StatusCode::CREATED
        };
        publish(target, &environment.package(version), status).await?;
        if status == StatusCode::CREATED {
            let time = updated_at(target, &environment).await?;
            expect(&mut events, version, &time).await?;
        }
    }
    let gone = Package::tombstone(&environment.key, 5, 1);
    publish(target, &gone, StatusCode::CREATED).await?;
    while let Some(chunk) = events.next(PROMPTLY).await? {
        // What was on its way when the environment went may still come.
        ensure!(chunk.contains("id: 4\n"), "after the end: {chunk:?}");
    }
    let again = Events::open(target, &environment.key).await?;
    ensure!(
        again.head.status == StatusCode::NOT_FOUND,
        "a deleted environment has a stream: {:?}",
        again.head
    );
    Ok(())
}

/// Passes over repetitions of earlier events, to the one of this version.
async fn expect(events: &mut Events, version: u64, updated_at: &str) -> anyhow::Result<()> {
    loop {
        let Some(chunk) = events.next(PROMPTLY).await? else {
            bail!("the stream ended");
        };
        let id = chunk
            .strip_prefix("id: ")
            .and_then(|rest| rest.lines().next());
        match id.and_then(|id| id.parse::<u64>().ok()) {
            Some(id) if id == version => {
                let expected = announcement(version, updated_at);
                ensure!(chunk == expected, "{chunk:?} is not {expected:?}");
                return Ok(());
            }
            Some(earlier) if earlier < version => {}
            _ => bail!("{chunk:?} where version {version} should be"),
        }
    }
}

/// What the answers say of their time.
async fn updated_at(target: &Target, environment: &Environment) -> anyhow::Result<String> {
    let request = Request::get("/api/v1/flags/").header("x-environment-key", &environment.key);
    let answer = target.send(request.body(Bytes::new())?).await?;
    let time = answer.headers().get("x-flagsmith-document-updated-at");
    Ok(time
        .context("an answer without its time")?
        .to_str()?
        .to_owned())
}

async fn publish(target: &Target, package: &Package, status: StatusCode) -> anyhow::Result<()> {
    let answer = target.publish(package).await?;
    ensure!(answer.status() == status, "published: {}", answer.status());
    Ok(())
}
