//! Floats as decimal text: the one reader and the one writer.
//!
//! JSON needs exact floats and brings a reader (`serde_json`) and a writer (`zmij`) with tables of
//! their own. Using those for Python's casts and texts too, instead of the standard library's,
//! leaves some 25 KB of code and tables out of the WebAssembly hosts.

use std::borrow::Cow;

/// What `text.parse::<f64>()` gives: decimal digits with an optional point and exponent, `inf`,
/// `infinity` or `nan`, after an optional sign; the nearest float.
pub(crate) fn read(text: &str) -> Option<f64> {
    let (is_negative, unsigned) = match text.strip_prefix('-') {
        Some(unsigned) => (true, unsigned),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let magnitude = match special(unsigned) {
        Some(special) => special,
        // The text is a JSON number: what can fail is its size.
        None => serde_json::from_str(&as_json(unsigned)?).unwrap_or(f64::INFINITY),
    };
    Some(if is_negative { -magnitude } else { magnitude })
}

fn special(text: &str) -> Option<f64> {
    let is = |word: &str| text.eq_ignore_ascii_case(word);
    if is("inf") || is("infinity") {
        Some(f64::INFINITY)
    } else {
        is("nan").then_some(f64::NAN)
    }
}

/// The same number as JSON writes it: digits before and after the point, and no zeros in front.
fn as_json(text: &str) -> Option<Cow<'_, str>> {
    let split = |text: &'_ str| text.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, rest) = text.split_at(split(text));
    let after_point = rest.strip_prefix('.').unwrap_or_default();
    let (fraction, _) = after_point.split_at(split(after_point));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let exponent = match rest.strip_prefix('.') {
        Some(_) => &after_point[fraction.len()..],
        None => rest,
    };
    if !exponent.is_empty() {
        let power = exponent.strip_prefix(['e', 'E'])?;
        let digits = power.strip_prefix(['+', '-']).unwrap_or(power);
        if digits.is_empty() || split(digits) < digits.len() {
            return None;
        }
    }
    let has_bare_point = rest.starts_with('.') && fraction.is_empty();
    let has_zeros = whole.len() > 1 && whole.starts_with('0');
    if !whole.is_empty() && !has_bare_point && !has_zeros {
        return Some(text.into());
    }
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    let point = if fraction.is_empty() { "" } else { "." };
    Some([whole, point, fraction, exponent].concat().into())
}

/// Python's `repr(float)`: the shortest digits that read back, with an exponent below 1e-4 and from
/// 1e16 on.
pub(crate) fn python_text(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value < 0.0 { "-inf" } else { "inf" }.to_owned();
    }
    let mut buffer = zmij::Buffer::new();
    let shortest = buffer.format_finite(value.abs());
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((shortest, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    let significant = digits.trim_start_matches('0');
    // Where the point stands, counted from the first digit that is not 0.
    let point = exponent.parse::<i32>().unwrap_or_default() + length(whole)
        - (length(&digits) - length(significant));
    let significant = significant.trim_end_matches('0');
    let mut text = String::with_capacity(24);
    if value.is_sign_negative() {
        text.push('-');
    }
    let zeros = |text: &mut String, count: i32| (0..count).for_each(|_| text.push('0'));
    if significant.is_empty() {
        text.push_str("0.0");
    } else if !(-3..=16).contains(&point) {
        let (first, rest) = significant.split_at(1);
        text.push_str(first);
        if !rest.is_empty() {
            text.push('.');
            text.push_str(rest);
        }
        text.push_str(if point < 1 { "e-" } else { "e+" });
        let power = (point - 1).unsigned_abs();
        if power < 10 {
            text.push('0');
        }
        text.push_str(&power.to_string());
    } else if point <= 0 {
        text.push_str("0.");
        zeros(&mut text, -point);
        text.push_str(significant);
    } else if point < length(significant) {
        let (whole, fraction) = significant.split_at(usize::try_from(point).unwrap_or_default());
        text.push_str(whole);
        text.push('.');
        text.push_str(fraction);
    } else {
        text.push_str(significant);
        zeros(&mut text, point - length(significant));
        text.push_str(".0");
    }
    text
}

/// Of a float's digits, which are few.
fn length(digits: &str) -> i32 {
    i32::try_from(digits.len()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn same(ours: Option<f64>, std: Option<f64>) -> bool {
        match (ours, std) {
            (Some(ours), Some(std)) => {
                ours.to_bits() == std.to_bits() || ours.is_nan() && std.is_nan()
            }
            (ours, std) => ours.is_none() && std.is_none(),
        }
    }

    #[test]
    fn odd_texts_read_as_the_standard_library_reads_them() {
        for text in [
            "",
            ".",
            "-",
            "+",
            "e1",
            ".e1",
            "1e",
            "1e+",
            "1e-",
            "1.",
            ".5",
            "-.5",
            "+5.",
            "1.e3",
            ".5e-2",
            "00",
            "007.50",
            "-0",
            "-0.0",
            "+0",
            "1__0",
            "1 ",
            " 1",
            "0x10",
            "1e5",
            "1E+05",
            "1e-005",
            "inf",
            "-inf",
            "+Infinity",
            "iNfInItY",
            "infin",
            "nan",
            "-NaN",
            "nan1",
            "--1",
            "+-1",
            "1e400",
            "-1e400",
            "1e-400",
            "0e999999999999",
            "1e99999999999999999999",
            "1e-99999999999999999999",
            "0.00000000000000000000000000000000000001e38",
            "4.9e-324",
            "2.4703282292062327e-324",
            "2.4703282292062328e-324",
            "1.7976931348623158e308",
            "1.7976931348623159e308",
            "9007199254740993",
            "9007199254740993.0000000000000000000000001",
            "18446744073709551616",
            "179769313486231580793728971405301",
            "123456789012345678901234567890.123456789",
            "١",
        ] {
            assert!(
                same(read(text), text.parse().ok()),
                "{text:?}: {:?}",
                read(text)
            );
        }
        let long = format!("0.{}1", "0".repeat(5_000));
        assert!(same(read(&long), long.parse().ok()));
        let long = format!("{}.{}e-900", "7".repeat(1_000), "3".repeat(1_000));
        assert!(same(read(&long), long.parse().ok()));
    }

    #[test]
    fn floats_print_as_python_prints_them() {
        for (value, text) in [
            (1.0, "1.0"),
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (2.0, "2.0"),
            (1.5, "1.5"),
            (0.1, "0.1"),
            (100.0, "100.0"),
            (0.001_5, "0.0015"),
            (0.0001, "0.0001"),
            (0.000_01, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (9_999_999_999_999_998.0, "9999999999999998.0"),
            (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
            (1.25e200, "1.25e+200"),
            (1e300, "1e+300"),
            (5e-324, "5e-324"),
            (1_689_172_003.899_101, "1689172003.899101"),
            // 915206136939710.25, as near to …710.3.
            (f64::from_bits(0x430a_0300_4582_25f2), "915206136939710.2"),
            (f64::NAN, "nan"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(python_text(value), text);
        }
    }

    proptest! {
        #[test]
        fn texts_read_as_the_standard_library_reads_them(
            text in "[+-]?[0-9]{0,20}(\\.[0-9]{0,20})?([eE][+-]?[0-9]{1,3})?",
        ) {
            prop_assert!(same(read(&text), text.parse().ok()), "{:?}", read(&text));
        }

        #[test]
        fn what_is_printed_is_shortest_and_reads_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let text = python_text(value);
            prop_assert!(same(read(&text), Some(value)), "{text}");
            prop_assert!(same(text.parse().ok(), Some(value)), "{text}");
            let digits = |text: &str| text.split('e').next().unwrap_or_default().replace(['.', '-'], "");
            let significant = |text: &str| digits(text).trim_matches('0').to_owned();
            // Where two shortest texts are as near, Python takes the even one and the standard library may not.
            prop_assert_eq!(significant(&text).len(), significant(&format!("{value:e}")).len());
        }
    }
}
