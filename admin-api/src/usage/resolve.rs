//! From client-side keys and names to environments and features that exist, row by row.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Duration, DurationRound as _, Utc};
use yardarm_core::edge::delivery::{Delivery, EvaluationCount, Labels, RequestCount};

use super::counts::{Counts, Evaluations, LABELS, Place, Requests};
use crate::intake::fits;
use crate::sql::usage as sql;
use crate::store::{Db, Queries as _, row};

/// Longest label and host.
const LABEL_MAX: usize = 255;
/// Longest identifier.
const IDENTIFIER_MAX: usize = 2000;
/// More than this of one thing at one edge within one minute is no count.
const COUNT_MAX: i64 = i32::MAX as i64;
/// How far ahead of ours the clock of an edge may be.
const SKEW: Duration = Duration::minutes(5);

row! {
    struct FeatureRow {
        project_id: i64,
        name: String,
    }
}

/// What is known of what a batch names.
#[derive(Default)]
struct Known {
    places: HashMap<String, Arc<Place>>,
    features: HashMap<i64, HashSet<String>>,
}

/// A batch's counts, but for those that cannot be used; tells how many these are.
pub(super) async fn resolve(
    db: &Db,
    batch: &Delivery,
    oldest: DateTime<Utc>,
    now: DateTime<Utc>,
) -> anyhow::Result<(Counts, u64)> {
    let known = look_up(db, batch).await?;
    let times = Times { oldest, now };
    let requests: Vec<Requests> = batch
        .requests
        .iter()
        .filter_map(|row| known.requests(row, times))
        .collect();
    let evaluations: Vec<Evaluations> = batch
        .evaluations
        .iter()
        .filter_map(|row| known.evaluations(row, times))
        .collect();
    let rows = batch.requests.len() + batch.evaluations.len();
    let skipped = rows - requests.len() - evaluations.len();
    let counts = Counts {
        requests,
        evaluations,
    };
    Ok((counts, u64::try_from(skipped).unwrap_or(u64::MAX)))
}

async fn look_up(db: &Db, batch: &Delivery) -> anyhow::Result<Known> {
    let requests = batch.requests.iter().map(|row| &row.environment_key);
    let evaluations = batch.evaluations.iter().map(|row| &row.environment_key);
    let keys: HashSet<&str> = requests
        .chain(evaluations)
        .map(String::as_str)
        .filter(|key| !key.contains('\0'))
        .collect();
    let keys: Vec<&str> = keys.into_iter().collect();
    let places: Vec<Place> = db.all(sql::PLACES, [&keys]).await?;
    let mut known = Known::default();
    let projects: Vec<i64> = places.iter().map(|place| place.project_id).collect();
    let names: HashSet<&str> = batch
        .evaluations
        .iter()
        .map(|row| row.feature_name.as_str())
        .filter(|name| !name.contains('\0'))
        .collect();
    if !names.is_empty() {
        let names: Vec<&str> = names.into_iter().collect();
        let features: Vec<FeatureRow> = db.all(sql::FEATURES, [&projects, &names]).await?;
        for feature in features {
            let names = known.features.entry(feature.project_id).or_default();
            names.insert(feature.name);
        }
    }
    known.places = places
        .into_iter()
        .map(|place| (place.api_key.clone(), Arc::new(place)))
        .collect();
    Ok(known)
}

impl Known {
    fn requests(&self, row: &RequestCount, times: Times) -> Option<Requests> {
        let count = i64::try_from(row.count).ok()?;
        Some(Requests {
            place: Arc::clone(self.places.get(&row.environment_key)?),
            resource: row.resource,
            // Whatever a client puts there counts as a request all the same.
            host: Some(&row.host)
                .filter(|host| fits(host, LABEL_MAX))
                .cloned()
                .unwrap_or_default(),
            labels: storable(&row.labels)?,
            minute: times.minute(row.minute)?,
            count: Some(count).filter(|count| (1..=COUNT_MAX).contains(count))?,
        })
    }

    fn evaluations(&self, row: &EvaluationCount, times: Times) -> Option<Evaluations> {
        let place = self.places.get(&row.environment_key)?;
        let features = self.features.get(&place.project_id)?;
        let identifier = row.identity_identifier.as_deref();
        if identifier.is_some_and(|identifier| !fits(identifier, IDENTIFIER_MAX)) {
            return None;
        }
        Some(Evaluations {
            place: Arc::clone(place),
            feature_name: features.get(&row.feature_name)?.clone(),
            identity_identifier: row.identity_identifier.clone(),
            enabled_when_evaluated: row.enabled_when_evaluated,
            labels: storable(&row.labels)?,
            minute: times.minute(row.minute)?,
            // SDKs may take back what they said (flagsmith-observed.md 3.9).
            count: Some(row.count).filter(|count| (-COUNT_MAX..=COUNT_MAX).contains(count))?,
        })
    }
}

/// Within what a minute has to be.
#[derive(Clone, Copy)]
struct Times {
    oldest: DateTime<Utc>,
    now: DateTime<Utc>,
}

impl Times {
    /// The minute that an edge's clock told: one that cannot be yet is this one. Nothing when it is so long ago
    /// that its raw rows are gone.
    fn minute(self, unix_seconds: i64) -> Option<DateTime<Utc>> {
        let told = DateTime::from_timestamp(unix_seconds, 0)?;
        let at = if told > self.now + SKEW {
            self.now
        } else {
            told
        };
        let minute = at.duration_trunc(Duration::minutes(1)).ok()?;
        Some(minute).filter(|minute| *minute >= self.oldest)
    }
}

fn storable(labels: &Labels) -> Option<Labels> {
    let mut labels = labels.clone();
    for (_, label) in LABELS {
        let label = label(&mut labels);
        // An empty one says as much as none.
        label.take_if(|text| text.is_empty());
        if label.as_deref().is_some_and(|text| !fits(text, LABEL_MAX)) {
            return None;
        }
    }
    Some(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times() -> Times {
        let now: DateTime<Utc> = "2026-01-02T03:04:05Z".parse().unwrap();
        Times {
            oldest: now - Duration::days(29),
            now,
        }
    }

    #[test]
    fn minutes_are_whole_and_neither_ahead_nor_too_old() {
        let minute = |text: &str| {
            let told: DateTime<Utc> = text.parse().unwrap();
            times()
                .minute(told.timestamp())
                .map(|minute| minute.to_rfc3339())
        };
        let this = Some("2026-01-02T03:04:00+00:00".to_owned());
        assert_eq!(minute("2026-01-02T03:04:59Z"), this);
        assert_eq!(minute("2030-01-01T00:00:00Z"), this);
        let ahead = Some("2026-01-02T03:09:00+00:00".to_owned());
        assert_eq!(minute("2026-01-02T03:09:05Z"), ahead);
        let old = Some("2025-12-05T00:00:00+00:00".to_owned());
        assert_eq!(minute("2025-12-05T00:00:00Z"), old);
        assert_eq!(minute("2025-12-03T00:00:00Z"), None);
        assert_eq!(times().minute(i64::MAX), None);
    }

    #[test]
    fn labels_fit_or_the_row_is_left_out() {
        let labels = |name: &str| Labels {
            client_application_name: Some(name.to_owned()),
            ..Labels::default()
        };
        assert_eq!(storable(&labels("web")), Some(labels("web")));
        assert_eq!(storable(&labels("")), Some(Labels::default()));
        assert_eq!(storable(&labels(&"x".repeat(256))), None);
        assert_eq!(storable(&labels("a\0b")), None);
    }
}
