//! The timestamp that the kubelet puts before each line.
//!
//! Lives here: reading RFC 3339 with a fraction into nanoseconds. Never here: clocks, time zones by name.

/// The longest text that [`parse`] reads: `2006-01-02T15:04:05.000000000+07:00`.
pub(super) const LONGEST: usize = 35;

/// Reads the timestamp at the start of a line: nanoseconds since 1970 (UTC) and its length in bytes.
///
/// One space must follow it; the length does not count that space. The kubelet writes nine digits of
/// fraction since 1.27, and before that as many as are needed (`RFC3339NanoFixed` and
/// `time.RFC3339Nano`, kubernetes staging cri-client pkg/logs/logs.go). Years before 1678 and after
/// 2261 do not fit 64 bits and are no timestamp here.
#[must_use]
pub(super) fn parse(line: &[u8]) -> Option<(i64, usize)> {
    let head = line.first_chunk::<19>()?;
    let [
        _,
        _,
        _,
        _,
        b'-',
        _,
        _,
        b'-',
        _,
        _,
        b'T',
        _,
        _,
        b':',
        _,
        _,
        b':',
        _,
        _,
    ] = head
    else {
        return None;
    };
    let year = number(&head[..4])?;
    let (month, day) = (number(&head[5..7])?, number(&head[8..10])?);
    let (hour, minute, second) = (
        number(&head[11..13])?,
        number(&head[14..16])?,
        number(&head[17..19])?,
    );
    let in_range = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !in_range {
        return None;
    }
    let mut rest = &line[19..];
    let mut fraction = 0;
    if let Some(digits) = rest.strip_prefix(b".") {
        let count = digits
            .iter()
            .take(10)
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if !(1..=9).contains(&count) {
            return None;
        }
        fraction = number(&digits[..count])? * POWERS[9 - count];
        rest = &digits[count..];
    }
    let (offset, rest) = zone(rest)?;
    rest.strip_prefix(b" ")?;
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    let nanoseconds = seconds.checked_mul(1_000_000_000)?.checked_add(fraction)?;
    Some((nanoseconds, line.len() - rest.len()))
}

/// Reads `Z` or `+07:00`: seconds east of UTC, and what follows.
fn zone(text: &[u8]) -> Option<(i64, &[u8])> {
    if let Some(rest) = text.strip_prefix(b"Z") {
        return Some((0, rest));
    }
    let (&[sign, h, i, b':', m, n], rest) = text.split_first_chunk::<6>()? else {
        return None;
    };
    let seconds = number(&[h, i])? * 3600 + number(&[m, n])? * 60;
    match sign {
        b'+' => Some((seconds, rest)),
        b'-' => Some((-seconds, rest)),
        _ => None,
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| value * 10 + i64::from(digit))
    })
}

/// Days from 1970-01-01 to a date of the Gregorian calendar (Hinnant, `days_from_civil`).
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

const POWERS: [i64; 9] = [
    1,
    10,
    100,
    1000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_of_the_kubelet_are_read() {
        for (text, nanoseconds) in [
            ("1970-01-01T00:00:00Z ", 0),
            ("1970-01-01T00:00:00.000000001Z x", 1),
            ("1969-12-31T23:59:59.5Z x", -500_000_000),
            (
                "2026-11-21T12:38:38.123456789Z x",
                1_795_264_718_123_456_789,
            ),
            (
                "2026-11-21T14:38:38.123456789+02:00 x",
                1_795_264_718_123_456_789,
            ),
            ("2026-11-21T07:08:38.12-05:30 x", 1_795_264_718_120_000_000),
            ("2024-02-29T00:00:00Z x", 1_709_164_800_000_000_000),
        ] {
            let length = text.find(' ').unwrap();
            assert_eq!(
                parse(text.as_bytes()),
                Some((nanoseconds, length)),
                "{text}"
            );
            assert!(length <= LONGEST);
        }
    }

    #[test]
    fn what_is_no_timestamp_is_content() {
        for text in [
            "",
            "2026-11-21T12:38:38Z",
            "2026-11-21T12:38:38Zx",
            "2026-11-21 12:38:38Z x",
            "2026-13-21T12:38:38Z x",
            "2026-11-21T24:38:38Z x",
            "2026-11-21T12:38:38.Z x",
            "2026-11-21T12:38:38.1234567890Z x",
            "2026-11-21T12:38:38+0200 x",
            "0001-01-01T00:00:00Z x",
            "2026-11-2\u{661}T12:38:38Z x",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
