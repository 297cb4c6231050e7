//! A segment's types.

use chrono::{DateTime, Utc};
use postgres_types::Json;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::rules::{self, Rule};
use crate::http::{ApiTime, FieldErrors, Fields, Id, Mode, Patch, Text, set};
use crate::store::row;

row! {
    /// A segment as stored.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct Segment {
        id: i64,
        uuid: Uuid,
        project_id: i64,
        feature_id: Option<i64>,
        name: String,
        description: Option<String>,
        rules: Json<Vec<Rule>>,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
    }
}

row! {
    /// A state that a segment has in an environment.
    #[derive(Clone, Copy, Debug)]
    pub(super) struct Associated {
        id: i64,
        feature_id: i64,
        environment_id: i64,
        total: i64,
    }
}

/// A segment as the API shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Segment)]
pub(super) struct SegmentOut {
    id: i64,
    uuid: Uuid,
    created_at: ApiTime,
    updated_at: ApiTime,
    name: String,
    description: Option<String>,
    project: i64,
    /// Set: for this feature only.
    feature: Option<i64>,
    /// Its own id: there are no other versions.
    version_of: i64,
    rules: Vec<Rule>,
    #[schema(value_type = Vec<Object>)]
    metadata: [(); 0],
    #[schema(value_type = Vec<Object>)]
    membership_counts: [(); 0],
    managed_by: &'static str,
}

impl From<Segment> for SegmentOut {
    fn from(segment: Segment) -> Self {
        let Segment {
            id,
            uuid,
            project_id,
            feature_id,
            name,
            description,
            rules: Json(rules),
            created_at,
            updated_at,
        } = segment;
        Self {
            id,
            uuid,
            created_at: created_at.into(),
            updated_at: updated_at.into(),
            name,
            description,
            project: project_id,
            feature: feature_id,
            version_of: id,
            rules,
            metadata: [],
            membership_counts: [],
            managed_by: "",
        }
    }
}

/// A feature that a segment overrides.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AssociatedFeature)]
pub(super) struct AssociatedOut {
    /// Of the state.
    id: i64,
    feature: i64,
    environment: i64,
}

impl From<Associated> for AssociatedOut {
    fn from(row: Associated) -> Self {
        Self {
            id: row.id,
            feature: row.feature_id,
            environment: row.environment_id,
        }
    }
}

/// What a caller says about a segment.
#[derive(Clone, Debug, ToSchema)]
#[schema(as = SegmentRequest)]
pub(super) struct SegmentIn {
    #[schema(required, nullable = false, max_length = 2000)]
    name: Option<String>,
    #[schema(value_type = Option<String>)]
    description: Patch<String>,
    #[schema(value_type = Option<i64>)]
    feature: Patch<i64>,
    /// One at least; at most 100 conditions in all. What carries `"delete": true` is left out.
    #[schema(required, nullable = false)]
    rules: Option<Vec<Rule>>,
}

impl SegmentIn {
    /// Reads the fields. What is wrong with the rules as a whole is told only when nothing else is.
    pub(super) fn read(mut fields: Fields) -> Result<Self, FieldErrors> {
        let name = fields.update("name", Text::max(2000));
        let description = fields.nullable("description", Text::max(10_000).or_blank());
        let feature = fields.nullable("feature", Id);
        let mut rules = None;
        match fields.raw("rules") {
            None if fields.mode() == Mode::Full => fields.error("rules", "This field is required."),
            None => {}
            Some(said) => match rules::read(said) {
                Ok(read) => rules = Some(read),
                Err(errors) => fields.merge(errors),
            },
        }
        if let Some(Value::Array(items)) = fields.raw("metadata")
            && !items.is_empty()
        {
            let message = "Segments have no metadata fields yet.";
            fields.error("metadata", message);
        }
        fields.into_result()?;
        Ok(Self {
            name,
            description,
            feature,
            rules,
        })
    }

    /// The feature that it should be for.
    pub(super) fn feature(&self) -> Option<i64> {
        match self.feature {
            Patch::Value(id) => Some(id),
            Patch::Absent | Patch::Null => None,
        }
    }

    /// Changes the segment to what the caller said; gives the rules apart, as they need ids.
    pub(super) fn apply(self, segment: &mut Segment) -> Option<Vec<Rule>> {
        let Self {
            name,
            description,
            feature,
            rules,
        } = self;
        set(&mut segment.name, name);
        description.apply(&mut segment.description);
        feature.apply(&mut segment.feature_id);
        rules
    }
}

/// What a copy is called.
#[derive(Debug, ToSchema)]
#[schema(as = CloneSegment)]
pub(super) struct CloneIn {
    #[schema(max_length = 2000)]
    pub(super) name: String,
}

impl CloneIn {
    /// Reads the fields.
    pub(super) fn read(mut fields: Fields) -> Result<Self, FieldErrors> {
        let name = fields.required("name", Text::max(2000));
        fields.into_result()?;
        Ok(Self { name })
    }
}
