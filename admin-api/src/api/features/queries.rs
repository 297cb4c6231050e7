//! Reading features with everything around them, in as many statements for one as for a thousand.

use std::collections::HashMap;

use deadpool_postgres::GenericClient;
use tokio_postgres::{Error, Row};

use super::model::{Around, Feature, FeatureOut, FeatureTag, Overrides, Owner, StateRow};
use super::tags::TagFilter;
use crate::api::multivariate;
use crate::api::projects::Project;
use crate::http::{ApiError, PageRequest};
use crate::sql::api::features as sql;
use crate::store::{Db, FromRow, Queries as _};

/// Which features a list holds, and in which order.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    pub(super) environment: Option<i64>,
    pub(super) segment: Option<i64>,
    pub(super) identity: Option<i64>,
    pub(super) search: Option<String>,
    pub(super) is_archived: Option<bool>,
    pub(super) kind: Option<&'static str>,
    pub(super) is_enabled: Option<bool>,
    pub(super) value_search: Option<String>,
    pub(super) tags: Option<TagFilter>,
    pub(super) owners: Option<Vec<i64>>,
    pub(super) sort_field: &'static str,
    pub(super) descending: bool,
}

/// A row with how many there are.
struct Counted {
    feature: Feature,
    total: i64,
}

impl FromRow for Counted {
    fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            feature: Feature::from_row(row)?,
            total: row.try_get("total")?,
        })
    }
}

/// A page of the project's features, and how many there are in all.
pub(super) async fn list(
    db: &Db,
    project: &Project,
    filter: &Filter,
    page: &PageRequest,
) -> Result<(i64, Vec<FeatureOut>), ApiError> {
    let rows: Vec<Counted> = db
        .all(
            sql::LIST,
            [
                &project.id,
                &filter.environment,
                &filter.segment,
                &filter.identity,
                &filter.search,
                &filter.is_archived,
                &filter.kind,
                &filter.is_enabled,
                &filter.value_search,
                &filter.tags.as_ref().map(|tags| &tags.ids),
                &filter.tags.as_ref().map(|tags| tags.at_least),
                &filter.owners,
                &filter.sort_field,
                &filter.descending,
                &page.limit(),
                &page.offset(),
            ],
        )
        .await?;
    let total = rows.first().map_or(0, |row| row.total);
    let features = rows.into_iter().map(|row| row.feature).collect();
    Ok((
        total,
        show(&**db, features, filter.environment, filter.segment).await?,
    ))
}

/// The feature of the project with this id.
pub(crate) async fn find(db: &Db, project_id: i64, id: &str) -> Result<Feature, ApiError> {
    let missing = ApiError::NotFound("Feature");
    let Ok(id) = id.parse() else {
        return Err(missing);
    };
    let found = get(&**db, id).await?;
    found
        .filter(|feature| feature.project_id == project_id)
        .ok_or(missing)
}

/// The feature with this id, of whatever project.
pub(crate) async fn get(db: &impl GenericClient, id: i64) -> Result<Option<Feature>, Error> {
    db.maybe(sql::GET, [&id]).await
}

/// A feature as the API shows it.
pub(super) async fn show_one(
    db: &impl GenericClient,
    feature: Feature,
    environment: Option<i64>,
    segment: Option<i64>,
) -> Result<FeatureOut, ApiError> {
    let mut shown = show(db, vec![feature], environment, segment).await?;
    shown.pop().ok_or(ApiError::NotFound("Feature"))
}

/// Features as the API shows them: with what they are in `environment`, and there for `segment`.
async fn show(
    db: &impl GenericClient,
    features: Vec<Feature>,
    environment: Option<i64>,
    segment: Option<i64>,
) -> Result<Vec<FeatureOut>, Error> {
    let ids: Vec<i64> = features.iter().map(|feature| feature.id).collect();
    let mut around: HashMap<i64, Around> = ids.iter().map(|id| (*id, Around::default())).collect();
    for (id, options) in multivariate::of_features(db, &ids).await? {
        around.entry(id).or_default().options = options;
    }
    for owner in owners(db, &ids).await? {
        around
            .entry(owner.feature_id)
            .or_default()
            .owners
            .push(owner);
    }
    let tags: Vec<FeatureTag> = db.all(sql::TAGS, [&ids]).await?;
    for tag in tags {
        around
            .entry(tag.feature_id)
            .or_default()
            .tags
            .push(tag.tag_id);
    }
    if let Some(environment) = environment {
        let states: Vec<StateRow> = db.all(sql::DEFAULT_STATES, [&environment, &ids]).await?;
        for state in states {
            let around = around.entry(state.feature_id).or_default();
            around.state = Some(state);
        }
        let counts: Vec<Overrides> = db.all(sql::OVERRIDES, [&environment, &ids]).await?;
        for count in counts {
            let around = around.entry(count.feature_id).or_default();
            around.segments = count.segments;
            around.identities = count.identities;
        }
        if let Some(segment) = segment {
            let states: Vec<StateRow> = db
                .all(sql::SEGMENT_STATES, [&environment, &segment, &ids])
                .await?;
            for state in states {
                let around = around.entry(state.feature_id).or_default();
                around.segment_state = Some(state);
            }
        }
    }
    let shown = features.into_iter().map(|feature| {
        let around = around.remove(&feature.id).unwrap_or_default();
        FeatureOut::new(feature, around)
    });
    Ok(shown.collect())
}

/// Who looks after these features.
pub(super) async fn owners(db: &impl GenericClient, ids: &[i64]) -> Result<Vec<Owner>, Error> {
    db.all(sql::OWNERS, [&ids]).await
}
