//! The operators, one function each (flagsmith-api.md B.5).

use std::cmp::Ordering;

use semver::Version;

use super::bucket;
use super::plan::Condition;
use super::value::Value;

/// An operator, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operator {
    Equal = 1,
    NotEqual,
    GreaterThan,
    GreaterThanInclusive,
    LessThan,
    LessThanInclusive,
    Contains,
    NotContains,
    Regex,
    In,
    PercentageSplit,
    Modulo,
    IsSet,
    IsNotSet,
}

impl Operator {
    const ALL: [(&'static str, Self); 14] = [
        ("EQUAL", Self::Equal),
        ("NOT_EQUAL", Self::NotEqual),
        ("GREATER_THAN", Self::GreaterThan),
        ("GREATER_THAN_INCLUSIVE", Self::GreaterThanInclusive),
        ("LESS_THAN", Self::LessThan),
        ("LESS_THAN_INCLUSIVE", Self::LessThanInclusive),
        ("CONTAINS", Self::Contains),
        ("NOT_CONTAINS", Self::NotContains),
        ("REGEX", Self::Regex),
        ("IN", Self::In),
        ("PERCENTAGE_SPLIT", Self::PercentageSplit),
        ("MODULO", Self::Modulo),
        ("IS_SET", Self::IsSet),
        ("IS_NOT_SET", Self::IsNotSet),
    ];

    /// By Flagsmith's name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, operator)| *operator)
    }

    /// As stored; `None` for a number that is none.
    pub(crate) fn stored(number: u8) -> Option<Self> {
        Self::ALL
            .get(usize::from(number).checked_sub(1)?)
            .map(|(_, operator)| *operator)
    }
}

/// Whether one of the six comparisons holds. Where the value of the condition cannot be cast to the
/// type of what it is compared with, none does. Numbers are compared by size, text by code points, versions by precedence.
pub(crate) fn compares(operator: Operator, value: &Value<'_>, condition: Condition<'_>) -> bool {
    let Some(compared) = compare(value, condition) else {
        return false;
    };
    let Compared::Is(ordering) = compared else {
        return operator == Operator::NotEqual;
    };
    match operator {
        Operator::Equal => ordering.is_eq(),
        Operator::NotEqual => ordering.is_ne(),
        Operator::GreaterThan => ordering.is_gt(),
        Operator::GreaterThanInclusive => ordering.is_ge(),
        Operator::LessThan => ordering.is_lt(),
        Operator::LessThanInclusive => ordering.is_le(),
        _ => false,
    }
}

/// How a value compares with a condition's.
enum Compared {
    Is(Ordering),
    /// One of both is not a number: they differ, and neither is greater.
    NotANumber,
}

/// Nothing where there is no value or the cast fails.
fn compare(value: &Value<'_>, condition: Condition<'_>) -> Option<Compared> {
    let ordering = match value {
        Value::Pending | Value::Missing => return None,
        Value::Bool(value) => value.cmp(&condition.boolean()),
        Value::Int(value) => value.cmp(&condition.int()?),
        Value::Float(value) => {
            let ordering = value.partial_cmp(&condition.float()?);
            return Some(ordering.map_or(Compared::NotANumber, Compared::Is));
        }
        Value::Text(_) if !condition.is_text() => return None,
        Value::Text(text) if condition.is_version() => {
            let version = Version::parse(text).ok()?;
            let other = Version::parse(str::from_utf8(condition.text()).ok()?).ok()?;
            version.cmp_precedence(&other)
        }
        Value::Text(text) => text.as_bytes().cmp(condition.text()),
    };
    Some(Compared::Is(ordering))
}

/// Text within text. Of a version: its pre-release or its build, whole, as Flagsmith has it.
pub(crate) fn contains(value: &Value<'_>, condition: Condition<'_>) -> bool {
    let (Value::Text(text), true) = (value, condition.is_text()) else {
        return false;
    };
    let Ok(part) = str::from_utf8(condition.text()) else {
        return false;
    };
    if !condition.is_version() {
        return text.contains(part);
    }
    Version::parse(text).is_ok_and(|version| {
        [version.pre.as_str(), version.build.as_str()]
            .iter()
            .any(|whole| !whole.is_empty() && *whole == part)
    })
}

/// Text that lacks text; of anything but text it does not hold.
pub(crate) fn not_contains(value: &Value<'_>, part: &[u8]) -> bool {
    let part = str::from_utf8(part).unwrap_or_default();
    matches!(value, Value::Text(text) if !text.contains(part))
}

/// Membership. Only text and integers can be members.
pub(crate) fn is_in(value: &Value<'_>, mut has: impl FnMut(&str) -> bool) -> bool {
    match value {
        Value::Text(text) => has(text),
        Value::Int(number) => has(&number.to_string()),
        _ => false,
    }
}

/// Whether a value's bucket is within the first `limit` percent.
pub(crate) fn percentage_split(salt: &[u8], value: Option<&str>, limit: Option<f64>) -> bool {
    match (value, limit) {
        (Some(value), Some(limit)) => bucket::percentage(salt, value.as_bytes()) <= limit,
        _ => false,
    }
}

/// Whether a number, or true as 1 and false as 0, leaves `remainder` when divided by `divisor`.
/// By zero it never does.
#[expect(
    clippy::cast_precision_loss,
    reason = "as Python does with a float divisor"
)]
#[expect(clippy::float_cmp, reason = "as Python does")]
pub(crate) fn modulo(value: &Value<'_>, divisor: f64, remainder: f64) -> bool {
    let value = match value {
        Value::Bool(value) => f64::from(u8::from(*value)),
        Value::Int(value) => *value as f64,
        Value::Float(value) => *value,
        _ => return false,
    };
    if divisor == 0.0 {
        return false;
    }
    // Python's remainder has the divisor's sign.
    let mut rest = value % divisor;
    if rest != 0.0 && (rest < 0.0) != (divisor < 0.0) {
        rest += divisor;
    }
    rest == remainder
}

/// Whether there is a value; the empty text is one.
pub(crate) const fn is_set(value: &Value<'_>) -> bool {
    !matches!(value, Value::Pending | Value::Missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        for (name, operator) in Operator::ALL {
            assert_eq!(Operator::named(name), Some(operator));
            assert_eq!(Operator::stored(operator as u8), Some(operator));
        }
        assert_eq!(Operator::stored(0), None);
        assert_eq!(Operator::stored(15), None);
        assert_eq!(Operator::named("equal"), None);
    }

    #[test]
    fn remainders_take_the_divisors_sign() {
        assert!(modulo(&Value::Int(-1), 3.0, 2.0));
        assert!(modulo(&Value::Int(1), -3.0, -2.0));
        assert!(modulo(&Value::Float(4.5), 1.5, 0.0));
        assert!(modulo(&Value::Bool(true), 2.0, 1.0));
        assert!(!modulo(&Value::Int(1), 0.0, 0.0));
        assert!(!modulo(&Value::Int(1), f64::NAN, 0.0));
        assert!(modulo(&Value::Int(-5), f64::INFINITY, f64::INFINITY));
    }
}
