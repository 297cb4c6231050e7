//! Reading and writing options.

use std::collections::HashMap;

use deadpool_postgres::GenericClient;
use serde_json::json;
use tokio_postgres::Error;

use super::model::{OptionIn, OptionRow};
use super::rules::{DEFAULT_SHARE, ListedOption, TOO_MUCH};
use crate::api::feature_states::{fits, missing};
use crate::http::{ApiError, FieldErrors, Fields, Mode};
use crate::sql::api::multivariate as sql;
use crate::store::{Queries as _, Write};

/// The options of a feature.
pub(super) async fn of_feature(
    db: &impl GenericClient,
    feature_id: i64,
) -> Result<Vec<OptionRow>, Error> {
    db.all(sql::LIST, [&feature_id]).await
}

/// The options of many features, by feature.
pub(crate) async fn of_features(
    db: &impl GenericClient,
    ids: &[i64],
) -> Result<HashMap<i64, Vec<OptionRow>>, Error> {
    let mut by_feature: HashMap<i64, Vec<OptionRow>> = HashMap::new();
    let rows: Vec<OptionRow> = db.all(sql::OF_FEATURES, [&ids]).await?;
    for row in rows {
        by_feature.entry(row.feature_id).or_default().push(row);
    }
    Ok(by_feature)
}

/// Keeps others from changing the feature's options, or making states of it, until `tx` ends.
pub(super) async fn lock(tx: &Write<'_>, feature_id: i64) -> Result<(), ApiError> {
    let locked: Option<i64> = tx.maybe(sql::LOCK_FEATURE, [&feature_id]).await?;
    locked.map(|_| ()).ok_or(ApiError::NotFound("Feature"))
}

/// A new option, with a share in every state of the feature.
pub(super) async fn insert(
    tx: &Write<'_>,
    feature_id: i64,
    said: OptionIn,
) -> Result<OptionRow, ApiError> {
    let mut option = OptionRow {
        id: 0,
        uuid: uuid::Uuid::nil(),
        feature_id,
        key: None,
        kind: String::new(),
        string_value: None,
        integer_value: None,
        boolean_value: None,
        default_percentage_allocation: DEFAULT_SHARE,
    };
    said.apply(&mut option);
    let option: OptionRow = tx
        .one(
            sql::INSERT,
            [
                &feature_id,
                &option.key,
                &option.kind,
                &option.string_value,
                &option.integer_value,
                &option.boolean_value,
                &option.default_percentage_allocation,
            ],
        )
        .await?;
    tx.run(
        sql::INSERT_SHARES,
        [
            &option.id,
            &feature_id,
            &option.default_percentage_allocation,
        ],
    )
    .await?;
    Ok(option)
}

/// Writes a changed option. The shares that states give it stay as they are.
pub(super) async fn update(tx: &Write<'_>, option: &OptionRow) -> Result<(), ApiError> {
    tx.run(
        sql::UPDATE,
        [
            &option.id,
            &option.key,
            &option.kind,
            &option.string_value,
            &option.integer_value,
            &option.boolean_value,
            &option.default_percentage_allocation,
        ],
    )
    .await?;
    Ok(())
}

/// Deletes options with their shares in every state.
pub(super) async fn delete(tx: &Write<'_>, ids: &[i64]) -> Result<u64, ApiError> {
    Ok(tx.run(sql::DELETE, [&ids]).await?)
}

/// A feature with options is multivariate, one without is not.
pub(super) async fn set_feature_type(tx: &Write<'_>, feature_id: i64) -> Result<(), ApiError> {
    tx.run(sql::SET_FEATURE_TYPE, [&feature_id]).await?;
    Ok(())
}

/// Makes the feature's options those of `listed`: those with an id are changed, those without are new,
/// the others go. Tells whether that did anything.
pub(crate) async fn apply_list(
    tx: &Write<'_>,
    feature_id: i64,
    listed: Vec<ListedOption>,
) -> Result<bool, ApiError> {
    lock(tx, feature_id).await?;
    let current = of_feature(&**tx, feature_id).await?;
    let kept: Vec<i64> = listed.iter().filter_map(|option| option.id).collect();
    let gone: Vec<i64> = current
        .iter()
        .map(|option| option.id)
        .filter(|id| !kept.contains(id))
        .collect();
    let mut changed = !gone.is_empty();
    delete(tx, &gone).await?;
    for option in listed {
        match option.id {
            None => {
                insert(tx, feature_id, option.said).await?;
                changed = true;
            }
            Some(id) => {
                let old = current.iter().find(|old| old.id == id).ok_or_else(|| {
                    let mut errors = FieldErrors::default();
                    errors.set("multivariate_options", json!([{"id": [missing(id)]}]));
                    ApiError::Invalid(errors)
                })?;
                let mut fields = Fields::of(option.body, Mode::Partial)?;
                let said = OptionIn::read(&mut fields, old.value());
                fields.finish()?;
                let mut new = old.clone();
                said.apply(&mut new);
                if new != *old {
                    update(tx, &new).await?;
                    changed = true;
                }
            }
        }
    }
    let options = of_feature(&**tx, feature_id).await?;
    if !fits(
        options
            .iter()
            .map(|option| option.default_percentage_allocation),
    ) {
        return Err(ApiError::field("multivariate_options", TOO_MUCH));
    }
    if changed {
        set_feature_type(tx, feature_id).await?;
    }
    Ok(changed)
}

/// Whether `share` fits beside the feature's other options.
pub(super) fn check_share(
    others: &[OptionRow],
    except: Option<i64>,
    share: f64,
) -> Result<(), ApiError> {
    let others = others
        .iter()
        .filter(|option| Some(option.id) != except)
        .map(|option| option.default_percentage_allocation);
    if fits(others.chain([share])) {
        Ok(())
    } else {
        Err(ApiError::field("default_percentage_allocation", TOO_MUCH))
    }
}
