//! Numbering what changed of identities, in an order in which it can be told.
//!
//! A number that a change took itself could show before a lower one, whose transaction takes longer: who has told all that
//! show would pass that one by. So a change only says that it happened, and is numbered after its commit, by one at a time.

use crate::sql::publish::identities as sql;
use crate::store::{Pool, Queries as _};

/// How many identities are numbered in one transaction: some tens of milliseconds.
const AT_ONCE: i64 = 1_000;
/// How many transactions there are before others get their turn.
const TURNS: usize = 20;

/// Numbers what changed. Tells whether there may be more.
pub(super) async fn number(pool: &Pool) -> anyhow::Result<bool> {
    for _ in 0..TURNS {
        let mut db = pool.get().await?;
        let has_changes: bool = db.one(sql::HAS_CHANGES, []).await?;
        if !has_changes {
            return Ok(false);
        }
        let tx = db.write(None).await?;
        tx.run(sql::LOCK_NUMBERS, []).await?;
        let numbered = tx.run(sql::NUMBER_CHANGES, [&AT_ONCE]).await?;
        tx.commit_silently("a number changes nothing").await?;
        if i64::try_from(numbered).unwrap_or(i64::MAX) < AT_ONCE {
            return Ok(false);
        }
    }
    Ok(true)
}
