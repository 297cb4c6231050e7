//! The options in the body of a feature, and how their shares have to add up.

use serde_json::Value;

use super::model::OptionIn;
use crate::api::feature_states::{FlagValue, fits, not_a_list};
use crate::http::{FieldErrors, Fields, Mode};

/// What is said of shares that are more than the whole.
pub(super) const TOO_MUCH: &str = "Invalid percentage allocation";

/// The share of an option that does not name one, in percent.
pub(super) const DEFAULT_SHARE: f64 = 100.0;

/// An option in the body of a feature.
#[derive(Clone, Debug)]
pub(crate) struct ListedOption {
    /// Which one, if it is not a new one.
    pub(crate) id: Option<i64>,
    /// What it should be, as far as it is a new one.
    pub(crate) said: OptionIn,
    /// What it says, for one that has a value already.
    pub(crate) body: Value,
}

/// The options of a feature's body; none when it does not speak of them. What is wrong with them is for
/// [`Fields::finish`] to tell.
pub(crate) fn read_list(fields: &mut Fields) -> Option<Vec<ListedOption>> {
    const FIELD: &str = "multivariate_options";
    let items = match fields.raw(FIELD)? {
        Value::Array(items) => items.clone(),
        other => {
            let error = not_a_list(other);
            fields.set_error(FIELD, error);
            return None;
        }
    };
    let read: Vec<Result<ListedOption, FieldErrors>> = items.into_iter().map(read_one).collect();
    if read.iter().any(Result::is_err) {
        let errors = read
            .into_iter()
            .map(|one| one.err().unwrap_or_default().into_value());
        let errors = Value::Array(errors.collect());
        fields.set_error(FIELD, errors);
        return None;
    }
    let options: Vec<ListedOption> = read.into_iter().flatten().collect();
    let new = options.iter().filter(|option| option.id.is_none());
    if !fits(new.map(|option| option.said.share(DEFAULT_SHARE))) {
        fields.error(FIELD, TOO_MUCH);
    }
    Some(options)
}

fn read_one(body: Value) -> Result<ListedOption, FieldErrors> {
    let mut fields = Fields::of(body.clone(), Mode::Full)?;
    let id = fields.raw("id").and_then(Value::as_i64);
    let said = OptionIn::read(&mut fields, FlagValue::default());
    fields.into_result()?;
    Ok(ListedOption { id, said, body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(options: &Value) -> Result<usize, Value> {
        let mut fields = Fields::of(json!({"multivariate_options": options}), Mode::Full).unwrap();
        let read = read_list(&mut fields);
        fields.into_result().map_err(FieldErrors::into_value)?;
        Ok(read.unwrap().len())
    }

    #[test]
    fn shares_add_up_to_a_whole_at_most() {
        let option =
            |share: i32| json!({"string_value": "a", "default_percentage_allocation": share});
        assert_eq!(read(&json!([option(60), option(40)])), Ok(2));
        let error = Err(json!({"multivariate_options": ["Invalid percentage allocation"]}));
        assert_eq!(read(&json!([option(60), option(60)])), error);
        // Without a share an option asks for everything.
        assert_eq!(read(&json!([{"string_value": "a"}])), Ok(1));
        assert_eq!(read(&json!([{"string_value": "a"}, option(1)])), error);
    }

    #[test]
    fn mistakes_are_told_where_they_are() {
        assert_eq!(
            read(&json!([{"type": "int", "integer_value": 1}, {"type": "zip", "key": "control"}])),
            Err(json!({"multivariate_options": [
                {},
                {"type": ["\"zip\" is not a valid choice."], "key": ["\"control\" is a reserved variant key."]},
            ]}))
        );
        assert_eq!(
            read(&json!("x")),
            Err(
                json!({"multivariate_options": {"non_field_errors": ["Expected a list of items but got type \"str\"."]}})
            )
        );
    }
}
