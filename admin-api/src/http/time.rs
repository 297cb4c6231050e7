//! Times as the API writes them.

use std::borrow::Cow;

use chrono::{DateTime, Timelike as _, Utc};
use serde::{Serialize, Serializer};
use utoipa::openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type};

/// `2026-11-22T14:46:54.076277Z`: microseconds, or none when they are zero, as Python writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ApiTime(pub(crate) DateTime<Utc>);

impl From<DateTime<Utc>> for ApiTime {
    fn from(time: DateTime<Utc>) -> Self {
        Self(time)
    }
}

impl Serialize for ApiTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let format = if self.0.nanosecond() / 1000 == 0 {
            "%Y-%m-%dT%H:%M:%SZ"
        } else {
            "%Y-%m-%dT%H:%M:%S%.6fZ"
        };
        serializer.collect_str(&self.0.format(format))
    }
}

impl utoipa::PartialSchema for ApiTime {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .into()
    }
}

impl utoipa::ToSchema for ApiTime {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("ApiTime")
    }
}

#[cfg(test)]
mod tests {
    use super::ApiTime;

    #[test]
    fn microseconds_are_all_or_nothing() {
        for (input, expected) in [
            ("2026-01-02T03:04:05Z", "\"2026-01-02T03:04:05Z\""),
            ("2026-01-02T03:04:05.5Z", "\"2026-01-02T03:04:05.500000Z\""),
            (
                "2026-01-02T03:04:05.000001Z",
                "\"2026-01-02T03:04:05.000001Z\"",
            ),
        ] {
            let time = ApiTime(input.parse().unwrap());
            assert_eq!(serde_json::to_string(&time).unwrap(), expected);
        }
    }
}
