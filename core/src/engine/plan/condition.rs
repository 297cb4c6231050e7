//! How a condition is stored: its value cast beforehand to every type a property may have.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::engine::binary::{self, Pool, Span, Writer, f64_at, i128_at, u8_at, u32_at};
use crate::engine::coerce;
use crate::engine::context;
use crate::engine::operator::Operator;
use crate::engine::pattern;

/// Bytes a stored condition takes up.
pub(super) const SIZE: usize = 48;

const IS_TEXT: u8 = 1;
const IS_VERSION: u8 = 2;
const HAS_INT: u8 = 4;
const HAS_FLOAT: u8 = 8;
const AS_TRUE: u8 = 16;
const HAS_NUMBERS: u8 = 32;

/// One comparison. What it is made of is read when it is asked for: an operator needs little of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Condition<'a> {
    pub(super) record: &'a [u8; SIZE],
    pub(super) texts: &'a [u8],
}

impl<'a> Condition<'a> {
    /// The operator; `None` for one that is unknown.
    pub(crate) fn operator(self) -> Option<Operator> {
        Operator::stored(u8_at(self.record, 0))
    }

    /// The property compared, or [`NO_PROPERTY`](super::NO_PROPERTY).
    pub(crate) fn property(self) -> u32 {
        u32_at(self.record, 4)
    }

    /// Python's `str()` of the condition's value, without `:semver`; of `PERCENTAGE_SPLIT` the salt, of
    /// `REGEX` the pattern as prepared.
    pub(crate) fn text(self) -> &'a [u8] {
        Span::read(self.record, 8).of(self.texts)
    }

    /// Of `IN`: the members; of `REGEX`: `at` is the number of the pattern.
    pub(crate) fn range(self) -> Span {
        Span::read(self.record, 16)
    }

    /// Of `MODULO`: divisor and remainder.
    pub(crate) fn numbers(self) -> Option<(f64, f64)> {
        self.has(HAS_NUMBERS)
            .then(|| (f64_at(self.record, 24), f64_at(self.record, 32)))
    }

    /// `float()` of its value.
    pub(crate) fn float(self) -> Option<f64> {
        self.has(HAS_FLOAT).then(|| f64_at(self.record, 40))
    }

    /// `int()` of its value.
    pub(crate) fn int(self) -> Option<i128> {
        self.has(HAS_INT).then(|| i128_at(self.record, 24))
    }

    /// Flagsmith's cast of its value to a boolean: anything but `False` and `false` is true.
    pub(crate) fn boolean(self) -> bool {
        self.has(AS_TRUE)
    }

    /// Whether its value is text, which alone can be compared with text.
    pub(crate) fn is_text(self) -> bool {
        self.has(IS_TEXT)
    }

    /// Whether its value ended with `:semver`.
    pub(crate) fn is_version(self) -> bool {
        self.has(IS_VERSION)
    }

    fn has(self, flag: u8) -> bool {
        u8_at(self.record, 1) & flag != 0
    }
}

/// The tables that conditions are written to.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// Members of `IN` conditions, as spans of text.
    pub(super) members: Writer,
    /// How many patterns there are.
    pub(super) patterns: u32,
}

impl Tables {
    /// A condition's record. `salt` is the segment's key with a comma.
    pub(super) fn write(
        &mut self,
        condition: &context::Condition,
        property: u32,
        salt: &str,
        texts: &mut Pool,
        warnings: &mut Vec<String>,
    ) -> [u8; SIZE] {
        let mut record = Record {
            property,
            ..Record::default()
        };
        let Some(operator) = Operator::named(&condition.operator) else {
            warnings.push(format!(
                "operator {:?} is unknown and matches nothing",
                condition.operator
            ));
            return record.write();
        };
        record.operator = operator as u8;
        match operator {
            Operator::In => record.range = self.write_members(&condition.value, texts, warnings),
            Operator::PercentageSplit => {
                record.text = texts.add(salt);
                record.set_float(float(&condition.value));
                if float(&condition.value).is_none() {
                    warnings.push(unreadable("a percentage", &condition.value));
                }
            }
            Operator::Modulo => match divisor_and_remainder(&condition.value) {
                Some((divisor, remainder)) => {
                    if divisor == 0.0 {
                        warnings.push("MODULO by zero matches nothing".to_owned());
                    }
                    record.flags |= HAS_NUMBERS;
                    record.payload[..8].copy_from_slice(&divisor.to_le_bytes());
                    record.payload[8..].copy_from_slice(&remainder.to_le_bytes());
                }
                None => warnings.push(unreadable("`divisor|remainder`", &condition.value)),
            },
            Operator::Regex => {
                let spelled = coerce::python_text(&condition.value);
                match pattern::prepare(&spelled) {
                    Some(prepared) => {
                        record.flags |= IS_TEXT;
                        record.text = texts.add(prepared);
                        record.range.at = self.patterns;
                        self.patterns += 1;
                    }
                    None => warnings.push(unreadable("a pattern", &condition.value)),
                }
            }
            Operator::NotContains => {
                record.text = texts.add(coerce::python_text(&condition.value));
            }
            Operator::IsSet | Operator::IsNotSet => {}
            _ => record.set_casts(&condition.value, texts),
        }
        record.write()
    }

    /// Writes the members of an `IN` condition, sorted.
    fn write_members(
        &mut self,
        value: &Value,
        texts: &mut Pool,
        warnings: &mut Vec<String>,
    ) -> Span {
        let members = members(value);
        if members.is_empty() {
            warnings.push(unreadable("a list", value));
        }
        let span = Span {
            at: binary::count(self.members.0.len() / Span::SIZE),
            len: binary::count(members.len()),
        };
        for member in members {
            self.members.span(texts.add(member));
        }
        span
    }
}

fn unreadable(wanted: &str, value: &Value) -> String {
    format!("{value} cannot be read as {wanted} and matches nothing")
}

/// A record being filled in.
#[derive(Debug, Default)]
struct Record {
    operator: u8,
    flags: u8,
    property: u32,
    text: Span,
    range: Span,
    payload: [u8; 16],
    float: f64,
}

impl Record {
    fn set_float(&mut self, float: Option<f64>) {
        if let Some(float) = float {
            self.flags |= HAS_FLOAT;
            self.float = float;
        }
    }

    /// Casts the value to text, a version, an integer, a float and a boolean.
    fn set_casts(&mut self, value: &Value, texts: &mut Pool) {
        let text = coerce::python_text(value);
        let int = match value {
            Value::String(text) => coerce::python_int(text),
            Value::Number(number) => {
                coerce::integer(number).or_else(|| truncated(number.as_f64()?))
            }
            Value::Bool(value) => Some(i128::from(*value)),
            _ => None,
        };
        if let Some(int) = int {
            self.flags |= HAS_INT;
            self.payload = int.to_le_bytes();
        }
        self.set_float(float(value));
        if !matches!(text.as_str(), "False" | "false") || !value.is_string() {
            self.flags |= AS_TRUE;
        }
        if !matches!(value, Value::Number(_) | Value::Bool(_)) {
            self.flags |= IS_TEXT;
        }
        self.text = match text.strip_suffix(":semver") {
            Some(version) if value.is_string() => {
                self.flags |= IS_VERSION;
                texts.add(version)
            }
            _ => texts.add(text),
        };
    }

    fn write(&self) -> [u8; SIZE] {
        let mut writer = Writer::default();
        writer
            .u8(self.operator)
            .u8(self.flags)
            .bytes(&[0; 2])
            .u32(self.property)
            .span(self.text)
            .span(self.range)
            .bytes(&self.payload)
            .f64(self.float);
        let mut record = [0; SIZE];
        for (to, from) in record.iter_mut().zip(writer.0) {
            *to = from;
        }
        record
    }
}

/// Python's `int(float)`.
#[expect(
    clippy::cast_possible_truncation,
    reason = "towards zero, as Python does"
)]
fn truncated(float: f64) -> Option<i128> {
    float.is_finite().then_some(float as i128)
}

/// Python's `float()` of a condition's value.
fn float(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => coerce::python_float(text),
        Value::Number(number) => number.as_f64(),
        Value::Bool(value) => Some(f64::from(u8::from(*value))),
        _ => None,
    }
}

/// The two numbers of a `MODULO` condition.
fn divisor_and_remainder(value: &Value) -> Option<(f64, f64)> {
    let (divisor, remainder) = value.as_str()?.split_once('|')?;
    // A second `|` makes the remainder unreadable.
    Some((
        coerce::python_float(divisor)?,
        coerce::python_float(remainder)?,
    ))
}

/// The members of an `IN` condition: a list, a JSON list in text, or text split at commas.
fn members(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Array(items) => items.iter().map(coerce::python_text).collect(),
        Value::String(text) => match serde_json::from_str(text) {
            Ok(Value::Array(items)) if text.starts_with('[') => {
                items.iter().map(coerce::python_text).collect()
            }
            _ => text.split(',').map(str::to_owned).collect(),
        },
        _ => BTreeSet::new(),
    }
}
