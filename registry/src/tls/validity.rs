//! The time in which a certificate is valid (RFC 5280 4.1.2.5), read from its DER.

/// Seconds since the Unix epoch, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: i64,
    pub(super) not_after: i64,
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
/// `[0]`: the version, which old certificates lack.
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The validity of a certificate in DER; `None` if it is malformed.
pub(super) fn of(certificate: &[u8]) -> Option<Validity> {
    let mut fields = Elements(Elements(Elements(certificate).expect(SEQUENCE)?).expect(SEQUENCE)?);
    if fields.0.first() == Some(&VERSION) {
        fields.expect(VERSION)?;
    }
    // Serial number, signature algorithm, issuer.
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        fields.expect(tag)?;
    }
    let mut times = Elements(fields.expect(SEQUENCE)?);
    let mut time = || times.next().and_then(|(tag, text)| seconds(tag, text));
    Some(Validity { not_before: time()?, not_after: time()? })
}

/// Reads DER elements one after the other.
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    /// The tag and content of the next element.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk::<2>()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // No certificate is longer than four bytes can say.
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The content of the next element, which must have this tag.
    fn expect(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, _)| *tag == wanted).map(|(_, content)| content)
    }
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` as seconds since the epoch.
fn seconds(tag: u8, text: &[u8]) -> Option<i64> {
    let digits = text.strip_suffix(b"Z").filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let number = |digits: &[u8]| digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
    let (year, rest) = digits.split_at_checked(digits.len().checked_sub(10)?)?;
    let year = match (tag, year.len()) {
        (UTC_TIME, 2) if number(year) >= 50 => 1900 + number(year),
        (UTC_TIME, 2) => 2000 + number(year),
        (GENERALIZED_TIME, 4) => number(year),
        _ => return None,
    };
    let mut parts = rest.chunks(2).map(number);
    let mut part = |least: i64, most: i64| parts.next().filter(|part| (least..=most).contains(part));
    let (month, day) = (part(1, 12)?, part(1, 31)?);
    Some(days(year, month, day) * 86_400 + part(0, 23)? * 3600 + part(0, 59)? * 60 + part(0, 60)?)
}

/// Days from 1970-01-01 to a date.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // In years that begin in March the leap day is the last day.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::units;

    #[test]
    fn times_are_read_in_both_forms() {
        for (tag, text, expected) in [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (UTC_TIME, "500101000000Z", Some(-631_152_000)),
            (GENERALIZED_TIME, "20500101000000Z", Some(2_524_608_000)),
            (GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799)),
            (UTC_TIME, "20500101000000Z", None),
            (GENERALIZED_TIME, "700101000000Z", None),
            (UTC_TIME, "700101000000+", None),
            (UTC_TIME, "701301000000Z", None),
            (UTC_TIME, "7001010000Z", None),
            (UTC_TIME, "Z", None),
            (SEQUENCE, "700101000000Z", None),
        ] {
            assert_eq!(seconds(tag, text.as_bytes()), expected, "{tag:x} {text}");
        }
    }

    #[test]
    fn a_certificate_says_when_it_is_valid() {
        let mut params = rcgen::CertificateParams::new(vec!["registry.example".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 11, 30);
        params.not_after = rcgen::date_time_ymd(2051, 2, 28);
        let made = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let read = of(made.der()).unwrap();
        let date = |seconds: i64| units::date(seconds as u64 * 1000);
        assert_eq!((date(read.not_before).as_str(), date(read.not_after).as_str()), ("2026-11-30", "2051-02-28"));
        for length in 0..150 {
            assert_eq!(of(&made.der()[..length]), None, "cut after {length}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), tag: u8) {
            let _ = (of(&bytes), seconds(tag, &bytes));
        }

        #[test]
        fn days_are_those_of_the_calendar(day in 0_i64..100_000) {
            let text = units::date(day as u64 * 86_400_000);
            let parts: Vec<i64> = text.split('-').map(|part| part.parse().unwrap()).collect();
            prop_assert_eq!(days(parts[0], parts[1], parts[2]), day);
        }
    }
}
