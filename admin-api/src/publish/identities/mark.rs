//! Marking what the targets have to be told, and remembering what was deleted, in the transaction of the change.

use tokio_postgres::Error;

use crate::sql::publish::identities as sql;
use crate::store::{Queries as _, Write};

/// A person has made or changed this trait of an identity, or all of its traits.
pub(crate) async fn mark_traits(
    tx: &Write<'_>,
    identity_id: i64,
    trait_key: Option<&str>,
) -> Result<(), Error> {
    tx.run(sql::EXHUME_TRAITS, [&identity_id, &trait_key])
        .await?;
    mark(tx, &[identity_id], trait_key).await
}

/// A person is about to delete this trait of an identity, or all of its traits.
pub(crate) async fn bury_traits(
    tx: &Write<'_>,
    identity_id: i64,
    trait_key: Option<&str>,
) -> Result<(), Error> {
    bury(tx, &[identity_id], trait_key).await
}

/// A person is about to delete this trait of every identity of an environment.
pub(crate) async fn bury_trait_everywhere(
    tx: &Write<'_>,
    environment_id: i64,
    trait_key: &str,
) -> Result<(), Error> {
    let identities: Vec<i64> = tx
        .all(sql::LOCK_ALL_WITH_TRAIT, [&environment_id, &trait_key])
        .await?;
    bury(tx, &identities, Some(trait_key)).await
}

async fn bury(tx: &Write<'_>, identity_ids: &[i64], trait_key: Option<&str>) -> Result<(), Error> {
    let now = tx.now().timestamp_micros();
    tx.run(sql::BURY_TRAITS, [&identity_ids, &trait_key, &now])
        .await?;
    mark(tx, identity_ids, trait_key).await
}

/// A person has given an identity another name, after [`bury_traits`] under the one before.
pub(crate) async fn mark_renamed(tx: &Write<'_>, identity_id: i64) -> Result<(), Error> {
    let now = tx.now().timestamp_micros();
    tx.run(sql::RENEW_TRAITS, [&identity_id, &now]).await?;
    mark_traits(tx, identity_id, None).await?;
    mark_identity(tx, identity_id).await
}

/// A person has made an identity.
pub(crate) async fn mark_identity(tx: &Write<'_>, identity_id: i64) -> Result<(), Error> {
    let now = tx.now().timestamp_micros();
    let marked = tx.run(sql::MARK_IDENTITY, [&identity_id, &now]).await?;
    enqueue(tx, marked).await
}

async fn mark(tx: &Write<'_>, identity_ids: &[i64], trait_key: Option<&str>) -> Result<(), Error> {
    let now = tx.now().timestamp_micros();
    let marked = tx
        .run(sql::MARK_TRAITS, [&identity_ids, &trait_key, &now])
        .await?;
    enqueue(tx, marked).await
}

async fn enqueue(tx: &Write<'_>, marked: u64) -> Result<(), Error> {
    if marked > 0 {
        let _targets: i64 = tx.one(sql::ENQUEUE, []).await?;
    }
    Ok(())
}
