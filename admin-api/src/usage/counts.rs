//! Counts whose environments are known.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use yardarm_core::edge::delivery::{Labels, Resource};

use crate::store::row;

row! {
    /// An environment with what is around it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Place {
        environment_id: i64,
        api_key: String,
        environment: String,
        project_id: i64,
        project: String,
        organisation_id: i64,
        organisation: String,
    }
}

/// What a batch counted.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Counts {
    /// Requests.
    pub(crate) requests: Vec<Requests>,
    /// Evaluations.
    pub(crate) evaluations: Vec<Evaluations>,
}

impl Counts {
    /// There are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.evaluations.is_empty()
    }
}

/// Requests within a minute that are alike.
#[derive(Debug, PartialEq)]
pub(crate) struct Requests {
    /// Of which environment.
    pub(crate) place: Arc<Place>,
    /// For what.
    pub(crate) resource: Resource,
    /// At which host; may be empty.
    pub(crate) host: String,
    /// By whom.
    pub(crate) labels: Labels,
    /// The minute's start.
    pub(crate) minute: DateTime<Utc>,
    /// How many.
    pub(crate) count: i64,
}

/// Evaluations within a minute that are alike.
#[derive(Debug, PartialEq)]
pub(crate) struct Evaluations {
    /// In which environment.
    pub(crate) place: Arc<Place>,
    /// Of which feature.
    pub(crate) feature_name: String,
    /// For whom, where that is known.
    pub(crate) identity_identifier: Option<String>,
    /// In which state, where that is known.
    pub(crate) enabled_when_evaluated: Option<bool>,
    /// By whom.
    pub(crate) labels: Labels,
    /// The minute's start.
    pub(crate) minute: DateTime<Utc>,
    /// How many.
    pub(crate) count: i64,
}

/// One of the labels: its name, and where it is.
type Label = (&'static str, fn(&mut Labels) -> &mut Option<String>);

/// The labels, as Flagsmith names them.
pub(crate) const LABELS: [Label; 3] = [
    ("client_application_name", |labels| {
        &mut labels.client_application_name
    }),
    ("client_application_version", |labels| {
        &mut labels.client_application_version
    }),
    ("user_agent", |labels| &mut labels.user_agent),
];

/// All there are.
pub(super) const RESOURCES: [Resource; 4] = [
    Resource::Flags,
    Resource::Identities,
    Resource::Traits,
    Resource::EnvironmentDocument,
];

/// A resource's number in Flagsmith's tables.
pub(crate) fn number(resource: Resource) -> i16 {
    match resource {
        Resource::Flags => 1,
        Resource::Identities => 2,
        Resource::Traits => 3,
        Resource::EnvironmentDocument => 4,
    }
}
