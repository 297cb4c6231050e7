//! What is asked of usage, and what is answered: sums by day and labels.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use yardarm_core::edge::delivery::{Labels, Resource};

/// From a moment on, up to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// The first moment.
    pub(crate) from: DateTime<Utc>,
    /// The first moment after.
    pub(crate) until: DateTime<Utc>,
}

/// Which requests are asked for.
#[derive(Debug, Clone)]
pub(crate) struct RequestQuery {
    /// Whose.
    pub(crate) organisation_id: i64,
    /// Only this project's.
    pub(crate) project_id: Option<i64>,
    /// Only this environment's.
    pub(crate) environment_id: Option<i64>,
    /// All environments that fit these: there is at least one. None of any other counts.
    pub(crate) environments: Vec<i64>,
    /// When.
    pub(crate) span: Span,
    /// Only those that have these labels.
    pub(crate) labels: Labels,
}

/// Which evaluations are asked for.
#[derive(Debug, Clone)]
pub(crate) struct EvaluationQuery {
    /// Where.
    pub(crate) environment_id: i64,
    /// Of which feature.
    pub(crate) feature_name: String,
    /// When.
    pub(crate) span: Span,
    /// Only those that have these labels.
    pub(crate) labels: Labels,
}

/// A day's requests by those with the same labels.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RequestDay {
    /// The day.
    pub(crate) day: NaiveDate,
    /// The labels.
    pub(crate) labels: Labels,
    /// To `/flags/`.
    pub(crate) flags: i64,
    /// To `/identities/`.
    pub(crate) identities: i64,
    /// To `/traits/`.
    pub(crate) traits: i64,
    /// To `/environment-document/`.
    pub(crate) environment_document: i64,
}

impl RequestDay {
    /// Of everything.
    pub(crate) fn total(&self) -> i64 {
        self.flags + self.identities + self.traits + self.environment_document
    }
}

/// A day's evaluations of a feature by those with the same labels.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EvaluationDay {
    /// The day.
    pub(crate) day: NaiveDate,
    /// The labels.
    pub(crate) labels: Labels,
    /// How many.
    pub(crate) count: i64,
}

/// Brings sums by resource together into days, in order.
pub(super) fn days(
    sums: impl IntoIterator<Item = (NaiveDate, Labels, Resource, i64)>,
) -> Vec<RequestDay> {
    let mut days = BTreeMap::new();
    for (day, labels, resource, count) in sums {
        let day = days
            .entry((day, labels.clone()))
            .or_insert_with(|| RequestDay {
                day,
                labels,
                flags: 0,
                identities: 0,
                traits: 0,
                environment_document: 0,
            });
        *match resource {
            Resource::Flags => &mut day.flags,
            Resource::Identities => &mut day.identities,
            Resource::Traits => &mut day.traits,
            Resource::EnvironmentDocument => &mut day.environment_document,
        } += count;
    }
    days.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_a_row_for_each_set_of_labels() {
        let day = |day| NaiveDate::from_ymd_opt(2026, 1, day).unwrap();
        let web = Labels {
            client_application_name: Some("web".to_owned()),
            ..Labels::default()
        };
        let none = Labels::default();
        let days = days([
            (day(2), none.clone(), Resource::Flags, 1),
            (day(1), none.clone(), Resource::Identities, 2),
            (day(1), web.clone(), Resource::Traits, 3),
            (day(1), none.clone(), Resource::EnvironmentDocument, 4),
            (day(1), none.clone(), Resource::Identities, 5),
        ]);
        let seen: Vec<_> = days
            .iter()
            .map(|row| (row.day, &row.labels, row.identities, row.total()))
            .collect();
        assert_eq!(
            seen,
            [
                (day(1), &none, 7, 11),
                (day(1), &web, 0, 3),
                (day(2), &none, 0, 1)
            ]
        );
    }
}
