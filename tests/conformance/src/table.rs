//! Core's request-to-reply tables, played over HTTP.

use anyhow::anyhow;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use yardarm_core::testing::{self, TABLES, Table};
use yardarm_core::time::Timestamp;

use crate::report::Report;
use crate::target::{Target, unix_seconds};

/// Plays every table; each environment of theirs is published once, so a server that has been asked
/// before answers some of them otherwise.
pub async fn play(target: &Target, report: &mut Report) -> anyhow::Result<()> {
    for (name, text) in TABLES {
        let table = Table::parse(text)?;
        let mut sent = 0;
        let asked = testing::Target {
            secret: target.secret(),
            now: Timestamp::from_secs(unix_seconds()),
        };
        let send = async |request: Request<Bytes>| {
            sent += 1;
            target
                .send(request)
                .await
                .unwrap_or_else(|error| unanswered(&error))
        };
        let failures = testing::run(&table, asked, send).await;
        report.add_passed(sent - failures.len().min(sent));
        for failure in failures {
            report.add(
                &format!("{name}.json: {}", failure.exchange),
                Err(anyhow!(failure.reason)),
            );
        }
    }
    Ok(())
}

/// Stands for the answer that did not come; no table expects it.
fn unanswered(error: &anyhow::Error) -> Response<Bytes> {
    let mut reply = Response::new(Bytes::from(format!("{error:#}")));
    *reply.status_mut() = StatusCode::BAD_GATEWAY;
    reply
}
