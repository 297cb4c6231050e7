//! What `/health` says of an edge with an upstream.

use bytes::Bytes;
use http::{Response, StatusCode};

use super::super::{json_text, reply};
use crate::time::Timestamp;

/// How the looks of an edge stand.
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamStatus {
    /// Every environment that was asked for.
    pub environments: Vec<LookStatus>,
    /// An environment is stale when its last successful look is longer ago, in seconds; `None`: never.
    pub stale_after: Option<u64>,
}

/// How the looks at one environment stand.
#[derive(Debug, Clone, PartialEq)]
pub struct LookStatus {
    /// The client-side key.
    pub environment_key: String,
    /// When upstream last said what is current.
    pub confirmed_at: Option<Timestamp>,
    /// Why the latest look told nothing.
    pub problem: Option<String>,
}

impl UpstreamStatus {
    /// The reply: 200, or 503 where an environment was never read or is stale, in the fields of Flagsmith's
    /// edge-proxy (flagsmith-api.md A.7) and with every environment's own.
    pub(in crate::edge) fn reply(&self, now: Timestamp) -> Response<Bytes> {
        let confirmed = self.environments.iter().map(|look| look.confirmed_at);
        // `None` comes first: one that was never read.
        let oldest = confirmed.min().flatten();
        let age = |at: Timestamp| now.secs().saturating_sub(at.secs()).max(0);
        let is_stale = |at: Timestamp| {
            self.stale_after
                .is_some_and(|most| age(at).unsigned_abs() > most)
        };
        let reason = match oldest {
            None if !self.environments.is_empty() => Some("environment document(s) not updated."),
            Some(at) if is_stale(at) => Some("environment document(s) stale."),
            _ => None,
        };
        let mut out = Vec::with_capacity(160 * (self.environments.len() + 1));
        out.extend_from_slice(br#"{"status":"#);
        json_text::string(&mut out, if reason.is_some() { "error" } else { "ok" });
        out.extend_from_slice(br#","reason":"#);
        text_or_null(&mut out, reason);
        out.extend_from_slice(br#","last_successful_update":"#);
        text_or_null(&mut out, oldest.map(Timestamp::iso8601).as_deref());
        out.extend_from_slice(br#","environments":["#);
        for (index, look) in self.environments.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(br#"{"environment_key":"#);
            json_text::string(&mut out, &look.environment_key);
            out.extend_from_slice(br#","last_successful_update":"#);
            let at = look.confirmed_at;
            text_or_null(&mut out, at.map(Timestamp::iso8601).as_deref());
            out.extend_from_slice(br#","age_seconds":"#);
            let age = at.map_or("null".to_owned(), |at| age(at).to_string());
            out.extend_from_slice(age.as_bytes());
            out.extend_from_slice(br#","problem":"#);
            text_or_null(&mut out, look.problem.as_deref());
            out.push(b'}');
        }
        out.extend_from_slice(b"]}");
        let status = if reason.is_some() {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::OK
        };
        reply::plain_json(status, out.into())
    }
}

fn text_or_null(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => json_text::string(out, text),
        None => out.extend_from_slice(b"null"),
    }
}
