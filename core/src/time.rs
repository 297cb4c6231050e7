//! Moments as the core handles them: arithmetic and text, never "now".

/// A moment, in microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

/// How far the clocks of hosts that share a store may be apart, in microseconds, together with the time between a look at
/// the clock and a look at the store.
const SKEW: i64 = 2_000_000;

/// Whether something lasts that another host may have noted: for `span` microseconds, until `until`.
///
/// The other's clock may be ahead by a little. What begins further in the future was noted before a clock was set back,
/// and does not last: it would last until the clock is there again.
pub fn lasts(until: i64, span: i64, now: Timestamp) -> bool {
    (until - span - SKEW..until).contains(&now.micros())
}

/// A moment's parts in UTC.
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    /// 0 is Sunday.
    weekday: i64,
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

impl Timestamp {
    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// From whole seconds since the epoch.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since the epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// As an HTTP date (RFC 9110, 5.6.7), rounded down: `Sun, 06 Nov 1994 08:49:37 GMT`.
    pub fn http_date(self) -> String {
        let civil = self.civil();
        let (weekday, month) = (
            name(&WEEKDAYS, civil.weekday),
            name(&MONTHS, civil.month - 1),
        );
        format!(
            "{weekday}, {:02} {month} {:04} {:02}:{:02}:{:02} GMT",
            civil.day, civil.year, civil.hour, civil.minute, civil.second
        )
    }

    /// As ISO 8601 in UTC, rounded down to milliseconds: `1994-11-06T08:49:37.123Z`.
    pub fn iso8601(self) -> String {
        let civil = self.civil();
        let millis = self.0.rem_euclid(1_000_000) / 1_000;
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{millis:03}Z",
            civil.year, civil.month, civil.day, civil.hour, civil.minute, civil.second
        )
    }

    /// The moment that an ISO 8601 text names, in the forms Python's `isoformat()` and Django write: with or
    /// without a fraction, in UTC unless it says otherwise. Digits past microseconds are dropped.
    pub fn from_iso8601(text: &str) -> Option<Self> {
        let (date, time) = text.split_once(['T', 't', ' '])?;
        let (year, month_day) = date.split_once('-')?;
        let (month, day) = month_day.split_once('-')?;
        let at = time.find(['Z', 'z', '+', '-']).unwrap_or(time.len());
        let (time, offset) = time.split_at(at);
        let (clock, fraction) = time.split_once('.').unwrap_or((time, ""));
        let days = days_since_epoch(
            digits(year, 4, 9999)?,
            digits(month, 2, 12).filter(|month| *month > 0)?,
            digits(day, 2, 31).filter(|day| *day > 0)?,
        );
        let mut parts = clock.split(':');
        let (hour, minute) = (digits(parts.next()?, 2, 23)?, digits(parts.next()?, 2, 59)?);
        let second = parts.next().map_or(Some(0), |text| digits(text, 2, 60))?;
        let micros: String = fraction.chars().chain("000000".chars()).take(6).collect();
        let micros = digits(&micros, 6, 999_999)?;
        let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset_of(offset)?;
        parts
            .next()
            .is_none()
            .then(|| Self(seconds * 1_000_000 + micros))
    }

    fn civil(self) -> Civil {
        let days = self.secs().div_euclid(86_400);
        let second_of_day = self.secs().rem_euclid(86_400);
        let (year, month, day) = civil_of(days);
        Civil {
            year,
            month,
            day,
            hour: second_of_day / 3_600,
            minute: second_of_day / 60 % 60,
            second: second_of_day % 60,
            weekday: (days + 4).rem_euclid(7),
        }
    }
}

/// Seconds east of Greenwich: `Z`, nothing, `+01:00`, `-0330`.
fn offset_of(text: &str) -> Option<i64> {
    let (sign, rest) = match text.split_at_checked(1) {
        None | Some(("Z" | "z", "")) => return Some(0),
        Some(("+", rest)) => (1, rest),
        Some(("-", rest)) => (-1, rest),
        Some(_) => return None,
    };
    let (hours, minutes) = rest.split_at_checked(2)?;
    let minutes = match minutes.strip_prefix(':').unwrap_or(minutes) {
        "" => 0,
        minutes => digits(minutes, 2, 59)?,
    };
    Some(sign * (digits(hours, 2, 23)? * 3_600 + minutes * 60))
}

/// A number of exactly so many digits.
fn digits(text: &str, count: usize, most: i64) -> Option<i64> {
    let is_number = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|value| is_number && *value <= most)
}

fn name(names: &[&'static str], index: i64) -> &'static str {
    usize::try_from(index)
        .ok()
        .and_then(|index| names.get(index))
        .copied()
        .unwrap_or_default()
}

/// Year, month and day of a day counted from 1970-01-01. Years are counted from March, so that the
/// leap day comes last; 146,097 days make 400 years.
const fn civil_of(days: i64) -> (i64, i64, i64) {
    let from_march_0 = days + 719_468;
    let era = from_march_0.div_euclid(146_097);
    let day_of_era = from_march_0.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar: years begin in March, so that the day
/// that comes and goes is their last.
pub(crate) const fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (secs, date) in [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (-1, "Wed, 31 Dec 1969 23:59:59 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        ] {
            let moment = Timestamp::from_secs(secs);
            assert_eq!(moment.http_date(), date);
        }
        // Years at the ends of the range must not panic.
        let _ = (
            Timestamp(i64::MIN).http_date(),
            Timestamp(i64::MAX).http_date(),
        );
    }

    #[test]
    fn iso_8601_as_django_writes_it() {
        for (text, micros) in [
            ("1994-11-06T08:49:37Z", 784_111_777_000_000),
            ("1994-11-06T08:49:37.123456Z", 784_111_777_123_456),
            ("1994-11-06T08:49:37.1234567+00:00", 784_111_777_123_456),
            ("1994-11-06T08:49:37.5", 784_111_777_500_000),
            ("1994-11-06 09:49:37+01:00", 784_111_777_000_000),
            ("1994-11-06T05:19:37-0330", 784_111_777_000_000),
            ("1994-11-06T08:49", 784_111_740_000_000),
        ] {
            assert_eq!(
                Timestamp::from_iso8601(text),
                Some(Timestamp(micros)),
                "{text}"
            );
        }
        for text in [
            "",
            "1994-11-06",
            "1994-13-06T08:49:37Z",
            "1994-11-00T08:49:37Z",
            "1994-11-06T24:49:37Z",
            "1994-11-06T08:49:37.x",
            "1994-11-06T08:49:37+1",
            "1994-11-06T08:49:37 UTC",
            "1994-11-06T08:49:37:00",
            "yesterday",
        ] {
            assert_eq!(Timestamp::from_iso8601(text), None, "{text}");
        }
        assert_eq!(
            Timestamp(784_111_777_123_456).iso8601(),
            "1994-11-06T08:49:37.123Z"
        );
    }
}
