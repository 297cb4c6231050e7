//! Which tags a feature has. They change nothing that an edge answers.

use serde_json::Value;
use tokio_postgres::Error;

use crate::api::feature_states::not_a_list;
use crate::http::{Field as _, Fields, Id};
use crate::sql::api::features as sql;
use crate::store::{Db, Queries as _, Write};
use yardarm_core::engine::coerce::python_text;

/// The tags that a body gives a feature, if it says anything of them. They have to be the project's.
pub(super) async fn read(
    db: &Db,
    project_id: i64,
    fields: &mut Fields,
) -> Result<Option<Vec<i64>>, Error> {
    let items = match fields.raw("tags") {
        None => return Ok(None),
        Some(Value::Array(items)) => items.clone(),
        Some(other) => {
            let error = not_a_list(other);
            fields.set_error("tags", error);
            return Ok(None);
        }
    };
    let ids: Result<Vec<i64>, Vec<String>> = items.iter().map(|item| Id.read(item)).collect();
    let ids = match ids {
        Ok(ids) => ids,
        Err(messages) => {
            for message in messages {
                fields.error("tags", message);
            }
            return Ok(None);
        }
    };
    let known: Vec<i64> = db.all(sql::KNOWN_TAGS, [&project_id, &ids]).await?;
    let unknown = items.iter().zip(&ids).find(|(_, id)| !known.contains(id));
    if let Some((item, _)) = unknown {
        let shown = python_text(item);
        fields.error(
            "tags",
            format!("Invalid pk \"{shown}\" - object does not exist."),
        );
    }
    Ok(Some(ids))
}

/// Gives a feature these tags and no others; whether that changes anything. Tags that were deleted
/// since they were read are left out.
pub(super) async fn set(tx: &Write<'_>, feature_id: i64, tags: &[i64]) -> Result<bool, Error> {
    let removed = tx.run(sql::KEEP_TAGS, [&feature_id, &tags]).await?;
    let added = tx.run(sql::ADD_TAGS, [&feature_id, &tags]).await?;
    Ok(removed + added > 0)
}

/// Which tags a feature of a list has to have.
#[derive(Clone, Debug)]
pub(super) struct TagFilter {
    /// None at all, if this is empty.
    pub(super) ids: Vec<i64>,
    /// As many of them.
    pub(super) at_least: i64,
}

impl TagFilter {
    /// All of these tags, or (`any`) one of them.
    pub(super) fn new(mut ids: Vec<i64>, any: bool) -> Self {
        ids.sort_unstable();
        ids.dedup();
        let at_least = if any { 1 } else { ids.len() };
        Self {
            ids,
            at_least: i64::try_from(at_least).unwrap_or(i64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_that_is_named_twice_counts_once() {
        let all = TagFilter::new(vec![2, 1, 2], false);
        assert_eq!((all.ids, all.at_least), (vec![1, 2], 2));
        assert_eq!(TagFilter::new(vec![2, 1], true).at_least, 1);
    }
}
