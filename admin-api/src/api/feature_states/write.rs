//! Making and changing a state, alike on every surface.

use super::audit;
use super::change::{Change, Form};
use super::model::State;
use super::rows::{self, NewState};
use super::value::FlagValue;
use super::weights::WeightRow;
use crate::api::environments::Environment;
use crate::http::{Actor, ApiError, Fields, Id, Text};
use crate::sql::api::feature_states as sql;
use crate::store::{Db, Queries as _, row};

row! {
    /// What a new state starts with.
    struct Parents {
        initial_value: Option<String>,
        prevent_flag_defaults: bool,
    }
}

/// The value that a new state of the feature starts with, which has to be of the environment's project.
pub(crate) async fn initial_value(
    db: &Db,
    environment: &Environment,
    feature_id: i64,
) -> Result<Option<FlagValue>, ApiError> {
    let parents: Option<Parents> = db
        .maybe(sql::PARENTS, [&feature_id, &environment.id])
        .await?;
    Ok(parents.map(|parents| match parents {
        Parents {
            prevent_flag_defaults: true,
            ..
        } => FlagValue::default(),
        Parents { initial_value, .. } => FlagValue::initial(initial_value.as_deref()),
    }))
}

/// Makes the state that `fields` describe, for `overridden` where the path names an identity.
pub(crate) async fn create(
    db: &mut Db,
    actor: &Actor,
    environment: &Environment,
    mut fields: Fields,
    form: Form,
    overridden: Option<i64>,
) -> Result<(State, Vec<WeightRow>), ApiError> {
    let feature_id = fields.required("feature", Id);
    let Some(value) = initial_value(db, environment, feature_id).await? else {
        if !fields.has_error("feature") {
            fields.error("feature", missing(feature_id));
        }
        return Err(fields
            .finish()
            .err()
            .unwrap_or(ApiError::NotFound("Feature")));
    };
    let identity_id = match overridden {
        Some(id) => Some(id),
        None => identity(db, environment, &mut fields).await?,
    };
    let feature_segment_id = fields.nullable("feature_segment", Id).into_option();
    if let Some(id) = feature_segment_id {
        let known: bool = db
            .one(
                sql::FEATURE_SEGMENT_EXISTS,
                [&environment.id, &feature_id, &id],
            )
            .await?;
        if !known {
            fields.error("feature_segment", missing(id));
        }
    }
    if identity_id.is_some() && feature_segment_id.is_some() {
        fields.error(
            "non_field_errors",
            "A state is for a segment or for an identity, not both.",
        );
    }
    let options: Vec<i64> = rows::options(&**db, feature_id)
        .await?
        .iter()
        .map(|option| option.id)
        .collect();
    let change = Change::read(&mut fields, form, value, &options)?;
    fields.finish()?;

    let tx = db.write(Some(actor)).await?;
    tx.run(sql::LOCK_FEATURE, [&feature_id]).await?;
    let new = NewState {
        environment_id: environment.id,
        feature_id,
        feature_segment_id,
        identity_id,
        enabled: change.enabled.unwrap_or_default(),
        value: change.value,
        shares: change.shares,
    };
    let id = rows::insert(&tx, new).await?;
    let (state, weights) = rows::get(&*tx, id)
        .await?
        .ok_or(ApiError::NotFound("FeatureState"))?;
    tx.commit(audit::entries(environment, None, &state, false))
        .await?;
    Ok((state, weights))
}

/// The identity that the body names, by its id or its identifier.
async fn identity(
    db: &Db,
    environment: &Environment,
    fields: &mut Fields,
) -> Result<Option<i64>, ApiError> {
    if let Some(identifier) = fields.nullable("identifier", Text::max(2000)).into_option() {
        let id: Option<i64> = db
            .maybe(sql::IDENTITY_BY_IDENTIFIER, [&environment.id, &identifier])
            .await?;
        return match id {
            Some(id) => Ok(Some(id)),
            None => Err(ApiError::field("non_field_errors", "Invalid identifier")),
        };
    }
    let id = fields.nullable("identity", Id).into_option();
    if let Some(id) = id {
        let known: bool = db.one(sql::IDENTITY_EXISTS, [&environment.id, &id]).await?;
        if !known {
            fields.error("identity", missing(id));
        }
    }
    Ok(id)
}

/// Changes `state` to what `fields` say. Nothing is written, and nothing published, when that is what it
/// is already.
pub(crate) async fn update(
    db: &mut Db,
    actor: &Actor,
    environment: &Environment,
    state: &State,
    mut fields: Fields,
    form: Form,
) -> Result<(State, Vec<WeightRow>), ApiError> {
    let tx = db.write(Some(actor)).await?;
    let (mut state, weights) = rows::lock(&tx, state.feature_id, state.id).await?;
    let options: Vec<i64> = rows::options(&*tx, state.feature_id)
        .await?
        .iter()
        .map(|option| option.id)
        .collect();
    let change = Change::read(&mut fields, form, state.value(), &options)?;
    fields.finish()?;

    let before = state.clone();
    state.enabled = change.enabled.unwrap_or(state.enabled);
    state.set_value(change.value);
    let current: std::collections::BTreeMap<i64, f64> = weights
        .iter()
        .map(|weight| (weight.multivariate_option_id, weight.percentage_allocation))
        .collect();
    let shares = change.shares.filter(|shares| *shares != current);
    let entries = audit::entries(environment, Some(&before), &state, shares.is_some());
    if entries.is_empty() {
        return Ok((state, weights));
    }
    rows::save(&tx, &mut state, shares.as_ref()).await?;
    let (state, weights) = rows::get(&*tx, state.id)
        .await?
        .ok_or(ApiError::NotFound("FeatureState"))?;
    tx.commit(entries).await?;
    Ok((state, weights))
}

/// What is said of an id that leads nowhere.
pub(crate) fn missing(id: i64) -> String {
    format!("Invalid pk \"{id}\" - object does not exist.")
}
