//! An environment with very many identity overrides: every one is answered, a change of one moves
//! little, and the document comes in pages. docs/adr/0009-parts.md has the figures.

use std::collections::HashSet;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use serde_json::{Value, json};
use yardarm_core::snapshot::{Package, Publication, compile};

use crate::environment::Environment;
use crate::target::{Handed, Target, post, sha256_hex};

const FEATURES: usize = 100;
/// Of so many identities the flags are looked at.
const SAMPLES: usize = 200;
/// Bytes that a change of one override may move: a snapshot twice, the base and a chunk of the
/// document, a bucket.
const MOST_MOVED: usize = 1_500_000;
/// Bytes of a page of the document.
const LARGEST_PAGE: usize = 5 << 20;

/// An environment with so many identity overrides.
struct Many {
    key: String,
    server_key: String,
    count: usize,
}

impl Many {
    fn identifier(n: usize) -> String {
        format!("user-{n:06}-of-many")
    }

    fn package(&self, version: u64, value: impl Fn(usize) -> String) -> anyhow::Result<Package> {
        let state = |feature: usize, id: usize, value: String| {
            json!({"feature": {"id": feature, "name": format!("feature_{feature}"), "type": "STANDARD"},
                "enabled": true, "django_id": id, "feature_segment": null,
                "featurestate_uuid": format!("00000000-0000-4000-8000-{id:012}"),
                "feature_state_value": value, "multivariate_feature_state_values": []})
        };
        let mut publication: Publication = serde_json::from_value(json!({
            "version": version, "updated_at_micros": 1_767_225_600_000_000_i64 + i64::try_from(version)?,
            "server_keys": [{"sha256": sha256_hex(&self.server_key), "active": true}],
            "document": {"id": 1, "api_key": self.key, "name": "Many",
                "updated_at": format!("2026-01-01T00:00:00.{version:06}+00:00"),
                "project": {"id": 1, "name": "Many", "segments": [],
                    "organisation": {"id": 1, "name": "Many"}},
                "feature_states": (1..=FEATURES)
                    .map(|id| state(id, id, "default".to_owned())).collect::<Vec<_>>()}
        }))?;
        let overrides = (0..self.count).map(|n| {
            serde_json::from_value(json!({"identifier": Self::identifier(n),
                "environment_api_key": self.key, "created_date": "2026-01-01T00:00:00.000000+00:00",
                "identity_features": [state(1 + n % FEATURES, 1_000 + n, value(n))],
                "identity_traits": [], "django_id": n,
                "identity_uuid": format!("00000000-0000-4000-a000-{n:012}"),
                "composite_key": format!("{}_{}", self.key, Self::identifier(n))}))
        });
        publication.document.identity_overrides = overrides.collect::<Result<_, _>>()?;
        Ok(compile(&publication).0)
    }

    /// The value of the flag that an identity overrides.
    async fn value(&self, target: &Target, n: usize) -> anyhow::Result<String> {
        let body = json!({"identifier": Self::identifier(n), "transient": true});
        let request = post(&self.key, "/api/v1/identities/", &body)?;
        let reply = target.send(request).await?;
        ensure!(reply.status() == StatusCode::OK, "identity {n}: {reply:?}");
        let answer: Value = serde_json::from_slice(reply.body())?;
        let value = &answer["flags"][n % FEATURES]["feature_state_value"];
        Ok(value.as_str().context("a text")?.to_owned())
    }

    async fn page(
        &self,
        target: &Target,
        path: &str,
        etag: Option<&str>,
    ) -> anyhow::Result<Response<Bytes>> {
        let mut request = Request::get(path).header("x-environment-key", &self.server_key);
        if let Some(etag) = etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        target.send(request.body(Bytes::new())?).await
    }

    /// Reads the document as an SDK does that follows pages. Gives the paths of the pages.
    async fn read_document(&self, target: &Target, version: u64) -> anyhow::Result<Vec<String>> {
        let mut paths = vec!["/api/v1/environment-document/".to_owned()];
        let mut seen = HashSet::new();
        loop {
            let path = paths.last().context("there is one")?.clone();
            let reply = self.page(target, &path, None).await?;
            ensure!(reply.status() == StatusCode::OK, "{path}: {reply:?}");
            ensure!(
                reply.body().len() <= LARGEST_PAGE,
                "{path}: {} bytes",
                reply.body().len()
            );
            let page: Value = serde_json::from_slice(reply.body())?;
            ensure!(
                page["feature_states"]
                    .as_array()
                    .is_some_and(|all| all.len() == FEATURES)
            );
            ensure!(page["updated_at"] == format!("2026-01-01T00:00:00.{version:06}+00:00"));
            for of_identity in page["identity_overrides"].as_array().context("a list")? {
                let identifier = of_identity["identifier"].as_str().context("a text")?;
                ensure!(
                    seen.insert(identifier.to_owned()),
                    "{identifier} is there twice"
                );
            }
            let text = |name: header::HeaderName| {
                reply
                    .headers()
                    .get(name)
                    .and_then(|value| value.to_str().ok())
                    .map(str::to_owned)
            };
            let etag = text(header::ETAG).context("an entity tag")?;
            let again = self.page(target, &path, Some(&etag)).await?;
            ensure!(
                again.status() == StatusCode::NOT_MODIFIED,
                "{path}: {again:?}"
            );
            ensure!(again.headers().get(header::LINK) == reply.headers().get(header::LINK));
            let Some(link) = text(header::LINK) else {
                break;
            };
            let next = link
                .strip_prefix('<')
                .and_then(|link| link.strip_suffix(">; rel=\"next\""));
            paths.push(next.context("a link to the next page")?.to_owned());
        }
        ensure!(
            seen.len() == self.count,
            "{} overrides of {}",
            seen.len(),
            self.count
        );
        Ok(paths)
    }
}

/// Publishes so many overrides, looks at some, changes one, reads the document.
pub async fn answers_very_many_overrides(target: &Target, count: usize) -> anyhow::Result<()> {
    let key = Environment::fresh("many").key;
    let many = Many {
        server_key: format!("ser.{key}"),
        key,
        count,
    };
    let value = |n: usize| format!("value of {n}");
    let first = many.package(1, value)?;
    let from = Instant::now();
    let handed = target.hand_over(&first).await?;
    told("published", &handed, from);
    ensure!(
        handed.reply.status() == StatusCode::CREATED,
        "{:?}",
        handed.reply
    );
    let samples: Vec<usize> = (0..SAMPLES.min(count)).map(|n| n * 7_919 % count).collect();
    for (round, who) in ["an identity asks", "once more"].into_iter().enumerate() {
        let from = Instant::now();
        for n in &samples {
            ensure!(many.value(target, *n).await? == value(*n), "identity {n}");
        }
        asked(who, from, samples.len());
        // What nobody overrides, for comparison.
        let from = Instant::now();
        for n in &samples {
            let nobody = count + round * SAMPLES + n;
            ensure!(many.value(target, nobody).await? == "default");
        }
        asked("one without overrides", from, samples.len());
    }
    let pages = many.read_document(target, 1).await?;
    println!("the document has {} pages", pages.len());

    let edited = samples[samples.len() / 2];
    let value = |n: usize| {
        if n == edited {
            "edited".to_owned()
        } else {
            value(n)
        }
    };
    let second = many.package(2, value)?;
    // Without the parts, as if the publisher died before it sent them.
    let reply = target.put(&second, second.snapshot()).await?;
    ensure!(reply.status() == StatusCode::ACCEPTED, "{reply:?}");
    ensure!(
        many.value(target, edited).await? != "edited",
        "a part of a version serves"
    );
    let from = Instant::now();
    let handed = target.hand_over(&second).await?;
    told("changed one override", &handed, from);
    ensure!(
        handed.reply.status() == StatusCode::CREATED,
        "{:?}",
        handed.reply
    );
    ensure!(
        handed.bytes <= MOST_MOVED.min(second.size()),
        "{} bytes for one override",
        handed.bytes
    );
    for n in &samples {
        ensure!(
            many.value(target, *n).await? == value(*n),
            "identity {n} after the change"
        );
    }
    if let Some(old) = pages.get(1) {
        let reply = many.page(target, old, None).await?;
        ensure!(reply.status() == StatusCode::GONE, "{old}: {reply:?}");
    }
    many.read_document(target, 2).await?;
    Ok(())
}

fn asked(who: &str, from: Instant, count: usize) {
    let micros = from.elapsed().as_micros() / u128::try_from(count.max(1)).unwrap_or(1);
    println!("{who}: {micros} µs");
}

fn told(what: &str, handed: &Handed, from: Instant) {
    let (bytes, requests, took) = (handed.bytes, handed.requests, from.elapsed().as_millis());
    println!(
        "{what}: {requests} requests, {bytes} bytes, the largest {}, {took} ms",
        handed.largest
    );
}
