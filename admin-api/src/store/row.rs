//! Rows into structs, by column name.

use tokio_postgres::{Error, Row};

/// What a row can be read as.
pub(crate) trait FromRow: Sized + Send {
    /// Fails when a column is missing or of another type, which a test of the statement shows.
    fn from_row(row: &Row) -> Result<Self, Error>;
}

/// Two things that one row holds: a resource and the caller's rights to it, say.
impl<A: FromRow, B: FromRow> FromRow for (A, B) {
    fn from_row(row: &Row) -> Result<Self, Error> {
        Ok((A::from_row(row)?, B::from_row(row)?))
    }
}

macro_rules! scalar {
    ($($type:ty),*) => {$(
        /// The first column, whatever its name.
        impl FromRow for $type {
            fn from_row(row: &Row) -> Result<Self, Error> {
                row.try_get(0)
            }
        }
    )*};
}
scalar!(
    i64,
    i32,
    bool,
    String,
    Option<String>,
    Option<i64>,
    uuid::Uuid
);

/// Declares a struct whose fields are the columns of the same names.
macro_rules! row {
    (
        $(#[$meta:meta])*
        $visibility:vis struct $name:ident {
            $( $(#[$field_meta:meta])* $field:ident: $type:ty, )*
        }
    ) => {
        $(#[$meta])*
        $visibility struct $name {
            $( $(#[$field_meta])* pub(crate) $field: $type, )*
        }

        impl $crate::store::FromRow for $name {
            fn from_row(row: &tokio_postgres::Row) -> Result<Self, tokio_postgres::Error> {
                Ok(Self { $( $field: row.try_get(stringify!($field))?, )* })
            }
        }
    };
}
pub(crate) use row;
