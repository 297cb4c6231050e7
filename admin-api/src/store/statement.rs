//! Named statements and how they are run. The statements themselves stand in `queries.sql` files
//! beside the code that uses them; `build.rs` makes a constant of each (ADR 0004).

use deadpool_postgres::GenericClient;
use tokio_postgres::Error;
use tokio_postgres::types::ToSql;

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
pub(crate) trait Queries: GenericClient {
    /// Every row.
    fn all<T: FromRow, const N: usize>(
        &self,
        sql: Sql<N>,
        params: [Param<'_>; N],
    ) -> impl Future<Output = Result<Vec<T>, Error>> + Send {
        async move {
            let statement = self
                .prepare_cached(sql.text)
                .await
                .inspect_err(|e| log(sql.name, e))?;
            let rows = self
                .query(&statement, &params)
                .await
                .inspect_err(|e| log(sql.name, e))?;
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
            let statement = self
                .prepare_cached(sql.text)
                .await
                .inspect_err(|e| log(sql.name, e))?;
            let row = self
                .query_opt(&statement, &params)
                .await
                .inspect_err(|e| log(sql.name, e))?;
            row.as_ref().map(T::from_row).transpose()
        }
    }

    /// The one row that a statement always gives (an insert, a count).
    fn one<T: FromRow, const N: usize>(
        &self,
        sql: Sql<N>,
        params: [Param<'_>; N],
    ) -> impl Future<Output = Result<T, Error>> + Send {
        async move {
            let statement = self
                .prepare_cached(sql.text)
                .await
                .inspect_err(|e| log(sql.name, e))?;
            let row = self
                .query_one(&statement, &params)
                .await
                .inspect_err(|e| log(sql.name, e))?;
            T::from_row(&row)
        }
    }

    /// Runs it and tells how many rows it touched.
    fn run<const N: usize>(
        &self,
        sql: Sql<N>,
        params: [Param<'_>; N],
    ) -> impl Future<Output = Result<u64, Error>> + Send {
        async move {
            let statement = self
                .prepare_cached(sql.text)
                .await
                .inspect_err(|e| log(sql.name, e))?;
            self.execute(&statement, &params)
                .await
                .inspect_err(|e| log(sql.name, e))
        }
    }
}

impl<C: GenericClient> Queries for C {}

/// Says which statement failed; whether the failure matters is for the caller to say.
fn log(name: &str, error: &Error) {
    tracing::debug!(statement = name, %error, "statement failed");
}
