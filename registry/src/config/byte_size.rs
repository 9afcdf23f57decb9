//! Amounts of bytes as people write them: `4MiB`, `100MB`, `65536`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Accepted units: powers of 1024 with an `i`, powers of 1000 without. A bare `M` is refused, since it may mean either.
const UNITS: [(&str, u64); 10] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

/// Why a text is not a number of bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidByteSize {
    /// It does not start with a digit: it is empty, or starts with a sign or a word.
    #[error("`{0}` is not a whole number of bytes; write for example 4MiB, 100MB or 65536")]
    NotANumber(String),
    /// The unit is unknown, or has two meanings.
    #[error("unknown unit `{0}` (units: B, kB, MB, GB, TB, KiB, MiB, GiB, TiB)")]
    UnknownUnit(String),
    /// More than TOML's integers or a file offset can hold.
    #[error("more than 8 EiB")]
    TooLarge,
}

impl ByteSize {
    /// `bytes` bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        ByteSize(bytes)
    }

    /// `count` times 1024 bytes.
    pub const fn from_kib(count: u64) -> Self {
        ByteSize(count << 10)
    }

    /// `count` times 1024 KiB.
    pub const fn from_mib(count: u64) -> Self {
        ByteSize(count << 20)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// True for zero, which many keys read as "no limit" or "off".
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The number of bytes for a buffer in memory; saturates on 32-bit machines.
    pub fn in_memory(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for ByteSize {
    type Err = InvalidByteSize;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        if number.is_empty() {
            return Err(InvalidByteSize::NotANumber(text.to_owned()));
        }
        let factor = match unit {
            "" => 1,
            unit => UNITS
                .iter()
                .find(|(name, _)| *name == unit)
                .map(|(_, factor)| *factor)
                .ok_or_else(|| InvalidByteSize::UnknownUnit(unit.to_owned()))?,
        };
        let number: u64 = number.parse().map_err(|_| InvalidByteSize::TooLarge)?;
        number
            .checked_mul(factor)
            .filter(|bytes| i64::try_from(*bytes).is_ok())
            .map(ByteSize)
            .ok_or(InvalidByteSize::TooLarge)
    }
}

impl fmt::Display for ByteSize {
    /// Writes the largest unit that divides the number exactly, so nothing is rounded.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, factor)| *factor > 1 && self.0 > 0 && self.0.is_multiple_of(*factor)) {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl de::Visitor<'_> for Visitor {
    type Value = ByteSize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of bytes, such as 65536, \"4MiB\" or \"100MB\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<ByteSize, E> {
        u64::try_from(number).map(ByteSize).map_err(|_| E::custom(InvalidByteSize::NotANumber(number.to_string())))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<ByteSize, E> {
        i64::try_from(number).map(|_| ByteSize(number)).map_err(|_| E::custom(InvalidByteSize::TooLarge))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints_without_rounding() {
        for (text, bytes, printed) in [
            ("0", 0, "0"),
            ("1", 1, "1"),
            ("1023", 1_023, "1023"),
            ("4MiB", 4 << 20, "4MiB"),
            ("100MB", 100_000_000, "100MB"),
            ("65536", 65_536, "64KiB"),
            ("12B", 12, "12"),
            ("5KB", 5_000, "5kB"),
            ("5kB", 5_000, "5kB"),
            ("2TiB", 2 << 40, "2TiB"),
            ("9223372036854775807", i64::MAX as u64, "9223372036854775807"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!(size.bytes(), bytes, "{text}");
            assert_eq!(size.to_string(), printed);
            assert_eq!(printed.parse::<ByteSize>().unwrap(), size);
        }
    }

    #[test]
    fn refuses_with_the_reason() {
        use InvalidByteSize as E;
        for (text, reason) in [
            ("", E::NotANumber(String::new())),
            ("-1", E::NotANumber("-1".into())),
            ("MiB", E::NotANumber("MiB".into())),
            ("4M", E::UnknownUnit("M".into())),
            ("4 MiB", E::UnknownUnit(" MiB".into())),
            ("1.5GiB", E::UnknownUnit(".5GiB".into())),
            ("9223372036854775808", E::TooLarge),
            ("99999999999999999999", E::TooLarge),
            ("8388608TiB", E::TooLarge),
        ] {
            assert_eq!(text.parse::<ByteSize>(), Err(reason), "{text}");
        }
    }
}
