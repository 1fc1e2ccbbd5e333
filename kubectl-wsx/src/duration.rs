//! Durations as Go and kubectl write them: `300ms`, `1.5h`, `2h45m`, `0`.
//!
//! Lives here: the grammar and its words for what is wrong. Never here: defaults, flags.

use std::fmt;
use std::time::Duration;

/// Why a text is no duration, in the words of Go's `time.ParseDuration`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum DurationError {
    /// The text does not follow the grammar, or is too large.
    Invalid(String),
    /// A number stands without its unit.
    MissingUnit(String),
    /// The duration is below zero.
    Negative(String),
    /// The unit is none of those known.
    UnknownUnit {
        /// The unit as it was given.
        unit: String,
        /// The whole text.
        text: String,
    },
    /// Zero, where waiting for no time makes no sense.
    Zero,
}

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(text) => write!(f, "time: invalid duration {text:?}"),
            Self::MissingUnit(text) => write!(f, "time: missing unit in duration {text:?}"),
            Self::Negative(text) => write!(f, "duration {text:?} must not be negative"),
            Self::UnknownUnit { unit, text } => {
                write!(f, "time: unknown unit {unit:?} in duration {text:?}")
            }
            Self::Zero => f.write_str("must be higher than zero"),
        }
    }
}

impl std::error::Error for DurationError {}

/// Reads a duration.
///
/// # Errors
/// When the text is not in Go's grammar, or below zero.
pub(crate) fn parse(text: &str) -> Result<Duration, DurationError> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let duration = if unsigned == "0" {
        Duration::ZERO
    } else {
        parse_unsigned(unsigned, text)?
    };
    if negative && !duration.is_zero() {
        return Err(DurationError::Negative(text.to_owned()));
    }
    Ok(duration)
}

/// Reads a duration of more than zero.
///
/// # Errors
/// Those of [`parse`], and `Zero`.
pub(crate) fn parse_positive(text: &str) -> Result<Duration, DurationError> {
    match parse(text)? {
        Duration::ZERO => Err(DurationError::Zero),
        duration => Ok(duration),
    }
}

/// Reads the value of `--request-timeout`: a duration, or a bare number of seconds.
///
/// client-go tools/clientcmd/config.go, `ParseTimeout`.
///
/// # Errors
/// Those of [`parse`].
pub(crate) fn parse_request_timeout(text: &str) -> Result<Duration, DurationError> {
    match text.parse::<u32>() {
        Ok(seconds) => Ok(Duration::from_secs(seconds.into())),
        Err(_) => parse(text),
    }
}

/// Reads one or more numbers with their units.
fn parse_unsigned(mut rest: &str, text: &str) -> Result<Duration, DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let end = after
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let part = nanoseconds(whole, fraction, scale(unit, text)?).ok_or_else(invalid)?;
        total = total
            .checked_add(part)
            .filter(|&total| total <= LONGEST)
            .ok_or_else(invalid)?;
        rest = after;
    }
    u64::try_from(total)
        .map(Duration::from_nanos)
        .map_err(|_| invalid())
}

/// Splits off the leading digits.
fn digits(text: &str) -> (&str, &str) {
    text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    )
}

/// Returns the nanoseconds of one unit.
fn scale(unit: &str, text: &str) -> Result<u128, DurationError> {
    Ok(match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "" => return Err(DurationError::MissingUnit(text.to_owned())),
        _ => {
            let (unit, text) = (unit.to_owned(), text.to_owned());
            return Err(DurationError::UnknownUnit { unit, text });
        }
    })
}

/// Returns `whole.fraction` units in nanoseconds, cut off below one, or `None` when too large.
fn nanoseconds(whole: &str, fraction: &str, scale: u128) -> Option<u128> {
    let whole: u128 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let (mut part, mut scale_of_digit) = (0, scale);
    for digit in fraction.bytes() {
        scale_of_digit /= 10;
        part += u128::from(digit - b'0') * scale_of_digit;
    }
    whole.checked_mul(scale)?.checked_add(part)
}

/// What fits into Go's `time.Duration`: about 292 years.
const LONGEST: u128 = i64::MAX as u128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("+0", 0),
            ("-0", 0),
            ("0s", 0),
            ("5s", 5_000_000_000),
            ("300ms", 300_000_000),
            ("1.5h", 5_400_000_000_000),
            ("2h45m", 9_900_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("10ns", 10),
            ("11us", 11_000),
            ("12\u{b5}s", 12_000),
            ("12\u{3bc}s10ns", 12_010),
            ("1m0s", 60_000_000_000),
            ("0.1000000001s", 100_000_000),
            ("2540400h10m10.000000000s", 9_145_440_610_000_000_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanoseconds)), "{text}");
        }
    }

    #[test]
    fn says_what_go_says() {
        for (text, words) in [
            ("5", "time: missing unit in duration \"5\""),
            ("1h5", "time: missing unit in duration \"1h5\""),
            ("", "time: invalid duration \"\""),
            (".", "time: invalid duration \".\""),
            ("s", "time: invalid duration \"s\""),
            (".s", "time: invalid duration \".s\""),
            ("1 s", "time: unknown unit \" s\" in duration \"1 s\""),
            ("3d", "time: unknown unit \"d\" in duration \"3d\""),
            (
                "9223372036854775808ns",
                "time: invalid duration \"9223372036854775808ns\"",
            ),
            ("3000000h", "time: invalid duration \"3000000h\""),
            ("-1s", "duration \"-1s\" must not be negative"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), words);
        }
    }

    #[test]
    fn zero_is_refused_where_it_makes_no_sense() {
        assert_eq!(parse_positive("0"), Err(DurationError::Zero));
        assert_eq!(parse_positive("1ms"), Ok(Duration::from_millis(1)));
    }

    #[test]
    fn a_request_timeout_may_be_bare_seconds() {
        assert_eq!(parse_request_timeout("5"), Ok(Duration::from_secs(5)));
        assert_eq!(parse_request_timeout("2m"), Ok(Duration::from_secs(120)));
    }
}
