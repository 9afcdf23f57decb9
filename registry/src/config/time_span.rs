//! Spans of time as people write them: `30s`, `15m`, `24h`, `1h30m`, `0`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Units from largest to smallest, in milliseconds. A text must name them in this order.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A span of time in whole milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeSpan(u64);

/// Why a text is not a span of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTimeSpan {
    /// It is empty.
    #[error("empty; write a span of time such as 30s, 15m or 1h30m")]
    Empty,
    /// A number has no unit, which could mean seconds or milliseconds.
    #[error("`{0}` has no unit; write for example {0}s (units: d, h, m, s, ms)")]
    NoUnit(String),
    /// A unit without a number, a sign, a fraction, or a space.
    #[error("`{0}` is not a whole number followed by a unit (d, h, m, s, ms)")]
    NotANumber(String),
    /// The unit is unknown.
    #[error("unknown unit `{0}` (units: d, h, m, s, ms)")]
    UnknownUnit(String),
    /// `30m1h` or `1h1h`.
    #[error("unit `{0}` must come after larger units, and only once")]
    Order(String),
    /// More than 2^64 milliseconds.
    #[error("more than half a billion years")]
    TooLong,
}

impl TimeSpan {
    /// No time at all.
    pub const ZERO: TimeSpan = TimeSpan(0);

    /// `seconds` seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        TimeSpan(seconds * 1_000)
    }

    /// `millis` milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        TimeSpan(millis)
    }

    /// The span as a standard `Duration`.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// True for zero, which many keys read as "off".
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

/// Splits a text into its first number, that number's unit, and the rest.
fn split_part(text: &str) -> Result<(u64, &str, &str), InvalidTimeSpan> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    if number.is_empty() {
        return Err(InvalidTimeSpan::NotANumber(text.to_owned()));
    }
    let unit_length = rest.bytes().take_while(|byte| !byte.is_ascii_digit()).count();
    let (unit, rest) = rest.split_at(unit_length);
    if unit.is_empty() {
        return Err(InvalidTimeSpan::NoUnit(number.to_owned()));
    }
    let number = number.parse().map_err(|_| InvalidTimeSpan::TooLong)?;
    Ok((number, unit, rest))
}

impl FromStr for TimeSpan {
    type Err = InvalidTimeSpan;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(InvalidTimeSpan::Empty);
        }
        // Zero needs no unit.
        if text == "0" {
            return Ok(TimeSpan::ZERO);
        }
        let (mut rest, mut total, mut next_unit) = (text, 0_u64, 0);
        while !rest.is_empty() {
            let (number, unit, tail) = split_part(rest)?;
            let index = UNITS
                .iter()
                .position(|(name, _)| *name == unit)
                .ok_or_else(|| InvalidTimeSpan::UnknownUnit(unit.to_owned()))?;
            if index < next_unit {
                return Err(InvalidTimeSpan::Order(unit.to_owned()));
            }
            next_unit = index + 1;
            total = number
                .checked_mul(UNITS[index].1)
                .and_then(|part| total.checked_add(part))
                .ok_or(InvalidTimeSpan::TooLong)?;
            rest = tail;
        }
        Ok(TimeSpan(total))
    }
}

impl fmt::Display for TimeSpan {
    /// Never writes days, so `24h` is printed as written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut left = self.0;
        for (unit, millis) in &UNITS[1..] {
            if left >= *millis {
                write!(f, "{}{unit}", left / millis)?;
                left %= millis;
            }
        }
        Ok(())
    }
}

impl Serialize for TimeSpan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimeSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl de::Visitor<'_> for Visitor {
    type Value = TimeSpan;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a span of time in quotes, such as \"30s\" or \"1h30m\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<TimeSpan, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<TimeSpan, E> {
        number.to_string().parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints_the_canonical_form() {
        for (text, millis, printed) in [
            ("0s", 0, "0s"),
            ("0", 0, "0s"),
            ("30s", 30_000, "30s"),
            ("90s", 90_000, "1m30s"),
            ("15m", 900_000, "15m"),
            ("24h", 86_400_000, "24h"),
            ("1d", 86_400_000, "24h"),
            ("1h30m", 5_400_000, "1h30m"),
            ("1d2h3m4s5ms", 93_784_005, "26h3m4s5ms"),
            ("1500ms", 1_500, "1s500ms"),
        ] {
            let span: TimeSpan = text.parse().unwrap();
            assert_eq!(span.duration(), Duration::from_millis(millis), "{text}");
            assert_eq!(span.to_string(), printed);
            assert_eq!(printed.parse::<TimeSpan>().unwrap(), span);
        }
    }

    #[test]
    fn refuses_with_the_reason() {
        use InvalidTimeSpan as E;
        for (text, reason) in [
            ("", E::Empty),
            ("30", E::NoUnit("30".into())),
            ("00", E::NoUnit("00".into())),
            ("1h30", E::NoUnit("30".into())),
            ("s", E::NotANumber("s".into())),
            ("-1s", E::NotANumber("-1s".into())),
            ("1.5h", E::UnknownUnit(".".into())),
            ("1 h", E::UnknownUnit(" h".into())),
            ("1w", E::UnknownUnit("w".into())),
            ("1H", E::UnknownUnit("H".into())),
            ("30m1h", E::Order("h".into())),
            ("1s1s", E::Order("s".into())),
            ("99999999999999999999s", E::TooLong),
            ("18446744073709551615s", E::TooLong),
        ] {
            assert_eq!(text.parse::<TimeSpan>(), Err(reason), "{text}");
        }
    }
}
