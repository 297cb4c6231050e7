//! HTTP dates (RFC 9110, 5.6.7), read in all three of their forms.

use crate::time::{Timestamp, days_since_epoch};

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// The moment a date names; nothing for any other text. `now` decides the century of the oldest form.
pub(super) fn parse(text: &str, now: Timestamp) -> Option<Timestamp> {
    let parts: Vec<&str> = text
        .split([' ', '-'])
        .filter(|part| !part.is_empty())
        .collect();
    let (day, month, year, time) = match *parts.as_slice() {
        // Sun, 06 Nov 1994 08:49:37 GMT and Sunday, 06-Nov-94 08:49:37 GMT
        [weekday, day, month, year, time, "GMT"] if weekday.ends_with(',') => {
            (day, month, year, time)
        }
        // Sun Nov  6 08:49:37 1994
        [weekday, month, day, time, year] if weekday.len() == 3 && !text.contains('-') => {
            (day, month, year, time)
        }
        _ => return None,
    };
    let month = MONTHS.iter().position(|name| *name == month)?;
    let month = i64::try_from(month).ok()? + 1;
    let day = number(day, 1, 31)?;
    let year = match year.len() {
        4 => number(year, 0, 9999)?,
        2 => century(number(year, 0, 99)?, now),
        _ => return None,
    };
    let mut clock = time.split(':');
    let hour = number(clock.next()?, 0, 23)?;
    let minute = number(clock.next()?, 0, 59)?;
    let second = number(clock.next()?, 0, 60)?;
    if clock.next().is_some() {
        return None;
    }
    let days = days_since_epoch(year, month, day);
    Some(Timestamp::from_secs(
        days * 86_400 + hour * 3_600 + minute * 60 + second,
    ))
}

fn number(text: &str, least: i64, most: i64) -> Option<i64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let value = text.parse().ok().filter(|_| digits)?;
    (least..=most).contains(&value).then_some(value)
}

/// Two digits of a year are not more than 50 years ahead.
const fn century(short: i64, now: Timestamp) -> i64 {
    let this_year = 1970 + now.secs() / 31_556_952;
    let year = this_year - this_year % 100 + short;
    if year > this_year + 50 {
        year - 100
    } else {
        year
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_795_357_662);

    fn secs(text: &str) -> Option<i64> {
        parse(text, NOW).map(Timestamp::secs)
    }

    #[test]
    fn all_three_forms() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(secs(text), Some(784_111_777), "{text}");
        }
        assert_eq!(secs("Sun, 22 Nov 2026 14:43:26 GMT"), Some(1_795_358_606));
        assert_eq!(secs("Fri, 01 Jan 2100 00:00:00 GMT"), Some(4_102_444_800));
        assert_eq!(secs("Thu, 29 Feb 2024 00:00:00 GMT"), Some(1_709_164_800));
        assert_eq!(secs("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(secs("Sunday, 06-Nov-26 08:49:37 GMT"), Some(1_793_954_977));
    }

    #[test]
    fn anything_else_is_none() {
        for text in [
            "yesterday",
            "2100-01-01T00:00:00Z",
            "",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 25:49:37 GMT",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
        ] {
            assert_eq!(secs(text), None, "{text}");
        }
    }
}
