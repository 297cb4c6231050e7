//! Named statements and how they are run. The statements themselves stand in `queries.sql` files
//! beside the code that uses them; `build.rs` makes a constant of each (ADR 0004).

use deadpool_postgres::GenericClient;
use futures_util::future::BoxFuture;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Statement};

use super::FromRow;

/// One statement with `N` parameters.
#[derive(Debug)]
pub(crate) struct Sql<const N: usize> {
    /// `folder.statement`, for logs.
    pub(crate) name: &'static str,
    /// The statement with `$1…$N`.
    pub(crate) text: &'static str,
}

/// A parameter.
pub(crate) type Param<'a> = &'a (dyn ToSql + Sync);

/// Running statements, on a connection or inside a transaction alike.
pub(crate) trait Queries: GenericClient + Sized {
    /// Every row.
    fn all<T: FromRow, const N: usize>(
        &self,
        sql: Sql<N>,
        params: [Param<'_>; N],
    ) -> impl Future<Output = Result<Vec<T>, Error>> + Send {
        async move {
            let rows = attempt(self, sql, params, |db, sql, params| db.query(sql, params)).await?;
            rows.iter().map(T::from_row).collect()
        }
    }

    /// The row, if there is one.
    fn maybe<T: FromRow, const N: usize>(
        &self,
        sql: Sql<N>,
        params: [Param<'_>; N],
    ) -> impl Future<Output = Result<Option<T>, Error>> + Send {
        async move {
            let row = attempt(self, sql, params, |db, sql, params| {
                db.query_opt(sql, params)
            });
            row.await?.as_ref().map(T::from_row).transpose()
        }
    }

    /// The one row that a statement always gives (an insert, a count).
    fn one<T: FromRow, const N: usize>(
        &self,
        sql: Sql<N>,
        params: [Param<'_>; N],
    ) -> impl Future<Output = Result<T, Error>> + Send {
        async move {
            let row = attempt(self, sql, params, |db, sql, params| {
                db.query_one(sql, params)
            });
            T::from_row(&row.await?)
        }
    }

    /// Runs it and tells how many rows it touched.
    fn run<const N: usize>(
        &self,
        sql: Sql<N>,
        params: [Param<'_>; N],
    ) -> impl Future<Output = Result<u64, Error>> + Send {
        attempt(self, sql, params, |db, sql, params| db.execute(sql, params))
    }
}

impl<C: GenericClient> Queries for C {}

/// Prepares a statement and runs it as `how` says; tells the log which one failed. Whether that matters is for the
/// caller to say.
async fn attempt<C, R, const N: usize>(
    db: &C,
    sql: Sql<N>,
    params: [Param<'_>; N],
    how: impl for<'a> FnOnce(&'a C, &'a Statement, &'a [Param<'a>]) -> BoxFuture<'a, Result<R, Error>>
    + Send,
) -> Result<R, Error>
where
    C: GenericClient,
{
    let attempted = async {
        let statement = db.prepare_cached(sql.text).await?;
        how(db, &statement, &params).await
    };
    attempted
        .await
        .inspect_err(|error| tracing::debug!(statement = sql.name, %error, "statement failed"))
}
