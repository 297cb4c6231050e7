//! Reading and writing states with their shares.

use std::collections::{BTreeMap, HashMap};

use deadpool_postgres::GenericClient;
use tokio_postgres::{Error, Row};

use super::model::State;
use super::value::FlagValue;
use super::weights::{WeightRow, fits};
use crate::http::{ApiError, PageRequest};
use crate::sql::api::feature_states as sql;
use crate::store::{FromRow, Queries as _, Write, row};

row! {
    /// An option and the share that a new state gives it.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct OptionShare {
        id: i64,
        default_percentage_allocation: f64,
    }
}

/// Which kinds of states a list holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Listed {
    /// The environment's defaults.
    Defaults,
    /// Overrides for identities.
    Identities,
    /// Every kind.
    #[default]
    All,
}

/// Which states a list holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Of this feature.
    pub(crate) feature_id: Option<i64>,
    /// Of the feature with this name.
    pub(crate) feature_name: Option<String>,
    /// Of this segment override.
    pub(crate) feature_segment_id: Option<i64>,
    /// Of this identity.
    pub(crate) identity_id: Option<i64>,
    /// Of these kinds.
    pub(crate) listed: Listed,
}

/// A row with how many there are.
struct Counted {
    state: State,
    total: i64,
}

impl FromRow for Counted {
    fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            state: State::from_row(row)?,
            total: row.try_get("total")?,
        })
    }
}

/// A page of an environment's states with their shares, and how many there are in all. Two statements,
/// however many they are.
pub(crate) async fn list(
    db: &impl GenericClient,
    environment_id: i64,
    filter: &Filter,
    page: &PageRequest,
) -> Result<(i64, Vec<(State, Vec<WeightRow>)>), Error> {
    let kind = match filter.listed {
        Listed::Defaults => "default",
        Listed::Identities => "identity",
        Listed::All => "all",
    };
    let rows: Vec<Counted> = db
        .all(
            sql::LIST,
            [
                &environment_id,
                &filter.feature_id,
                &filter.feature_name,
                &filter.feature_segment_id,
                &filter.identity_id,
                &kind,
                &page.limit(),
                &page.offset(),
            ],
        )
        .await?;
    let total = rows.first().map_or(0, |row| row.total);
    let ids: Vec<i64> = rows.iter().map(|row| row.state.id).collect();
    let mut weights = weights_of(db, &ids).await?;
    let states = rows
        .into_iter()
        .map(|row| {
            let weights = weights.remove(&row.state.id).unwrap_or_default();
            (row.state, weights)
        })
        .collect();
    Ok((total, states))
}

/// One state with its shares.
pub(crate) async fn get(
    db: &impl GenericClient,
    id: i64,
) -> Result<Option<(State, Vec<WeightRow>)>, Error> {
    let Some(state) = db.maybe(sql::GET, [&id]).await? else {
        return Ok(None);
    };
    let weights = db.all(sql::WEIGHTS, [&[id].as_slice()]).await?;
    Ok(Some((state, weights)))
}

/// One state with its shares, which nobody else changes until `tx` ends.
pub(crate) async fn lock(
    tx: &Write<'_>,
    feature_id: i64,
    id: i64,
) -> Result<(State, Vec<WeightRow>), ApiError> {
    tx.run(sql::LOCK_FEATURE, [&feature_id]).await?;
    tx.run(sql::LOCK, [&id]).await?;
    get(&**tx, id)
        .await?
        .ok_or(ApiError::NotFound("FeatureState"))
}

/// The shares of these states, by state.
pub(crate) async fn weights_of(
    db: &impl GenericClient,
    ids: &[i64],
) -> Result<HashMap<i64, Vec<WeightRow>>, Error> {
    let mut by_state: HashMap<i64, Vec<WeightRow>> = HashMap::new();
    let rows: Vec<WeightRow> = db.all(sql::WEIGHTS, [&ids]).await?;
    for row in rows {
        by_state.entry(row.feature_state_id).or_default().push(row);
    }
    Ok(by_state)
}

/// A feature's options.
pub(crate) async fn options(
    db: &impl GenericClient,
    feature_id: i64,
) -> Result<Vec<OptionShare>, Error> {
    db.all(sql::OPTIONS, [&feature_id]).await
}

/// A state that is to be.
#[derive(Clone, Debug)]
pub(crate) struct NewState {
    /// Where.
    pub(crate) environment_id: i64,
    /// Of what.
    pub(crate) feature_id: i64,
    /// For whom: the members of a segment.
    pub(crate) feature_segment_id: Option<i64>,
    /// For whom: one identity.
    pub(crate) identity_id: Option<i64>,
    /// On or off.
    pub(crate) enabled: bool,
    /// With this value.
    pub(crate) value: FlagValue,
    /// And these shares; every option's default where there are none.
    pub(crate) shares: Option<BTreeMap<i64, f64>>,
}

/// Writes a new state and its shares; gives its id. The caller has locked the feature.
pub(crate) async fn insert(tx: &Write<'_>, new: NewState) -> Result<i64, ApiError> {
    let FlagValue {
        kind,
        string,
        integer,
        boolean,
    } = new.value;
    let id: i64 = tx
        .one(
            sql::INSERT,
            [
                &new.environment_id,
                &new.feature_id,
                &new.feature_segment_id,
                &new.identity_id,
                &new.enabled,
                &kind.name(),
                &string,
                &integer,
                &boolean,
                &tx.now(),
            ],
        )
        .await
        .map_err(exists_error)?;
    let shares = match new.shares {
        Some(shares) => shares,
        None => default_shares(&options(&**tx, new.feature_id).await?),
    };
    save_shares(tx, id, &shares).await?;
    Ok(id)
}

/// The options' defaults; none, should they together be more than the whole.
fn default_shares(options: &[OptionShare]) -> BTreeMap<i64, f64> {
    let fit = fits(
        options
            .iter()
            .map(|option| option.default_percentage_allocation),
    );
    let share = |option: &OptionShare| {
        if fit {
            option.default_percentage_allocation
        } else {
            0.0
        }
    };
    options
        .iter()
        .map(|option| (option.id, share(option)))
        .collect()
}

/// Writes a changed state and, where they changed, its shares.
pub(crate) async fn save(
    tx: &Write<'_>,
    state: &mut State,
    shares: Option<&BTreeMap<i64, f64>>,
) -> Result<(), ApiError> {
    state.updated_at = tx.now();
    tx.run(
        sql::UPDATE,
        [
            &state.id,
            &state.enabled,
            &state.value_type,
            &state.string_value,
            &state.integer_value,
            &state.boolean_value,
            &state.updated_at,
        ],
    )
    .await?;
    if let Some(shares) = shares {
        save_shares(tx, state.id, shares).await?;
    }
    Ok(())
}

async fn save_shares(tx: &Write<'_>, id: i64, shares: &BTreeMap<i64, f64>) -> Result<(), Error> {
    if shares.is_empty() {
        return Ok(());
    }
    let options: Vec<i64> = shares.keys().copied().collect();
    let shares: Vec<f64> = shares.values().copied().collect();
    tx.run(sql::SAVE_WEIGHTS, [&id, &options, &shares]).await?;
    Ok(())
}

/// Tells that there is such a state already in Flagsmith's words: a list, written as text, in a list.
pub(crate) fn exists_error(error: Error) -> ApiError {
    const UNIQUE: &[&str] = &[
        "feature_state_default_key",
        "feature_state_segment_key",
        "feature_state_identity_key",
    ];
    let constraint = error
        .as_db_error()
        .and_then(tokio_postgres::error::DbError::constraint);
    if constraint.is_some_and(|name| UNIQUE.contains(&name)) {
        let message = "['Feature state already exists for this environment, feature, version, segment & identity combination']";
        return ApiError::Refused(message.to_owned());
    }
    error.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_used_while_they_fit() {
        let option = |id, share| OptionShare {
            id,
            default_percentage_allocation: share,
        };
        let shares =
            |options: &[OptionShare]| default_shares(options).into_values().collect::<Vec<_>>();
        assert_eq!(shares(&[option(1, 30.0), option(2, 70.0)]), [30.0, 70.0]);
        assert_eq!(shares(&[option(1, 60.0), option(2, 60.0)]), [0.0, 0.0]);
        assert!(shares(&[]).is_empty());
    }
}
