//! What a feature may be called and what it starts with.

use serde_json::{Value, json};

use crate::api::feature_states::{FlagValue, not_a_list};
use crate::http::{Field, Text};
use yardarm_core::engine::coerce::python_text;

/// The most characters a name may have.
pub(super) const MAX_NAME: usize = 2000;
const MAX_INITIAL_VALUE: usize = 20_000;

/// The name has to fit the project's regular expression as a whole. One that cannot be read fits nothing.
///
/// Capitals are for the dashboard to keep out: Flagsmith's API takes them whatever the project says.
pub(super) fn check_name(name: &str, pattern: Option<&str>) -> Result<(), String> {
    let Some(pattern) = pattern.filter(|pattern| !pattern.is_empty()) else {
        return Ok(());
    };
    let regex = regex_lite::Regex::new(&format!("^(?:{pattern})$"));
    if regex.is_ok_and(|regex| regex.is_match(name)) {
        Ok(())
    } else {
        Err(format!("Feature name must match regex: {pattern}"))
    }
}

/// An initial value: text, or JSON that becomes text, except what Python takes for nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct InitialValue;

impl Field for InitialValue {
    type Out = String;

    fn read(&self, value: &Value) -> Result<String, Vec<String>> {
        let nothing = match value {
            Value::Bool(value) => !value,
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            _ => false,
        };
        if nothing {
            return Err(vec!["Not a valid string.".to_owned()]);
        }
        Text::max(MAX_INITIAL_VALUE)
            .or_blank()
            .verbatim()
            .read(&Value::String(python_text(value)))
    }
}

/// What a feature's default starts with in every environment: on or off, and the value; unless the
/// project has its defaults `prevented`.
pub(crate) fn defaults(
    prevented: bool,
    default_enabled: bool,
    initial_value: Option<&str>,
) -> (bool, FlagValue) {
    if prevented {
        (false, FlagValue::default())
    } else {
        (default_enabled, FlagValue::initial(initial_value))
    }
}

/// What is said of a list of metadata: there are no fields for it yet, so none can be referred to.
pub(super) fn unknown_metadata(list: Option<&Value>) -> Option<Value> {
    let items = match list? {
        Value::Array(items) if items.is_empty() => return None,
        Value::Array(items) => items,
        other => return Some(not_a_list(other)),
    };
    let missing = |id: &Value| {
        json!([format!(
            "Invalid pk \"{}\" - object does not exist.",
            python_text(id)
        )])
    };
    let nested = items
        .iter()
        .map(|item| json!({ "model_field": missing(&item["model_field"]) }));
    Some(nested.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_as_a_whole() {
        for (regex, name, fits) in [
            (None, "with space/é:!", true),
            (Some(""), "ANY", true),
            (Some("[a-z_]+"), "lower_case", true),
            (Some("[a-z_]+"), "lower1", false),
            (Some("[a-z_]+"), "Upper", false),
            (Some("a|b"), "ax", false),
            (Some("["), "anything", false),
        ] {
            let outcome = check_name(name, regex);
            assert_eq!(outcome.is_ok(), fits, "{regex:?} {name}");
            if let Err(message) = outcome {
                assert_eq!(
                    message,
                    format!("Feature name must match regex: {}", regex.unwrap())
                );
            }
        }
    }

    #[test]
    fn initial_values_become_text() {
        for (value, expected) in [
            (json!("hello"), Ok("hello")),
            (json!(""), Ok("")),
            (json!(42), Ok("42")),
            (json!(0), Ok("0")),
            (json!(1.5), Ok("1.5")),
            (json!(true), Ok("True")),
            (json!({"a": 1}), Ok("{'a': 1}")),
            (json!(false), Err("Not a valid string.")),
            (json!([]), Err("Not a valid string.")),
            (
                json!("v".repeat(20_001)),
                Err("Ensure this field has no more than 20000 characters."),
            ),
        ] {
            let read = InitialValue.read(&value);
            let read = read.as_deref().map_err(|messages| messages[0].as_str());
            assert_eq!(read, expected, "{value}");
        }
    }

    #[test]
    fn metadata_that_cannot_exist() {
        assert_eq!(unknown_metadata(None), None);
        assert_eq!(unknown_metadata(Some(&json!([]))), None);
        assert_eq!(
            unknown_metadata(Some(&json!([{"model_field": 9}]))),
            Some(json!([{"model_field": ["Invalid pk \"9\" - object does not exist."]}]))
        );
    }

    #[test]
    fn projects_may_want_everything_off() {
        let on = (true, FlagValue::initial(Some("1")));
        assert_eq!(defaults(false, true, Some("1")), on);
        assert_eq!(
            defaults(true, true, Some("1")),
            (false, FlagValue::default())
        );
    }
}
