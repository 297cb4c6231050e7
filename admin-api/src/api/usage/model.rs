//! What is asked of usage, and how it is shown.

use chrono::{DateTime, Days, NaiveTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};
use yardarm_core::edge::delivery::Labels;

use crate::http::{ApiError, Choice, Int, Params};
use crate::usage::{EvaluationDay, LABELS, RequestDay, Span};

/// How many days are shown when nobody says.
const DAYS: i64 = 30;
/// What a period may be called. There are no bills, so two of them lead nowhere.
const PERIODS: &[&str] = &[
    "current_billing_period",
    "previous_billing_period",
    "90_day_period",
];

/// The labels of whoever was counted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageLabels)]
pub(crate) struct LabelsOut {
    client_application_name: Option<String>,
    client_application_version: Option<String>,
    user_agent: Option<String>,
}

impl From<Labels> for LabelsOut {
    fn from(labels: Labels) -> Self {
        let Labels {
            client_application_name,
            client_application_version,
            user_agent,
        } = labels;
        Self {
            client_application_name,
            client_application_version,
            user_agent,
        }
    }
}

/// A day's requests by those with the same labels.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageData)]
pub(crate) struct UsageOut {
    flags: i64,
    identities: i64,
    traits: i64,
    environment_document: i64,
    /// `2026-11-22`.
    day: String,
    labels: LabelsOut,
}

impl From<RequestDay> for UsageOut {
    fn from(row: RequestDay) -> Self {
        let RequestDay {
            day,
            labels,
            flags,
            identities,
            traits,
            environment_document,
        } = row;
        Self {
            flags,
            identities,
            traits,
            environment_document,
            day: day.to_string(),
            labels: labels.into(),
        }
    }
}

/// A day's evaluations by those with the same labels.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FeatureEvaluationData)]
pub(crate) struct EvaluationOut {
    /// `2026-11-22`.
    day: String,
    count: i64,
    labels: LabelsOut,
}

impl From<EvaluationDay> for EvaluationOut {
    fn from(row: EvaluationDay) -> Self {
        let EvaluationDay { day, labels, count } = row;
        Self {
            day: day.to_string(),
            count,
            labels: labels.into(),
        }
    }
}

/// How many requests there were.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageTotalCount)]
pub(crate) struct TotalOut {
    pub(crate) count: i64,
}

/// The older form of the same numbers.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InfluxData)]
pub(crate) struct EventsOut {
    /// One object a day.
    #[schema(value_type = Vec<std::collections::HashMap<String, String>>)]
    events_list: Vec<Value>,
}

impl EventsOut {
    /// Requests: `{"name": day, "Flags": …}`, whatever their labels.
    pub(crate) fn requests(days: &[RequestDay]) -> Self {
        let mut events: Vec<Value> = Vec::new();
        for chunk in days.chunk_by(|one, other| one.day == other.day) {
            let sum = |of: fn(&RequestDay) -> i64| chunk.iter().map(of).sum::<i64>();
            events.push(json!({
                "name": chunk[0].day.to_string(),
                "Flags": sum(|day| day.flags),
                "Identities": sum(|day| day.identities),
                "Traits": sum(|day| day.traits),
                "Environment-document": sum(|day| day.environment_document),
            }));
        }
        Self {
            events_list: events,
        }
    }

    /// Evaluations: `{"<feature>": count, "datetime": day}`, whatever their labels.
    pub(crate) fn evaluations(feature: &str, days: &[EvaluationDay]) -> Self {
        let mut events: Vec<Value> = Vec::new();
        for chunk in days.chunk_by(|one, other| one.day == other.day) {
            let mut event = Map::new();
            let count: i64 = chunk.iter().map(|day| day.count).sum();
            event.insert(feature.to_owned(), count.into());
            event.insert("datetime".to_owned(), chunk[0].day.to_string().into());
            events.push(Value::Object(event));
        }
        Self {
            events_list: events,
        }
    }
}

/// For the document.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(
    dead_code,
    reason = "parameters are read one by one; this describes them"
)]
pub(crate) struct UsageQuery {
    /// `90_day_period`; without it, 30 days.
    period: Option<String>,
    /// Only this project's.
    project_id: Option<i64>,
    /// Only this environment's.
    environment_id: Option<i64>,
    /// Only those with this label.
    client_application_name: Option<String>,
    /// Only those with this label.
    client_application_version: Option<String>,
    /// Only those with this label.
    user_agent: Option<String>,
}

/// For the document.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(
    dead_code,
    reason = "parameters are read one by one; this describes them"
)]
pub(crate) struct EvaluationsQuery {
    /// In which environment.
    environment_id: i64,
    /// How many days; 30.
    period: Option<i32>,
    /// Only those with this label.
    client_application_name: Option<String>,
    /// Only those with this label.
    client_application_version: Option<String>,
    /// Only those with this label.
    user_agent: Option<String>,
}

/// For the document.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(
    dead_code,
    reason = "parameters are read one by one; this describes them"
)]
pub(crate) struct EventsQuery {
    /// In which environment.
    environment_id: i64,
    /// For how long: `24h`, `30d`.
    period: Option<String>,
    /// Taken and not heeded: a day a row.
    aggregate_every: Option<String>,
}

/// The labels that are asked for.
pub(crate) fn labels(params: &Params) -> Labels {
    let mut labels = Labels::default();
    for (name, label) in LABELS {
        *label(&mut labels) = params.text(name);
    }
    labels
}

/// The days that an organisation's usage is asked for.
pub(crate) fn span(params: &mut Params, now: DateTime<Utc>) -> Result<Span, ApiError> {
    match params.read("period", Choice(PERIODS)) {
        None => Ok(last_days(DAYS, now)),
        Some("90_day_period") => Ok(last_days(90, now)),
        Some(_) => Err(ApiError::NotFoundBecause(
            "No billing periods found for this organisation.",
        )),
    }
}

/// The days that a feature's evaluations are asked for: `?period=` says how many.
pub(crate) fn evaluation_span(params: &mut Params, now: DateTime<Utc>) -> Span {
    let days = params.read("period", Int::any()).map_or(DAYS, i64::from);
    last_days(days, now)
}

/// The days that the older form is asked for: `?period=24h`.
pub(crate) fn events_span(params: &mut Params, now: DateTime<Utc>) -> Span {
    let asked = params.text("period").unwrap_or_else(|| "24h".to_owned());
    let period = duration(&asked).unwrap_or_else(|| {
        params.error(
            "period",
            "Enter a number of hours or days, such as 24h or 30d.",
        );
        TimeDelta::zero()
    });
    Span {
        from: now - period,
        until: now,
    }
}

/// So many whole days, today among them (as Flagsmith counts: later than the day that many days ago).
pub(crate) fn last_days(days: i64, now: DateTime<Utc>) -> Span {
    let midnight = now.with_time(NaiveTime::MIN).single().unwrap_or(now);
    let tomorrow = midnight + Days::new(1);
    let days = TimeDelta::days(days.clamp(0, 36_500));
    Span {
        from: tomorrow - days,
        until: tomorrow,
    }
}

/// `24h`, `30d`.
fn duration(text: &str) -> Option<TimeDelta> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u16 = number.parse().ok()?;
    let number = i64::from(number);
    match unit {
        "h" => Some(TimeDelta::hours(number)),
        "d" => Some(TimeDelta::days(number)),
        "w" => Some(TimeDelta::weeks(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_of_days_ends_with_today() {
        let now: DateTime<Utc> = "2026-01-02T03:04:05Z".parse().unwrap();
        let span = last_days(2, now);
        assert_eq!(span.from.to_rfc3339(), "2026-01-01T00:00:00+00:00");
        assert_eq!(span.until.to_rfc3339(), "2026-01-03T00:00:00+00:00");
        let none = last_days(-4, now);
        assert_eq!(none.from, none.until);
    }

    #[test]
    fn periods_as_influxdb_writes_them() {
        assert_eq!(duration("24h"), Some(TimeDelta::days(1)));
        assert_eq!(duration("30d"), Some(TimeDelta::days(30)));
        assert_eq!(duration("2w"), Some(TimeDelta::days(14)));
        for wrong in ["", "h", "24", "-1h", "1y", "1é", "99999999d"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }
}
