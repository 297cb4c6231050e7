//! The rules of a segment: what a body may hold, and which ids its rules and conditions get. They are
//! kept as the API shows them (flagsmith-observed.md 4.4).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::api::feature_states::not_a_list;
use crate::http::{Bool, Choice, FieldErrors, Fields, Mode, Text};
use yardarm_core::engine::coerce::python_text;

const TYPES: &[&str] = &["ALL", "ANY", "NONE"];
const PERCENTAGE_SPLIT: &str = "PERCENTAGE_SPLIT";
const OPERATORS: &[&str] = &[
    "EQUAL",
    "GREATER_THAN",
    "LESS_THAN",
    "CONTAINS",
    "GREATER_THAN_INCLUSIVE",
    "LESS_THAN_INCLUSIVE",
    "NOT_CONTAINS",
    "NOT_EQUAL",
    "REGEX",
    PERCENTAGE_SPLIT,
    "MODULO",
    "IS_SET",
    "IS_NOT_SET",
    "IN",
];
const MAX_CONDITIONS: usize = 100;
const MAX_PROPERTY: usize = 1000;
const MAX_VALUE: usize = 1000;
const MAX_DESCRIPTION: usize = 10_000;

/// A rule: how its parts count together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Rule {
    id: i64,
    /// `ALL`, `ANY` or `NONE`.
    r#type: String,
    /// Rules within; those have none of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(no_recursion)]
    rules: Option<Vec<Rule>>,
    conditions: Vec<Condition>,
}

/// A condition on a trait or a property of the context.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Condition {
    id: i64,
    operator: String,
    /// The trait's key or a path (`$.identity.key`); may be null for `PERCENTAGE_SPLIT` only.
    property: Option<String>,
    value: String,
    description: Option<String>,
}

/// How many ids rules need that have none yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Missing {
    /// For rules.
    pub(crate) rules: usize,
    /// For conditions.
    pub(crate) conditions: usize,
}

/// Reads the rules of a body. What carries `"delete": true` is left out. Ids are kept as they came, 0
/// where there was none; see [`keep_ids`].
pub(crate) fn read(value: &Value) -> Result<Vec<Rule>, FieldErrors> {
    let Some(items) = value.as_array() else {
        let mut errors = FieldErrors::default();
        errors.set("rules", not_a_list(value));
        return Err(errors);
    };
    if items.is_empty() {
        let mut errors = FieldErrors::default();
        errors.set(
            "rules",
            json!({"non_field_errors": ["This list may not be empty."]}),
        );
        return Err(errors);
    }
    let rules = read_list(items, |item| read_rule(item, 1)).map_err(|nested| {
        let mut errors = FieldErrors::default();
        errors.set("rules", nested);
        errors
    })?;
    if rules
        .iter()
        .flat_map(Rule::nested)
        .any(|rule| rule.rules.is_some())
    {
        return Err(FieldErrors::of(
            "segment",
            "Rules must not be nested more than 2 levels deep.",
        ));
    }
    let conditions: usize = rules.iter().map(Rule::count_conditions).sum();
    if conditions > MAX_CONDITIONS {
        let message = format!(
            "The segment has {conditions} conditions, which exceeds the maximum condition count of {MAX_CONDITIONS}."
        );
        return Err(FieldErrors::of("segment", message));
    }
    Ok(rules)
}

impl Rule {
    fn nested(&self) -> impl Iterator<Item = &Self> {
        self.rules.iter().flatten()
    }

    fn count_conditions(&self) -> usize {
        self.conditions.len() + self.nested().map(Self::count_conditions).sum::<usize>()
    }

    fn each<'a>(
        rules: &'a mut [Self],
        visit: &mut impl FnMut(Option<&'a mut i64>, Option<&'a mut i64>),
    ) {
        for rule in rules {
            visit(Some(&mut rule.id), None);
            Self::each(rule.rules.as_deref_mut().unwrap_or_default(), visit);
            for condition in &mut rule.conditions {
                visit(None, Some(&mut condition.id));
            }
        }
    }
}

/// Drops the ids that `old`, the segment as it is, does not have, and those that come twice; tells how
/// many new ones are needed.
pub(crate) fn keep_ids(rules: &mut [Rule], old: &mut [Rule]) -> Missing {
    let (mut rule_ids, mut condition_ids) = (BTreeSet::new(), BTreeSet::new());
    Rule::each(old, &mut |rule, condition| {
        rule_ids.extend(rule.copied());
        condition_ids.extend(condition.copied());
    });
    let mut missing = Missing::default();
    Rule::each(rules, &mut |rule, condition| {
        if let Some(id) = rule
            && !rule_ids.remove(id)
        {
            *id = 0;
            missing.rules += 1;
        }
        if let Some(id) = condition
            && !condition_ids.remove(id)
        {
            *id = 0;
            missing.conditions += 1;
        }
    });
    missing
}

/// Forgets every id, for a copy.
pub(crate) fn forget_ids(rules: &mut [Rule]) -> Missing {
    keep_ids(rules, &mut [])
}

/// Gives out new ids in the order in which rules and conditions stand.
pub(crate) fn assign_ids(rules: &mut [Rule], rule_ids: Vec<i64>, condition_ids: Vec<i64>) {
    let (mut rule_ids, mut condition_ids) = (rule_ids.into_iter(), condition_ids.into_iter());
    Rule::each(rules, &mut |rule, condition| {
        for (id, fresh) in [(rule, &mut rule_ids), (condition, &mut condition_ids)] {
            if let Some(id) = id.filter(|id| **id == 0) {
                *id = fresh.next().unwrap_or_default();
            }
        }
    });
}

/// Reads each item; the errors stand where their items do.
fn read_list<T>(
    items: &[Value],
    read: impl Fn(&Value) -> Result<Option<T>, FieldErrors>,
) -> Result<Vec<T>, Value> {
    let mut things = Vec::with_capacity(items.len());
    let mut errors = Vec::with_capacity(items.len());
    for item in items {
        match read(item) {
            Ok(thing) => {
                things.extend(thing);
                errors.push(json!({}));
            }
            Err(error) => errors.push(error.into_value()),
        }
    }
    let wrong = errors
        .iter()
        .any(|error| error.as_object().is_some_and(|error| !error.is_empty()));
    if wrong {
        Err(Value::Array(errors))
    } else {
        Ok(things)
    }
}

fn read_nested<T>(
    fields: &mut Fields,
    name: &str,
    read: impl Fn(&Value) -> Result<Option<T>, FieldErrors>,
) -> Vec<T> {
    let outcome = match fields.raw(name) {
        None => return Vec::new(),
        Some(Value::Array(items)) => read_list(items, read),
        Some(other) => Err(not_a_list(other)),
    };
    outcome.unwrap_or_else(|errors| {
        fields.set_error(name, errors);
        Vec::new()
    })
}

/// Deeper than this nothing is read: it is refused anyway, and recursion must end.
const DEEPEST: usize = 3;

fn read_rule(item: &Value, depth: usize) -> Result<Option<Rule>, FieldErrors> {
    let mut fields = Fields::of(item.clone(), Mode::Full)?;
    let id = read_id(&fields);
    let r#type = fields.required("type", Choice(TYPES)).to_owned();
    let delete = fields.optional("delete", Bool).unwrap_or_default();
    let rules = if depth < DEEPEST {
        read_nested(&mut fields, "rules", |item| read_rule(item, depth + 1))
    } else {
        Vec::new()
    };
    let conditions = read_nested(&mut fields, "conditions", read_condition);
    fields.into_result()?;
    let rules = (depth == 1 || !rules.is_empty()).then_some(rules);
    Ok((!delete).then_some(Rule {
        id,
        r#type,
        rules,
        conditions,
    }))
}

fn read_condition(item: &Value) -> Result<Option<Condition>, FieldErrors> {
    let mut fields = Fields::of(item.clone(), Mode::Full)?;
    let id = read_id(&fields);
    let operator = fields.required("operator", Choice(OPERATORS));
    let property = fields
        .nullable("property", Text::max(MAX_PROPERTY).or_blank())
        .into_option();
    // Whatever it is, it is kept as text: null as "None" (which IS_SET and the like do not look at).
    let value = python_text(fields.raw("value").unwrap_or(&Value::Null));
    if value.chars().count() > MAX_VALUE {
        fields.error(
            "value",
            format!("Ensure this field has no more than {MAX_VALUE} characters."),
        );
    }
    if value.contains('\0') {
        fields.error("value", "Null characters are not allowed.");
    }
    let description = fields
        .nullable("description", Text::max(MAX_DESCRIPTION).or_blank())
        .into_option();
    let delete = fields.optional("delete", Bool).unwrap_or_default();
    if operator != PERCENTAGE_SPLIT && property.as_deref().is_none_or(str::is_empty) {
        let message = match fields.raw("property") {
            None => "This field is required.",
            Some(_) => "This field may not be blank.",
        };
        if !fields.has_error("property") {
            fields.error("property", message);
        }
    }
    fields.into_result()?;
    let condition = Condition {
        id,
        operator: operator.to_owned(),
        property,
        value,
        description,
    };
    Ok((!delete).then_some(condition))
}

fn read_id(fields: &Fields) -> i64 {
    fields.raw("id").and_then(Value::as_i64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(condition: &Value) -> Value {
        json!([{"type": "ALL", "rules": [{"type": "ANY", "rules": [], "conditions": [condition]}], "conditions": []}])
    }

    fn refusal(rules: &Value) -> Value {
        read(rules).unwrap_err().into_value()
    }

    #[test]
    fn shown_as_flagsmith_shows_them() {
        let mut rules = read(&one(
            &json!({"operator": "EQUAL", "property": "x", "value": 1.5}),
        ))
        .unwrap();
        assert_eq!(
            forget_ids(&mut rules),
            Missing {
                rules: 2,
                conditions: 1
            }
        );
        assign_ids(&mut rules, vec![10, 11], vec![20]);
        assert_eq!(
            serde_json::to_value(&rules).unwrap(),
            json!([{"id": 10, "type": "ALL", "rules": [
                {"id": 11, "type": "ANY", "conditions": [
                    {"id": 20, "operator": "EQUAL", "property": "x", "value": "1.5", "description": null}
                ]}
            ], "conditions": []}])
        );
        let again: Vec<Rule> =
            serde_json::from_value(serde_json::to_value(&rules).unwrap()).unwrap();
        assert_eq!(again, rules);
    }

    #[test]
    fn values_become_text() {
        for (value, expected) in [
            (json!(21), "21"),
            (json!(true), "True"),
            (json!(null), "None"),
            (json!("a"), "a"),
        ] {
            let rules = read(&one(
                &json!({"operator": "IN", "property": "x", "value": value}),
            ))
            .unwrap();
            assert_eq!(
                rules[0].nested().next().unwrap().conditions[0].value,
                expected
            );
        }
        let rules = read(&one(&json!({"operator": "IS_SET", "property": "x"}))).unwrap();
        assert_eq!(
            rules[0].nested().next().unwrap().conditions[0].value,
            "None"
        );
    }

    #[test]
    fn refusals_in_flagsmiths_words() {
        for (rules, error) in [
            (
                json!([]),
                json!({"rules": {"non_field_errors": ["This list may not be empty."]}}),
            ),
            (
                json!(null),
                json!({"rules": ["This field may not be null."]}),
            ),
            (
                json!("x"),
                json!({"rules": {"non_field_errors": ["Expected a list of items but got type \"str\"."]}}),
            ),
            (
                json!([{"type": "XOR"}]),
                json!({"rules": [{"type": ["\"XOR\" is not a valid choice."]}]}),
            ),
            (
                json!([{"rules": []}]),
                json!({"rules": [{"type": ["This field is required."]}]}),
            ),
            (
                one(&json!({"operator": "NOPE", "property": "x", "value": "1"})),
                json!({"rules": [{"rules": [{"conditions": [{"operator": ["\"NOPE\" is not a valid choice."]}]}]}]}),
            ),
            (
                one(&json!({"operator": "EQUAL", "property": "x", "value": "v".repeat(1001)})),
                json!({"rules": [{"rules": [{"conditions": [{"value": ["Ensure this field has no more than 1000 characters."]}]}]}]}),
            ),
            (
                one(&json!({"operator": "EQUAL", "value": "1"})),
                json!({"rules": [{"rules": [{"conditions": [{"property": ["This field is required."]}]}]}]}),
            ),
            (
                json!([{"type": "ALL", "rules": [{"type": "ANY", "rules": [{"type": "ALL"}]}]}]),
                json!({"segment": ["Rules must not be nested more than 2 levels deep."]}),
            ),
        ] {
            assert_eq!(refusal(&rules), error, "{rules}");
        }
        assert!(
            read(&one(
                &json!({"operator": "PERCENTAGE_SPLIT", "property": null, "value": 5})
            ))
            .is_ok()
        );
    }

    #[test]
    fn at_most_a_hundred_conditions() {
        let conditions = |count: usize| {
            let condition = json!({"operator": "EQUAL", "property": "x", "value": "1"});
            json!([{"type": "ALL", "conditions": vec![condition; count]}])
        };
        assert!(read(&conditions(100)).is_ok());
        assert_eq!(
            refusal(&conditions(101)),
            json!({"segment": ["The segment has 101 conditions, which exceeds the maximum condition count of 100."]})
        );
    }

    #[test]
    fn hostile_nesting_ends() {
        let mut rule = json!({"type": "ALL"});
        for _ in 0..100 {
            rule = json!({"type": "ALL", "rules": [rule]});
        }
        assert_eq!(
            refusal(&json!([rule])),
            json!({"segment": ["Rules must not be nested more than 2 levels deep."]})
        );
    }

    #[test]
    fn ids_are_kept_when_they_are_the_segments_own() {
        let mut old = read(&one(
            &json!({"operator": "EQUAL", "property": "x", "value": "1"}),
        ))
        .unwrap();
        forget_ids(&mut old);
        assign_ids(&mut old, vec![10, 11], vec![20]);
        let mut same = old.clone();
        assert_eq!(keep_ids(&mut same, &mut old.clone()), Missing::default());
        assert_eq!(same, old);

        let conditions = json!([
            {"id": 20, "operator": "EQUAL", "property": "x", "value": "2"},
            {"id": 20, "operator": "EQUAL", "property": "x", "value": "3"},
            {"id": 99, "operator": "EQUAL", "property": "x", "value": "4"},
            {"operator": "EQUAL", "property": "x", "value": "5", "delete": true},
        ]);
        let mut edited =
            read(&json!([{"id": 10, "type": "ANY", "conditions": conditions}])).unwrap();
        assert_eq!(
            keep_ids(&mut edited, &mut old),
            Missing {
                rules: 0,
                conditions: 2
            }
        );
        assign_ids(&mut edited, vec![], vec![30, 31]);
        let ids: Vec<i64> = edited[0]
            .conditions
            .iter()
            .map(|condition| condition.id)
            .collect();
        assert_eq!((edited[0].id, ids), (10, vec![20, 30, 31]));
    }
}
