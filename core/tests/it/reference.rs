//! A plain and slow evaluator, written from flagsmith-api.md B alone, to hold the compiled form to.
//! It shares no code with the engine but the libraries for MD5, patterns and versions.

use md5::{Digest, Md5};
use semver::Version;
use serde_json::{Map, Value, json};
use yardarm_core::engine::{Condition, Context, Feature, Rule, Segment};

/// The result that the context must have.
pub(crate) fn evaluate(context: &Context) -> Value {
    let in_segment = |segment: &&(String, Segment)| {
        let rules = &segment.1.rules;
        !rules.is_empty() && rules.iter().all(|rule| matches(context, &segment.1, rule))
    };
    let matching: Vec<&Segment> = context
        .segments
        .iter()
        .filter(in_segment)
        .map(|s| &s.1)
        .collect();
    let mut flags = Map::new();
    for (_, feature) in &context.features {
        let mut best: Option<(&Segment, &Feature)> = None;
        for segment in &matching {
            for candidate in segment.overrides.iter().filter(|o| o.name == feature.name) {
                let priority = |of: &Feature| of.priority.unwrap_or(f64::INFINITY);
                if best.is_none_or(|(_, holder)| priority(candidate) < priority(holder)) {
                    best = Some((segment, candidate));
                }
            }
        }
        let flag = match best {
            None => flag(context, feature, "DEFAULT".to_owned()),
            Some((segment, state)) => flag(
                context,
                state,
                format!("TARGETING_MATCH; segment={}", segment.name),
            ),
        };
        flags.insert(feature.name.clone(), flag);
    }
    let segments: Vec<Value> = matching
        .iter()
        .map(|segment| json!({"name": segment.name}))
        .collect();
    json!({"flags": flags, "segments": segments})
}

fn flag(context: &Context, state: &Feature, mut reason: String) -> Value {
    let (mut value, mut variant) = (state.value.clone(), Value::Null);
    if let (Some(key), false) = (identity_key(context), state.variants.is_empty()) {
        variant = json!("control");
        let position = percentage(&[&state.key, &key]);
        let mut sorted: Vec<_> = state.variants.iter().collect();
        sorted.sort_by(|a, b| a.priority.partial_cmp(&b.priority).expect("numbers"));
        let mut start = 0.0;
        for candidate in sorted {
            let limit = start + candidate.weight.as_f64().expect("a number");
            if start <= position && position < limit {
                reason = format!("SPLIT; weight={}", candidate.weight);
                value = candidate.value.clone();
                variant = candidate.key.clone().into();
                break;
            }
            start = limit;
        }
    }
    json!({"name": state.name, "enabled": state.enabled, "value": value, "reason": reason,
        "variant": variant})
}

fn identity_key(context: &Context) -> Option<String> {
    let identity = context.identity.as_ref()?;
    Some(
        identity
            .key
            .clone()
            .unwrap_or_else(|| format!("{}_{}", context.environment.key, identity.identifier)),
    )
}

/// flagsmith-api.md B.3, digit by digit.
pub(crate) fn percentage(ids: &[&str]) -> f64 {
    let mut joined = ids.join(",");
    loop {
        let remainder = Md5::digest(&joined)
            .iter()
            .fold(0_u32, |rest, byte| (rest * 256 + u32::from(*byte)) % 9999);
        let value = f64::from(remainder) / 9998.0 * 100.0;
        if value < 100.0 {
            return value;
        }
        joined = format!("{joined},{}", ids.join(","));
    }
}

fn matches(context: &Context, segment: &Segment, rule: &Rule) -> bool {
    let quantify = |results: Vec<bool>| {
        results.is_empty()
            || match rule.kind.as_str() {
                "ALL" => results.iter().all(|holds| *holds),
                "ANY" => results.iter().any(|holds| *holds),
                "NONE" => !results.iter().any(|holds| *holds),
                _ => false,
            }
    };
    let conditions = rule
        .conditions
        .iter()
        .map(|c| holds(context, segment, c))
        .collect();
    let rules = rule
        .rules
        .iter()
        .map(|r| matches(context, segment, r))
        .collect();
    quantify(conditions) && quantify(rules)
}

#[derive(Debug, Clone, PartialEq)]
enum Seen {
    Nothing,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
}

fn look_up(context: &Context, property: &str) -> Seen {
    let identity = context.identity.as_ref();
    let found = match property {
        "$.identity.identifier" => identity.map(|identity| identity.identifier.clone().into()),
        "$.identity.key" => identity_key(context).map(Value::from),
        "$.environment.name" => Some(context.environment.name.clone().into()),
        "$.environment.key" => Some(context.environment.key.clone().into()),
        name => identity.and_then(|identity| {
            identity
                .traits
                .get(name.strip_prefix("$.identity.traits.").unwrap_or(name))
                .cloned()
        }),
    };
    match found {
        None | Some(Value::Null | Value::Array(_) | Value::Object(_)) => Seen::Nothing,
        Some(Value::Bool(value)) => Seen::Bool(value),
        Some(Value::Number(number)) => match number.as_i64() {
            Some(integer) => Seen::Int(integer),
            None => Seen::Float(number.as_f64().expect("a float")),
        },
        Some(Value::String(text)) => {
            let is_int = regex_lite::Regex::new(r"\A-?[0-9]+\z").expect("a pattern");
            let is_float = regex_lite::Regex::new(r"\A-?[0-9]+\.[0-9]+\z").expect("a pattern");
            if is_int.is_match(&text) {
                Seen::Int(text.parse().expect("short"))
            } else if is_float.is_match(&text) {
                Seen::Float(text.parse().expect("a float"))
            } else {
                Seen::Text(text)
            }
        }
    }
}

fn text_of(seen: &Seen) -> String {
    match seen {
        Seen::Nothing => "None".to_owned(),
        Seen::Bool(true) => "True".to_owned(),
        Seen::Bool(false) => "False".to_owned(),
        Seen::Int(value) => value.to_string(),
        // The generated floats have few digits, where Rust and Python print alike.
        Seen::Float(value) => format!("{value:?}"),
        Seen::Text(text) => text.clone(),
    }
}

fn holds(context: &Context, segment: &Segment, condition: &Condition) -> bool {
    let property = condition.property.as_deref().unwrap_or_default();
    if condition.operator == "PERCENTAGE_SPLIT" {
        let of = match property {
            "" => identity_key(context),
            name => Some(look_up(context, name))
                .filter(|s| *s != Seen::Nothing)
                .map(|s| text_of(&s)),
        };
        let limit = condition
            .value
            .as_str()
            .and_then(|text| text.parse::<f64>().ok());
        return of
            .zip(limit)
            .is_some_and(|(of, limit)| percentage(&[&segment.key, &of]) <= limit);
    }
    let seen = look_up(context, property);
    if condition.operator == "IN" {
        let items: Vec<String> = match &condition.value {
            Value::Array(items) => items
                .iter()
                .map(|i| i.as_str().expect("text").to_owned())
                .collect(),
            value => value
                .as_str()
                .expect("text")
                .split(',')
                .map(str::to_owned)
                .collect(),
        };
        return matches!(seen, Seen::Text(_) | Seen::Int(_)) && items.contains(&text_of(&seen));
    }
    let value = condition.value.as_str().expect("text");
    match condition.operator.as_str() {
        "IS_SET" => seen != Seen::Nothing,
        "IS_NOT_SET" => seen == Seen::Nothing,
        _ if seen == Seen::Nothing => false,
        "NOT_CONTAINS" => matches!(&seen, Seen::Text(text) if !text.contains(value)),
        "CONTAINS" => matches!(&seen, Seen::Text(text) if text.contains(value)),
        "REGEX" => regex_lite::Regex::new(value)
            .ok()
            .and_then(|regex| regex.find(&text_of(&seen)).map(|found| found.start()))
            .is_some_and(|start| start == 0),
        "MODULO" => modulo(&seen, value),
        operator => compare(&seen, value).is_some_and(|(less, equal)| match operator {
            "EQUAL" => equal,
            "NOT_EQUAL" => !equal,
            "GREATER_THAN" => !less && !equal,
            "GREATER_THAN_INCLUSIVE" => !less,
            "LESS_THAN" => less,
            "LESS_THAN_INCLUSIVE" => less || equal,
            _ => false,
        }),
    }
}

/// Less, and equal; nothing where the cast fails.
fn compare(seen: &Seen, value: &str) -> Option<(bool, bool)> {
    Some(match seen {
        Seen::Nothing => return None,
        Seen::Bool(seen) => {
            let value = value != "False" && value != "false";
            (!*seen & value, *seen == value)
        }
        Seen::Int(seen) => {
            let value: i64 = value.trim().parse().ok()?;
            (*seen < value, *seen == value)
        }
        Seen::Float(seen) => {
            let value: f64 = value.trim().parse().ok()?;
            (*seen < value, seen.partial_cmp(&value)?.is_eq())
        }
        Seen::Text(seen) => match value.strip_suffix(":semver") {
            None => (seen.as_str() < value, seen == value),
            Some(value) => {
                let ordering = Version::parse(seen)
                    .ok()?
                    .cmp_precedence(&Version::parse(value).ok()?);
                (ordering.is_lt(), ordering.is_eq())
            }
        },
    })
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
#[expect(clippy::float_cmp, reason = "as the rule has it")]
fn modulo(seen: &Seen, value: &str) -> bool {
    let number = match seen {
        Seen::Bool(value) => f64::from(u8::from(*value)),
        Seen::Int(value) => *value as f64,
        Seen::Float(value) => *value,
        _ => return false,
    };
    let Some((divisor, remainder)) = value.split_once('|') else {
        return false;
    };
    match (divisor.parse::<f64>(), remainder.parse::<f64>()) {
        (Ok(0.0), _) => false,
        (Ok(divisor), Ok(remainder)) => number - divisor * (number / divisor).floor() == remainder,
        _ => false,
    }
}
