//! Points in time, in nanoseconds since 1970, as Go writes and reads them.
//!
//! Lives here: RFC 3339 in UTC. Never here: a clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970.
pub(crate) type Nanoseconds = i128;

/// One second.
pub(crate) const SECOND: Nanoseconds = 1_000_000_000;

/// Now, by the clock of this machine.
pub(crate) fn now() -> Nanoseconds {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos().cast_signed())
}

/// `time.RFC3339Nano`: without zeros at the end of the fraction, and without an empty fraction.
pub(crate) fn nano(time: Nanoseconds) -> String {
    let fraction = format!("{:09}", time.rem_euclid(SECOND));
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    format!("{}{dot}{fraction}Z", whole(time))
}

/// The part up to the seconds, without a zone.
pub(crate) fn whole(time: Nanoseconds) -> String {
    let seconds = time.div_euclid(SECOND);
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Howard Hinnant's civil_from_days.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = year_of_era + era * 400 + i128::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

/// Reads RFC 3339 with any zone.
pub(crate) fn parse(text: &str) -> Option<Nanoseconds> {
    let number = |range: std::ops::Range<usize>| -> Option<i128> {
        let digits = text.get(range)?;
        let only = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|_| only)
    };
    let marks = [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")];
    let shaped = marks
        .iter()
        .all(|(at, mark)| text.get(*at..at + 1) == Some(mark));
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if !shaped || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let rest = &text[19..];
    let digits = rest.strip_prefix('.').map_or(0, |fraction| {
        fraction.bytes().take_while(u8::is_ascii_digit).count()
    });
    let (fraction, zone) = match digits {
        0 => (0, rest),
        _ => {
            let kept = &rest[1..=digits.min(9)];
            (format!("{kept:0<9}").parse().ok()?, &rest[digits + 1..])
        }
    };
    let offset = match zone.as_bytes() {
        b"Z" => 0,
        [sign @ (b'+' | b'-'), ..] if zone.len() == 6 => {
            let hours: i128 = zone[1..3].parse().ok()?;
            let minutes: i128 = zone[4..6].parse().ok()?;
            let seconds = hours * 3600 + minutes * 60;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    // Howard Hinnant's days_from_civil.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let march = (month + 9) % 12;
    let day_of_year = (153 * march + 2) / 5 + day - 1;
    let year_of_era = year - era * 400;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset;
    Some(seconds * SECOND + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_at_the_end_of_a_fraction_are_not_written() {
        for text in [
            "2026-11-01T08:00:05Z",
            "2026-11-01T08:00:05.5Z",
            "2026-02-28T23:59:59.000000001Z",
            "2024-02-29T00:00:00.12345678Z",
            "1999-12-31T23:59:59.999999999Z",
        ] {
            assert_eq!(parse(text).map(nano).as_deref(), Some(text));
        }
    }

    #[test]
    fn zones_and_nonsense() {
        let noon = parse("2026-11-21T12:00:00Z");
        assert_eq!(noon, Some(1_795_262_400 * SECOND));
        assert_eq!(parse("2026-11-21T13:00:00.0+01:00"), noon);
        for text in [
            "",
            "x",
            "2026-11-21",
            "2026-13-21T12:00:00Z",
            "2026-11-21T12:00:00",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
