//! Marking what the targets have to be told, in the transaction of the change.

use tokio_postgres::Error;

use crate::sql::publish::identities as sql;
use crate::store::{Queries as _, Write};

/// A person changes this trait of an identity, or all of its traits. To be called while the trait is there: after it was
/// made or changed, before it is deleted.
pub(crate) async fn mark_traits(
    tx: &Write<'_>,
    identity_id: i64,
    trait_key: Option<&str>,
) -> Result<(), Error> {
    let now = tx.now().timestamp_micros();
    let marked = tx
        .run(sql::MARK_TRAITS, [&identity_id, &trait_key, &now])
        .await?;
    enqueue(tx, marked).await
}

/// A person is about to delete this trait of every identity of an environment.
pub(crate) async fn mark_trait_everywhere(
    tx: &Write<'_>,
    environment_id: i64,
    trait_key: &str,
) -> Result<(), Error> {
    let now = tx.now().timestamp_micros();
    let marked = tx
        .run(
            sql::MARK_TRAIT_EVERYWHERE,
            [&environment_id, &trait_key, &now],
        )
        .await?;
    enqueue(tx, marked).await
}

/// A person has made an identity.
pub(crate) async fn mark_identity(tx: &Write<'_>, identity_id: i64) -> Result<(), Error> {
    let now = tx.now().timestamp_micros();
    let marked = tx.run(sql::MARK_IDENTITY, [&identity_id, &now]).await?;
    enqueue(tx, marked).await
}

async fn enqueue(tx: &Write<'_>, marked: u64) -> Result<(), Error> {
    if marked > 0 {
        let _targets: i64 = tx.one(sql::ENQUEUE, []).await?;
    }
    Ok(())
}
