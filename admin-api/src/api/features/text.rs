//! Text as Python writes it: Flagsmith turns JSON that is not a string into one with `str()`, in the
//! initial values of features and in the values of conditions (flagsmith-observed.md 4.4).

use std::fmt::Write as _;

use serde_json::Value;

/// `str(value)`: `True`, `None`, `1.5`, `{'a': 1}`; a string is itself.
pub(crate) fn python_str(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => {
            let mut text = String::new();
            repr(other, &mut text);
            text
        }
    }
}

fn repr(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(text) => repr_text(text, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                repr(item, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            out.push('{');
            for (index, (name, item)) in fields.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                repr_text(name, out);
                out.push_str(": ");
                repr(item, out);
            }
            out.push('}');
        }
    }
}

/// In single quotes, unless only double ones save escaping.
fn repr_text(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(quote);
    for character in text.chars() {
        match character {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => {
                // A control character is below U+00A0, so two digits do.
                let _infallible = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push(quote);
}

#[cfg(test)]
mod tests {
    use super::python_str;
    use serde_json::json;

    #[test]
    fn json_in_pythons_words() {
        for (value, expected) in [
            (json!("as it is"), "as it is"),
            (json!(42), "42"),
            (json!(-1.5), "-1.5"),
            (json!(1.0), "1.0"),
            (json!(true), "True"),
            (json!(null), "None"),
            (json!({"a": 1}), "{'a': 1}"),
            (
                json!({"a": [true, null, "x"], "b": {}}),
                "{'a': [True, None, 'x'], 'b': {}}",
            ),
            (json!(["it's"]), "[\"it's\"]"),
            (json!(["'\""]), "['\\'\"']"),
            (json!(["a\n\u{1}\\"]), "['a\\n\\x01\\\\']"),
        ] {
            assert_eq!(python_str(&value), expected, "{value}");
        }
    }
}
