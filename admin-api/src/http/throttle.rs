//! How often a client may do something expensive, counted in memory.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use http::HeaderMap;

use super::ApiError;

/// At most so many in any minute for each client.
#[derive(Debug)]
pub(crate) struct Throttle {
    limit: usize,
    recent: Mutex<HashMap<String, Vec<DateTime<Utc>>>>,
}

impl Throttle {
    /// `limit` a minute.
    pub(crate) fn per_minute(limit: usize) -> Self {
        Self {
            limit,
            recent: Mutex::default(),
        }
    }

    /// Counts one by `client`, or says how long it has to wait.
    pub(crate) fn count(&self, client: &str, now: DateTime<Utc>) -> Result<(), ApiError> {
        let minute = TimeDelta::minutes(1);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() > 10_000 {
            recent.retain(|_, times| times.last().is_some_and(|last| now - *last < minute));
        }
        let times = recent.entry(client.to_owned()).or_default();
        times.retain(|time| now - *time < minute);
        match times.first() {
            Some(first) if times.len() >= self.limit => {
                let wait = (minute - (now - *first)).as_seconds_f64().ceil();
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "between 0 and 60"
                )]
                let wait = wait.clamp(0.0, 60.0) as u64;
                Err(ApiError::Throttled(wait))
            }
            _ => {
                times.push(now);
                Ok(())
            }
        }
    }
}

/// Who is asking: what the nearest proxy says, or the socket's address.
pub(crate) fn client(headers: &HeaderMap, peer: Option<std::net::SocketAddr>) -> String {
    match headers
        .get("x-forwarded-for")
        .and_then(|value| value.to_str().ok())
    {
        Some(forwarded) => forwarded.split_whitespace().collect(),
        None => peer.map_or_else(String::new, |peer| peer.ip().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_each_client_by_itself_and_forgets() {
        let throttle = Throttle::per_minute(2);
        let start = DateTime::UNIX_EPOCH;
        assert!(throttle.count("a", start).is_ok());
        assert!(throttle.count("a", start + TimeDelta::seconds(16)).is_ok());
        let refused = throttle.count("a", start + TimeDelta::seconds(16));
        assert!(
            matches!(refused, Err(ApiError::Throttled(44))),
            "{refused:?}"
        );
        assert!(throttle.count("b", start + TimeDelta::seconds(16)).is_ok());
        assert!(throttle.count("a", start + TimeDelta::seconds(60)).is_ok());
    }
}
