//! How an option's share of the identities is given: in percent for a state, by default for an option.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::http::{ApiError, Field, FieldErrors, Fields, Float, Id, Mode};
use crate::store::row;

/// What shares may add up to, with room for the rounding of thirds.
const WHOLE: f64 = 100.0 + 1e-9;

row! {
    /// The share that a state gives to an option.
    #[derive(Clone, Debug)]
    pub(crate) struct WeightRow {
        feature_state_id: i64,
        id: i64,
        multivariate_option_id: i64,
        percentage_allocation: f64,
    }
}

/// A share as states show it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct WeightOut {
    id: i64,
    multivariate_feature_option: i64,
    /// In percent.
    percentage_allocation: f64,
}

impl From<&WeightRow> for WeightOut {
    fn from(row: &WeightRow) -> Self {
        Self {
            id: row.id,
            multivariate_feature_option: row.multivariate_option_id,
            percentage_allocation: row.percentage_allocation,
        }
    }
}

/// A share in percent, 0 to 100.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Percentage;

impl Field for Percentage {
    type Out = f64;

    fn read(&self, value: &Value) -> Result<f64, Vec<String>> {
        match Float.read(value)? {
            share if share > 100.0 => Err(vec![
                "Ensure this value is less than or equal to 100.".to_owned(),
            ]),
            share if share < 0.0 => Err(vec![
                "Ensure this value is greater than or equal to 0.".to_owned(),
            ]),
            share => Ok(share),
        }
    }
}

/// Whether shares leave none below zero for what has no option.
pub(crate) fn fits(shares: impl IntoIterator<Item = f64>) -> bool {
    shares.into_iter().sum::<f64>() <= WHOLE
}

/// The name of the field that holds a state's shares.
pub(crate) const FIELD: &str = "multivariate_feature_state_values";

/// Reads the shares of a body by option: none when it has no such field. Options that a list leaves out
/// get no share, as in the reference, where their rows are deleted.
pub(crate) fn read(
    fields: &mut Fields,
    options: &[i64],
) -> Result<Option<BTreeMap<i64, f64>>, ApiError> {
    let Some(value) = fields.raw(FIELD).cloned() else {
        return Ok(None);
    };
    let Some(items) = value.as_array() else {
        fields.set_error(FIELD, not_a_list(&value));
        return Ok(None);
    };
    let mut shares: BTreeMap<i64, f64> = options.iter().map(|option| (*option, 0.0)).collect();
    let mut seen = Vec::with_capacity(items.len());
    let mut errors = Vec::with_capacity(items.len());
    for item in items {
        let outcome = read_one(item).and_then(|(option, share)| {
            const OPTION: &str = "multivariate_feature_option";
            if !shares.contains_key(&option) {
                let message = format!("Invalid pk \"{option}\" - object does not exist.");
                return Err(FieldErrors::of(OPTION, message));
            }
            if seen.contains(&option) {
                return Err(FieldErrors::of(OPTION, "This option appears twice."));
            }
            seen.push(option);
            shares.insert(option, share);
            Ok(())
        });
        errors.push(outcome.err().unwrap_or_default());
    }
    if errors.iter().any(|error| !error.is_empty()) {
        let errors = errors.into_iter().map(FieldErrors::into_value).collect();
        fields.set_error(FIELD, Value::Array(errors));
        return Ok(None);
    }
    if fits(shares.values().copied()) {
        Ok(Some(shares))
    } else {
        Err(ApiError::field(
            "non_field_errors",
            "Multivariate percentage values exceed 100%.",
        ))
    }
}

fn read_one(item: &Value) -> Result<(i64, f64), FieldErrors> {
    let mut fields = Fields::of(item.clone(), Mode::Full)?;
    let option = fields.required("multivariate_feature_option", Id);
    let share = fields.required("percentage_allocation", Percentage);
    fields.into_result()?;
    Ok((option, share))
}

/// What is said of a value that should have been a list, in the body of a field.
pub(crate) fn not_a_list(value: &Value) -> Value {
    let kind = match value {
        Value::Null => return serde_json::json!(["This field may not be null."]),
        Value::Object(_) => "dict",
        Value::String(_) => "str",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        Value::Array(_) => "list",
    };
    let message = format!("Expected a list of items but got type \"{kind}\".");
    FieldErrors::of("non_field_errors", message).into_value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shares(body: &Value) -> Result<Option<Vec<(i64, f64)>>, Value> {
        let mut fields = Fields::of(json!({ FIELD: body }), Mode::Full).unwrap();
        let read = match read(&mut fields, &[1, 2]) {
            Ok(read) => read,
            Err(ApiError::Invalid(errors)) => return Err(errors.into_value()),
            Err(other) => panic!("{other:?}"),
        };
        fields.into_result().map_err(FieldErrors::into_value)?;
        Ok(read.map(|shares| shares.into_iter().collect()))
    }

    #[test]
    fn shares_by_option_and_none_for_those_left_out() {
        let one = json!([{"id": 9, "multivariate_feature_option": 2, "percentage_allocation": 40}]);
        assert_eq!(shares(&one), Ok(Some(vec![(1, 0.0), (2, 40.0)])));
        assert_eq!(shares(&json!([])), Ok(Some(vec![(1, 0.0), (2, 0.0)])));
        let mut none = Fields::of(json!({}), Mode::Full).unwrap();
        assert!(read(&mut none, &[1]).unwrap().is_none());
    }

    #[test]
    fn shares_add_up_to_a_whole_at_most() {
        let two = |a: f64, b: f64| {
            json!([
                {"multivariate_feature_option": 1, "percentage_allocation": a},
                {"multivariate_feature_option": 2, "percentage_allocation": b},
            ])
        };
        assert!(shares(&two(90.0, 10.0)).is_ok());
        assert!(shares(&two(33.4, 66.6)).is_ok());
        assert_eq!(
            shares(&two(90.0, 20.0)),
            Err(json!({"non_field_errors": ["Multivariate percentage values exceed 100%."]}))
        );
        assert!(fits([33.3, 33.3, 33.4]));
        assert!(!fits([50.0, 50.01]));
    }

    #[test]
    fn mistakes_are_told_where_they_are() {
        let body = json!([
            {"multivariate_feature_option": 1, "percentage_allocation": 10},
            {"multivariate_feature_option": 7, "percentage_allocation": 10},
            {"multivariate_feature_option": 2, "percentage_allocation": 101},
            {},
        ]);
        assert_eq!(
            shares(&body),
            Err(json!({FIELD: [
                {},
                {"multivariate_feature_option": ["Invalid pk \"7\" - object does not exist."]},
                {"percentage_allocation": ["Ensure this value is less than or equal to 100."]},
                {
                    "multivariate_feature_option": ["This field is required."],
                    "percentage_allocation": ["This field is required."],
                },
            ]}))
        );
        assert_eq!(
            shares(&json!("x")),
            Err(
                json!({FIELD: {"non_field_errors": ["Expected a list of items but got type \"str\"."]}})
            )
        );
        let twice = json!([
            {"multivariate_feature_option": 1, "percentage_allocation": 1},
            {"multivariate_feature_option": 1, "percentage_allocation": 1},
        ]);
        assert_eq!(
            shares(&twice),
            Err(
                json!({FIELD: [{}, {"multivariate_feature_option": ["This option appears twice."]}]})
            )
        );
    }
}
