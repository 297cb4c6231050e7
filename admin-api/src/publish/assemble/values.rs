//! Values as the document has them: typed flag values, moments, and segment rules.

use chrono::{DateTime, Timelike as _, Utc};
use serde_json::{Map, Value};
use yardarm_core::snapshot::document::{Condition, Rule};

/// The value of the column that the type names.
pub(super) fn typed(
    value_type: &str,
    text: Option<String>,
    integer: Option<i32>,
    boolean: Option<bool>,
) -> Value {
    match value_type {
        "int" => integer.map_or(Value::Null, Value::from),
        "bool" => boolean.map_or(Value::Null, Value::from),
        _ => text.map_or(Value::Null, Value::from),
    }
}

/// ISO 8601 as Python writes it: microseconds only where there are any. `zone` is `Z` in the API and
/// `+00:00` in the environment document (flagsmith-observed.md 3.6).
pub(super) fn iso(at: DateTime<Utc>, zone: &str) -> String {
    let micros = at.nanosecond() / 1_000;
    let seconds = at.format("%Y-%m-%dT%H:%M:%S");
    if micros == 0 {
        format!("{seconds}{zone}")
    } else {
        format!("{seconds}.{micros:06}{zone}")
    }
}

/// A segment's rules as stored (the API's shape: ids, descriptions, `property`) into the document's.
/// What is not a rule is left out.
pub(super) fn rules(stored: &Value) -> Vec<Rule> {
    let list = stored.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Value::as_object).map(rule).collect()
}

fn rule(stored: &Map<String, Value>) -> Rule {
    let conditions = stored.get("conditions").and_then(Value::as_array);
    Rule {
        kind: stored
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        rules: stored.get("rules").map(rules).unwrap_or_default(),
        conditions: conditions
            .map(Vec::as_slice)
            .unwrap_or_default()
            .iter()
            .filter_map(Value::as_object)
            .map(condition)
            .collect(),
        other: Map::new(),
    }
}

fn condition(stored: &Map<String, Value>) -> Condition {
    let property = stored.get("property").or_else(|| stored.get("property_"));
    Condition {
        operator: stored
            .get("operator")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        value: Value::String(text(stored.get("value").unwrap_or(&Value::Null))),
        property: property.and_then(Value::as_str).map(str::to_owned),
        other: Map::new(),
    }
}

/// A condition's value is text; what is not shows as Python's `str()` of it (flagsmith-observed.md
/// 3.8: a missing value is `"None"`, booleans are `"True"` and `"False"`).
fn text(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_type_says_which_column_counts() {
        let value = |kind| typed(kind, Some("nested".to_owned()), Some(12), Some(true));
        assert_eq!(value("unicode"), json!("nested"));
        assert_eq!(value("int"), json!(12));
        assert_eq!(value("bool"), json!(true));
        assert_eq!(typed("int", Some("12".to_owned()), None, None), Value::Null);
        assert_eq!(typed("unicode", None, None, None), Value::Null);
    }

    #[test]
    fn moments_show_microseconds_where_there_are_any() {
        let at = DateTime::from_timestamp(1_795_358_606, 0).expect("in range");
        assert_eq!(iso(at, "Z"), "2026-11-22T14:43:26Z");
        let at = at + TimeDelta::microseconds(814_419);
        assert_eq!(iso(at, "+00:00"), "2026-11-22T14:43:26.814419+00:00");
        let at = at - TimeDelta::microseconds(814_000);
        assert_eq!(iso(at, "Z"), "2026-11-22T14:43:26.000419Z");
    }

    #[test]
    fn rules_lose_what_only_the_api_shows() {
        let stored = json!([{
            "id": 1, "type": "ALL", "conditions": [],
            "rules": [{
                "id": 2, "type": "ANY",
                "conditions": [
                    {"id": 3, "operator": "EQUAL", "property": "plan", "value": "pro", "description": "x"},
                    {"id": 4, "operator": "PERCENTAGE_SPLIT", "property": null, "value": "50"},
                    {"id": 5, "operator": "IS_SET", "property": "x", "value": null},
                    {"id": 6, "operator": "EQUAL", "property": "vip", "value": true},
                ],
            }],
        }]);
        let shown = serde_json::to_value(rules(&stored)).expect("rules are JSON");
        assert_eq!(
            shown,
            json!([{
                "type": "ALL", "conditions": [],
                "rules": [{
                    "type": "ANY", "rules": [],
                    "conditions": [
                        {"operator": "EQUAL", "value": "pro", "property_": "plan"},
                        {"operator": "PERCENTAGE_SPLIT", "value": "50", "property_": null},
                        {"operator": "IS_SET", "value": "None", "property_": "x"},
                        {"operator": "EQUAL", "value": "True", "property_": "vip"},
                    ],
                }],
            }])
        );
    }

    #[test]
    fn odd_rules_yield_something_rather_than_fail() {
        assert!(rules(&Value::Null).is_empty());
        assert!(rules(&json!({"type": "ALL"})).is_empty());
        assert_eq!(rules(&json!([{}, 7, "x"])).len(), 1);
    }
}
