//! Kinds of fields: what each takes, and what it says of anything else, in the words of Django REST
//! framework.

use chrono::{DateTime, NaiveDateTime, Utc};
use serde_json::Value;

/// A kind of field.
pub(crate) trait Field {
    /// What it reads.
    type Out;
    /// Reads a value that is not null.
    fn read(&self, value: &Value) -> Result<Self::Out, Vec<String>>;
}

fn wrong<T>(message: impl Into<String>) -> Result<T, Vec<String>> {
    Err(vec![message.into()])
}

/// Text; white space around it is dropped, and numbers are taken as they are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text {
    max: usize,
    blank: bool,
    trim: bool,
}

impl Text {
    /// At most `max` characters, not blank.
    pub(crate) const fn max(max: usize) -> Self {
        Self {
            max,
            blank: false,
            trim: true,
        }
    }

    /// May be empty.
    pub(crate) const fn or_blank(self) -> Self {
        Self {
            blank: true,
            ..self
        }
    }

    /// Keeps white space (passwords, values).
    pub(crate) const fn verbatim(self) -> Self {
        Self {
            trim: false,
            ..self
        }
    }
}

impl Field for Text {
    type Out = String;

    fn read(&self, value: &Value) -> Result<String, Vec<String>> {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return wrong("Not a valid string."),
        };
        let text = if self.trim {
            text.trim().to_owned()
        } else {
            text
        };
        if text.is_empty() && !self.blank {
            return wrong("This field may not be blank.");
        }
        let mut messages = Vec::new();
        if text.chars().count() > self.max {
            let max = self.max;
            messages.push(format!(
                "Ensure this field has no more than {max} characters."
            ));
        }
        if text.contains('\0') {
            messages.push("Null characters are not allowed.".to_owned());
        }
        if messages.is_empty() {
            Ok(text)
        } else {
            Err(messages)
        }
    }
}

/// An e-mail address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Email;

impl Field for Email {
    type Out = String;

    fn read(&self, value: &Value) -> Result<String, Vec<String>> {
        let text = Text::max(254).read(value)?;
        if is_email(&text) {
            Ok(text)
        } else {
            wrong("Enter a valid email address.")
        }
    }
}

/// Django's idea of an address, without quoted local parts and literal IP addresses.
pub(crate) fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let local_ok = !local.is_empty()
        && local.split('.').all(|atom| {
            !atom.is_empty()
                && atom
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+/=?^_`{}|~-".contains(c))
        });
    let label_ok = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
    };
    let domain_ok = domain == "localhost"
        || (domain.contains('.')
            && domain.split('.').all(label_ok)
            && domain
                .rsplit('.')
                .next()
                .is_some_and(|tld| tld.chars().count() >= 2));
    local_ok && domain_ok
}

/// True or false, also in the words that forms use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bool;

impl Field for Bool {
    type Out = bool;

    fn read(&self, value: &Value) -> Result<bool, Vec<String>> {
        const TRUE: &[&str] = &["t", "y", "yes", "true", "on", "1"];
        const FALSE: &[&str] = &["f", "n", "no", "false", "off", "0", "0.0"];
        let word = match value {
            Value::Bool(value) => return Ok(*value),
            Value::Number(number) if number.as_f64() == Some(1.0) => return Ok(true),
            Value::Number(number) if number.as_f64() == Some(0.0) => return Ok(false),
            Value::String(text) => text.trim().to_ascii_lowercase(),
            _ => return wrong("Must be a valid boolean."),
        };
        if TRUE.contains(&word.as_str()) {
            Ok(true)
        } else if FALSE.contains(&word.as_str()) {
            Ok(false)
        } else {
            wrong("Must be a valid boolean.")
        }
    }
}

/// A whole number of 32 bits (what the columns hold) within bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Int {
    min: i32,
    max: i32,
}

impl Int {
    /// Any that fits.
    pub(crate) const fn any() -> Self {
        Self {
            min: i32::MIN,
            max: i32::MAX,
        }
    }

    /// Between the two, both included.
    pub(crate) const fn between(min: i32, max: i32) -> Self {
        Self { min, max }
    }
}

impl Field for Int {
    type Out = i32;

    fn read(&self, value: &Value) -> Result<i32, Vec<String>> {
        let Some(number) = whole(value) else {
            return wrong("A valid integer is required.");
        };
        match i32::try_from(number) {
            Ok(number) if number > self.max => wrong(format!(
                "Ensure this value is less than or equal to {}.",
                self.max
            )),
            Ok(number) if number < self.min => wrong(format!(
                "Ensure this value is greater than or equal to {}.",
                self.min
            )),
            Ok(number) => Ok(number),
            Err(_) if number > 0 => wrong(format!(
                "Ensure this value is less than or equal to {}.",
                self.max
            )),
            Err(_) => wrong(format!(
                "Ensure this value is greater than or equal to {}.",
                self.min
            )),
        }
    }
}

/// A reference to another object by its id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Id;

impl Field for Id {
    type Out = i64;

    fn read(&self, value: &Value) -> Result<i64, Vec<String>> {
        let kind = match value {
            Value::Bool(_) => "bool",
            Value::Array(_) => "list",
            Value::Object(_) => "dict",
            Value::String(_) => "str",
            Value::Number(number) if number.is_f64() => "float",
            Value::Number(_) | Value::Null => "int",
        };
        match whole(value) {
            Some(number) if kind != "bool" => i64::try_from(number)
                .or_else(|_| wrong(format!("Invalid pk \"{number}\" - object does not exist."))),
            _ => wrong(format!(
                "Incorrect type. Expected pk value, received {kind}."
            )),
        }
    }
}

fn whole(value: &Value) -> Option<i128> {
    match value {
        Value::Number(number) => number.as_i64().map(i128::from).or_else(|| {
            let float = number.as_f64()?;
            #[expect(
                clippy::cast_possible_truncation,
                reason = "whole and within bounds, as checked"
            )]
            (float.fract() == 0.0 && float.abs() < 1e30).then_some(float as i128)
        }),
        Value::String(text) => {
            let text = text.trim();
            let digits = text.split_once('.').map_or(text, |(digits, zeros)| {
                if zeros.chars().all(|c| c == '0') {
                    digits
                } else {
                    text
                }
            });
            digits.parse().ok()
        }
        _ => None,
    }
}

/// A number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Float;

impl Field for Float {
    type Out = f64;

    fn read(&self, value: &Value) -> Result<f64, Vec<String>> {
        let number = match value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        match number.filter(|number| number.is_finite()) {
            Some(number) => Ok(number),
            None => wrong("A valid number is required."),
        }
    }
}

/// One of a few words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice(pub(crate) &'static [&'static str]);

impl Field for Choice {
    type Out = &'static str;

    fn read(&self, value: &Value) -> Result<&'static str, Vec<String>> {
        let shown = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        match self.0.iter().find(|choice| **choice == shown) {
            Some(choice) => Ok(choice),
            None => wrong(format!("\"{shown}\" is not a valid choice.")),
        }
    }
}

/// A moment, in ISO 8601; without a zone it is in UTC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timestamp;

impl Field for Timestamp {
    type Out = DateTime<Utc>;

    fn read(&self, value: &Value) -> Result<DateTime<Utc>, Vec<String>> {
        let parsed = value.as_str().map(str::trim).and_then(|text| {
            DateTime::parse_from_rfc3339(text)
                .map(|time| time.to_utc())
                .ok()
                .or_else(|| local(text, "%Y-%m-%dT%H:%M:%S%.f"))
                .or_else(|| local(text, "%Y-%m-%d %H:%M:%S%.f"))
                .or_else(|| local(text, "%Y-%m-%dT%H:%M"))
        });
        match parsed {
            Some(time) => Ok(time),
            None => wrong(
                "Datetime has wrong format. Use one of these formats instead: \
                 YYYY-MM-DDThh:mm[:ss[.uuuuuu]][+HH:MM|-HH:MM|Z].",
            ),
        }
    }
}

fn local(text: &str, format: &str) -> Option<DateTime<Utc>> {
    NaiveDateTime::parse_from_str(text, format)
        .ok()
        .map(|time| time.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_trims_counts_and_takes_numbers() {
        assert_eq!(Text::max(3).read(&json!(" é ")), Ok("é".to_owned()));
        assert_eq!(Text::max(3).read(&json!(42)), Ok("42".to_owned()));
        assert_eq!(
            Text::max(3).read(&json!(false)),
            wrong("Not a valid string.")
        );
        assert_eq!(
            Text::max(3).read(&json!("")),
            wrong("This field may not be blank.")
        );
        assert_eq!(Text::max(3).or_blank().read(&json!("")), Ok(String::new()));
        assert_eq!(
            Text::max(3).read(&json!("abcd")),
            wrong("Ensure this field has no more than 3 characters.")
        );
        assert_eq!(
            Text::max(3).read(&json!("a\0")),
            wrong("Null characters are not allowed.")
        );
    }

    #[test]
    fn numbers() {
        assert_eq!(Int::any().read(&json!("5.0")), Ok(5));
        assert_eq!(
            Int::any().read(&json!(true)),
            wrong("A valid integer is required.")
        );
        assert_eq!(
            Int::between(1, 9).read(&json!(10)),
            wrong("Ensure this value is less than or equal to 9.")
        );
        assert!(Int::any().read(&json!(3_000_000_000_u64)).is_err());
        assert_eq!(
            Id.read(&json!("x")),
            wrong("Incorrect type. Expected pk value, received str.")
        );
    }

    #[test]
    fn addresses() {
        for good in ["a@b.co", "a.b+c@sub.example.com", "x@localhost"] {
            assert!(Email.read(&json!(good)).is_ok(), "{good}");
        }
        for bad in ["nope", "@b.co", "a@b", "a b@c.de", "a@-b.co", "a..b@c.de"] {
            assert_eq!(
                Email.read(&json!(bad)),
                wrong("Enter a valid email address."),
                "{bad}"
            );
        }
    }

    #[test]
    fn moments() {
        for text in [
            "2020-01-01T00:00:00Z",
            "2020-01-01T00:00",
            "2020-01-01T01:00:00+01:00",
        ] {
            assert_eq!(
                Timestamp.read(&json!(text)).unwrap().timestamp(),
                1_577_836_800,
                "{text}"
            );
        }
        assert!(Timestamp.read(&json!("tomorrow")).is_err());
    }
}
