//! A tag's types.

use serde::Serialize;
use tokio_postgres::{Error, Row};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::http::{Bool, Fields, Patch, Text, set};
use crate::store::{FromRow, row};

/// The colour of a tag that nobody gave one (flagsmith-api.md C.5).
pub(super) const DEFAULT_COLOR: &str = "#6837FC";

row! {
    /// A tag as stored.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct Tag {
        id: i64,
        uuid: Uuid,
        project_id: i64,
        label: String,
        color: String,
        description: Option<String>,
        is_permanent: bool,
        is_system: bool,
        kind: String,
    }
}

/// A row with how many there are.
pub(super) struct Counted {
    pub(super) tag: Tag,
    pub(super) total: i64,
}

impl FromRow for Counted {
    fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            tag: Tag::from_row(row)?,
            total: row.try_get("total")?,
        })
    }
}

/// A tag as the API shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tag)]
pub(super) struct TagOut {
    id: i64,
    label: String,
    color: String,
    description: Option<String>,
    project: i64,
    uuid: Uuid,
    /// Its features are meant to stay.
    is_permanent: bool,
    /// Made by the platform: nobody can change or delete it.
    is_system_tag: bool,
    /// `NONE`; of a system tag what it is for: `STALE`, `GITHUB`, `UNHEALTHY` or `GITLAB`.
    r#type: String,
}

impl From<Tag> for TagOut {
    fn from(tag: Tag) -> Self {
        let Tag {
            id,
            uuid,
            project_id,
            label,
            color,
            description,
            is_permanent,
            is_system,
            kind,
        } = tag;
        Self {
            id,
            label,
            color,
            description,
            project: project_id,
            uuid,
            is_permanent,
            is_system_tag: is_system,
            r#type: kind,
        }
    }
}

/// What a caller says about a tag. Its type and whether it is a system tag are not for callers to say.
#[derive(Clone, Debug, ToSchema)]
#[schema(as = TagRequest)]
pub(super) struct TagIn {
    /// Need not be unique.
    #[schema(required, nullable = false, max_length = 100)]
    label: Option<String>,
    /// As in CSS; `#6837FC` if it is left out.
    #[schema(nullable = false, max_length = 10)]
    color: Option<String>,
    #[schema(value_type = Option<String>, max_length = 512)]
    description: Patch<String>,
    #[schema(nullable = false)]
    is_permanent: Option<bool>,
}

impl TagIn {
    /// Reads the fields; what is wrong with them is for [`Fields::finish`] to tell.
    pub(super) fn read(fields: &mut Fields) -> Self {
        Self {
            label: fields.update("label", Text::max(100)),
            color: fields.optional("color", Text::max(10)),
            description: fields.nullable("description", Text::max(512).or_blank()),
            is_permanent: fields.optional("is_permanent", Bool),
        }
    }

    /// Changes the tag to what the caller said.
    pub(super) fn apply(self, tag: &mut Tag) {
        let Self {
            label,
            color,
            description,
            is_permanent,
        } = self;
        set(&mut tag.label, label);
        set(&mut tag.color, color);
        description.apply(&mut tag.description);
        set(&mut tag.is_permanent, is_permanent);
    }
}
