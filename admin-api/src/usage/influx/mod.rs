//! Usage in InfluxDB 2, laid out as Flagsmith lays it out, so that data it wrote there is read on and its dashboards
//! keep working: measurements `api_call` and `feature_evaluation`, the field `request_count`, the same tags.
//!
//! Counts are written to `INFLUXDB_BUCKET`; tasks in InfluxDB sum them up into `<bucket>_downsampled_15m` and
//! `…_1h` ([`tasks`]), and the first of these is what is read.

mod csv;
mod flux;
mod line;
mod setup;
mod tasks;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use serde_json::json;

pub use tasks::{Task, tasks};

use super::counts::Counts;
use super::day::{EvaluationDay, EvaluationQuery, RequestDay, RequestQuery, days};
use crate::outbound::{Answer, OperatorClient};

/// How many points are written at once.
const POINTS: usize = 5_000;

/// Where the InfluxDB is, by Flagsmith's variables.
#[derive(Clone, PartialEq, Eq)]
pub struct InfluxSettings {
    /// `INFLUXDB_URL`: where its API is.
    pub url: String,
    /// `INFLUXDB_TOKEN`: what lets us in.
    pub token: String,
    /// `INFLUXDB_ORG`: the organisation, by name or id.
    pub org: String,
    /// `INFLUXDB_BUCKET`: the bucket for counts as they come.
    pub bucket: String,
}

impl std::fmt::Debug for InfluxSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InfluxSettings")
            .field("url", &self.url)
            .field("org", &self.org)
            .field("bucket", &self.bucket)
            .finish_non_exhaustive()
    }
}

/// A client of an InfluxDB.
#[derive(Debug, Clone)]
pub struct Influx {
    settings: InfluxSettings,
    http: OperatorClient,
}

impl Influx {
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// When the URL is none, or there is no TLS to be had.
    pub fn new(settings: InfluxSettings) -> anyhow::Result<Self> {
        let parsed: Uri = settings.url.parse().context("INFLUXDB_URL")?;
        anyhow::ensure!(
            matches!(parsed.scheme_str(), Some("http" | "https")),
            "INFLUXDB_URL has to be an http(s) URL"
        );
        Ok(Self {
            settings,
            http: OperatorClient::new()?,
        })
    }

    /// Stores a batch. Its points have the same times whenever it comes again, so they count once.
    pub(super) async fn write(&self, batch: &str, counts: &Counts) -> anyhow::Result<()> {
        let lines = line::lines(batch, counts);
        let path = format!(
            "/api/v2/write?{}",
            query(&[
                ("org", &self.settings.org),
                ("bucket", &self.settings.bucket),
                ("precision", "ns"),
            ])
        );
        for chunk in lines.chunks(POINTS) {
            let body = chunk.join("\n").into_bytes();
            let answer = self
                .send(
                    Method::POST,
                    &path,
                    "text/plain; charset=utf-8",
                    body.into(),
                )
                .await?;
            match answer.status {
                status if status.is_success() => {}
                StatusCode::BAD_REQUEST
                | StatusCode::PAYLOAD_TOO_LARGE
                | StatusCode::UNPROCESSABLE_ENTITY => {
                    // Nor would it take them later: older than its retention, or against an existing type.
                    tracing::error!(
                        answer = describe(&answer),
                        "InfluxDB does not take some counts"
                    );
                }
                _ => bail!("InfluxDB: {}", describe(&answer)),
            }
        }
        Ok(())
    }

    /// Requests, by day.
    pub(super) async fn requests(&self, asked: &RequestQuery) -> anyhow::Result<Vec<RequestDay>> {
        let rows = self
            .ask(&flux::requests(&self.read_bucket(), asked))
            .await?;
        Ok(days(rows.iter().filter_map(|row| {
            Some((
                row.day()?,
                row.labels(),
                line::resource(row.get("resource")?)?,
                row.value()?,
            ))
        })))
    }

    /// Evaluations of a feature, by day.
    pub(super) async fn evaluations(
        &self,
        asked: &EvaluationQuery,
    ) -> anyhow::Result<Vec<EvaluationDay>> {
        let rows = self
            .ask(&flux::evaluations(&self.read_bucket(), asked))
            .await?;
        let day = |row: &csv::Record| {
            Some(EvaluationDay {
                day: row.day()?,
                labels: row.labels(),
                count: row.value()?,
            })
        };
        let mut days: Vec<EvaluationDay> = rows.iter().filter_map(day).collect();
        days.sort_by(|one, other| (one.day, &one.labels).cmp(&(other.day, &other.labels)));
        Ok(days)
    }

    /// The bucket that sums are read from, for any period, as Flagsmith does.
    fn read_bucket(&self) -> String {
        format!("{}_downsampled_15m", self.settings.bucket)
    }

    async fn ask(&self, flux: &str) -> anyhow::Result<Vec<csv::Record>> {
        let path = format!("/api/v2/query?{}", query(&[("org", &self.settings.org)]));
        let body = json!({
            "type": "flux",
            "query": flux,
            "dialect": {"header": true, "annotations": [], "delimiter": ","},
        });
        let answer = self
            .send(
                Method::POST,
                &path,
                "application/json",
                body.to_string().into(),
            )
            .await?;
        if !answer.status.is_success() {
            bail!("InfluxDB: {}", describe(&answer));
        }
        csv::read(&answer.body)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Bytes,
    ) -> anyhow::Result<Answer> {
        let url = format!("{}{path}", self.settings.url.trim_end_matches('/'));
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header(
                header::AUTHORIZATION,
                format!("Token {}", self.settings.token),
            )
            .header(header::CONTENT_TYPE, content_type)
            .header(header::ACCEPT, "application/csv, application/json")
            .body(body)?;
        self.http.send(request).await.context("InfluxDB")
    }
}

fn query(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

/// The status and the beginning of what it says, on one line.
fn describe(answer: &Answer) -> String {
    let text = String::from_utf8_lossy(&answer.body);
    let text: String = text.chars().filter(|c| !c.is_control()).take(300).collect();
    format!("{} {text}", answer.status)
}
