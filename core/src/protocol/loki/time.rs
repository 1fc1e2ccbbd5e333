//! Times as logcli writes them.
//!
//! Lives here: `--since 1h30m` and `--from 2026-11-21T12:00:00Z` as numbers. Never here: clocks.

use std::time::Duration;

use bytes::Bytes;

use crate::protocol::error::ProtocolError;
use crate::protocol::logs::LineReader;

/// Nanoseconds of each unit; the longer name of two that begin alike comes first.
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads how long ago something was, as Go writes durations: `90s`, `1h30m`, `1.5h`, `0`.
///
/// # Errors
/// `UnusableRequest` for everything else: no unit, days, a sign, over 292 years.
pub fn since(text: &str) -> Result<Duration, ProtocolError> {
    let refuse = || {
        let text =
            format!("{text:?} is no length of time: write hours, minutes or seconds, as 1h30m");
        ProtocolError::UnusableRequest(text)
    };
    let mut rest = text;
    let mut sum = 0u128;
    while !rest.is_empty() && rest != "0" {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        // What is below a nanosecond is cut off; no more digits can matter.
        let fraction = fraction.get(..15).unwrap_or(fraction);
        let number: u128 = format!("{whole}{fraction}").parse().map_err(|_| refuse())?;
        let mut units = UNITS.iter();
        let unit = units.find_map(|(name, size)| Some((after.strip_prefix(name)?, size)));
        let (after, size) = unit.ok_or_else(refuse)?;
        let product = number.checked_mul(*size).ok_or_else(refuse)?;
        sum = sum.saturating_add(product / 10u128.pow(fraction.len() as u32));
        rest = after;
    }
    let nanoseconds = i64::try_from(sum)
        .ok()
        .filter(|_| !text.is_empty() && (rest != "0" || text == "0"));
    Ok(Duration::from_nanos(
        nanoseconds.ok_or_else(refuse)?.unsigned_abs(),
    ))
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(
        text.find(|letter: char| !letter.is_ascii_digit())
            .unwrap_or(text.len()),
    )
}

/// Reads a point in time (RFC 3339, up to nine digits of fraction) as nanoseconds since 1970.
///
/// # Errors
/// `UnusableRequest` for everything else, and for years before 1678 or after 2261.
pub fn from(text: &str) -> Result<i64, ProtocolError> {
    // The kubelet's timestamps have the same form, and are followed by a space.
    let mut reader = LineReader::default();
    reader.push(Bytes::from(format!("{text} \n")));
    let time = reader.next_line().and_then(|line| line.timestamp);
    time.filter(|_| !text.contains([' ', '\n'])).ok_or_else(|| {
        let text = format!("{text:?} is no point in time: write it as 2026-11-21T12:00:00Z");
        ProtocolError::UnusableRequest(text)
    })
}
