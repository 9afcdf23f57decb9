//! The `Range` of a download (RFC 9110 section 14).

use std::ops::Range;

/// Most ranges in one request; podman asks for up to 1,024 chunks of a `zstd:chunked` layer at once. A request for more
/// gets the whole content.
const MAX_RANGES: usize = 1024;

/// Bytes `first..=last` of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// Offset of the first byte.
    pub first: u64,
    /// Offset of the last byte, not before the first.
    pub last: u64,
}

impl ByteRange {
    /// The number of bytes; at least 1.
    pub fn length(self) -> u64 {
        self.last - self.first + 1
    }

    /// The offsets from the first byte to the one after the last.
    pub fn offsets(self) -> Range<u64> {
        self.first..self.last + 1
    }

    /// `Content-Range` within content of the given size.
    pub fn of(self, size: u64) -> String {
        format!("bytes {}-{}/{size}", self.first, self.last)
    }
}

/// The meaning of a `Range` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// No range counts: send the whole content.
    Whole,
    /// One range for each satisfiable one, in the order asked; together at most as long as the content. Clients count
    /// the parts and expect each range at its position, so none are merged, even if they touch.
    Parts(Vec<ByteRange>),
    /// No range lies in the content: 416.
    Unsatisfiable,
}

/// Parses a `Range` header for content of the given size. An ungrammatical header is ignored. A range that ends before
/// it begins is answered 416, as the official suite demands.
pub fn parse_range(header: &str, size: u64) -> Ranges {
    let Some((unit, set)) = header.trim().split_once('=') else {
        return Ranges::Whole;
    };
    if !unit.eq_ignore_ascii_case("bytes") {
        return Ranges::Whole;
    }
    let mut parts = Vec::new();
    let mut asked = 0;
    for spec in set.split(',').map(str::trim).filter(|spec| !spec.is_empty()) {
        asked += 1;
        if asked > MAX_RANGES {
            return Ranges::Whole;
        }
        match parse_spec(spec, size) {
            Spec::Within(range) => parts.push(range),
            Spec::Outside => {}
            Spec::Malformed => return Ranges::Whole,
        }
    }
    if asked == 0 {
        return Ranges::Whole;
    }
    if parts.is_empty() {
        return Ranges::Unsatisfiable;
    }
    // Overlapping ranges that add up to more than the content are a flood, not a download.
    let total: u128 = parts.iter().map(|range| u128::from(range.length())).sum();
    if total > u128::from(size) { Ranges::Whole } else { Ranges::Parts(parts) }
}

/// One member of a range set, compared with the content's size.
enum Spec {
    /// These bytes lie in the content.
    Within(ByteRange),
    /// No byte lies in the content.
    Outside,
    /// The member does not follow the grammar.
    Malformed,
}

fn parse_spec(spec: &str, size: u64) -> Spec {
    let Some((first, last)) = spec.split_once('-') else {
        return Spec::Malformed;
    };
    let range = match (number(first), number(last)) {
        (None, Some(suffix)) if first.is_empty() => (suffix > 0).then(|| (size.saturating_sub(suffix), u64::MAX)),
        (Some(first), None) if last.is_empty() => Some((first, u64::MAX)),
        (Some(first), Some(last)) => (first <= last).then_some((first, last)),
        _ => return Spec::Malformed,
    };
    match range {
        Some((first, last)) if first < size => Spec::Within(ByteRange { first, last: last.min(size - 1) }),
        _ => Spec::Outside,
    }
}

/// Parses decimal digits only. A number above the range of `u64` becomes its maximum.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(header: &str, size: u64) -> Vec<(u64, u64)> {
        match parse_range(header, size) {
            Ranges::Parts(parts) => parts.iter().map(|range| (range.first, range.last)).collect(),
            other => panic!("{header}: {other:?}"),
        }
    }

    #[test]
    fn single_ranges() {
        assert_eq!(parts("bytes=0-0", 10), [(0, 0)]);
        assert_eq!(parts("bytes=5-", 10), [(5, 9)]);
        assert_eq!(parts("bytes=-3", 10), [(7, 9)]);
        assert_eq!(parts("bytes=-30", 10), [(0, 9)]);
        assert_eq!(parts("Bytes=1-2", 10), [(1, 2)], "the unit's case does not count");
        assert_eq!(parts("bytes=2-5000", 10), [(2, 9)]);
        assert_eq!(parts("bytes=2-99999999999999999999999", 10), [(2, 9)]);
    }

    #[test]
    fn unsatisfiable_ranges() {
        for header in ["bytes=5-0", "bytes=10-", "bytes=10-20", "bytes=-0", "bytes=20-,30-"] {
            assert_eq!(parse_range(header, 10), Ranges::Unsatisfiable, "{header}");
        }
        for header in ["bytes=0-0", "bytes=-1", "bytes=0-"] {
            assert_eq!(parse_range(header, 0), Ranges::Unsatisfiable, "{header} of nothing");
        }
    }

    #[test]
    fn what_is_no_range_is_ignored() {
        for header in
            ["", "bytes", "bytes=", "items=0-1", "bytes=a-b", "bytes=1", "bytes=0-1,x", "bytes=--1", "bytes=+1-2"]
        {
            assert_eq!(parse_range(header, 10), Ranges::Whole, "{header}");
        }
    }

    #[test]
    fn ranges_keep_their_order_and_are_never_merged() {
        assert_eq!(parts("bytes=0-9,10-19", 30), [(0, 9), (10, 19)], "touching");
        assert_eq!(parts("bytes=10-19,0-9", 30), [(10, 19), (0, 9)], "touching, reordered");
        assert_eq!(parts("bytes=0-1,5-6", 10), [(0, 1), (5, 6)]);
        assert_eq!(parts("bytes=0-3,2-5,6-7", 10), [(0, 3), (2, 5), (6, 7)], "overlapping");
        assert_eq!(parts("bytes=0-4,0-4", 10), [(0, 4), (0, 4)], "the same twice");
        assert_eq!(parts("bytes=20-29,3-4,-0,9-1,-2", 10), [(3, 4), (8, 9)], "without those beyond the end");
    }

    #[test]
    fn ranges_longer_than_the_content_together_are_a_flood() {
        assert_eq!(parts("bytes=0-4,5-9", 10), [(0, 4), (5, 9)]);
        assert_eq!(parse_range("bytes=0-9,0-0", 10), Ranges::Whole);
        assert_eq!(parse_range("bytes=0-,0-,0-", u64::MAX), Ranges::Whole, "longer than a number holds");
    }

    #[test]
    fn a_request_may_ask_for_1024_ranges() {
        let header = |count: u64| {
            let ranges: Vec<String> = (0..count).map(|n| format!("{}-{}", n * 3, n * 3 + 1)).collect();
            format!("bytes={}", ranges.join(","))
        };
        assert_eq!(parts(&header(1024), 9999).len(), 1024);
        assert_eq!(parse_range(&header(1025), 9999), Ranges::Whole);
        assert_eq!(parse_range(&header(1025), 5), Ranges::Whole, "those beyond the end count, too");
    }

    proptest! {
        #[test]
        fn parts_lie_in_the_content(header in "bytes=[0-9, -]{0,40}", size in 0u64..50) {
            if let Ranges::Parts(parts) = parse_range(&header, size) {
                prop_assert!(!parts.is_empty());
                prop_assert!(parts.iter().all(|range| range.first <= range.last && range.last < size));
                prop_assert!(parts.iter().map(|range| range.length()).sum::<u64>() <= size);
            }
        }

        #[test]
        fn no_header_panics(header in ".{0,60}", size: u64) {
            let _ = parse_range(&header, size);
        }
    }

    proptest! {
        #[test]
        fn a_single_range_is_as_the_standard_says(first in 0_u64..60, last in 0_u64..60, size in 0_u64..50) {
            let want = |first: u64, last: u64| match first <= last && first < size {
                true => Ranges::Parts(vec![ByteRange { first, last: last.min(size - 1) }]),
                false => Ranges::Unsatisfiable,
            };
            prop_assert_eq!(parse_range(&format!("bytes={first}-{last}"), size), want(first, last));
            prop_assert_eq!(parse_range(&format!("bytes={first}-"), size), want(first, u64::MAX));
            let suffix = if last == 0 { Ranges::Unsatisfiable } else { want(size.saturating_sub(last), u64::MAX) };
            prop_assert_eq!(parse_range(&format!("bytes=-{last}"), size), suffix);
        }

        #[test]
        fn several_ranges_are_each_one_asked_alone(
            asked in prop::collection::vec((0_u64..40, 0_u64..40, 0..3), 1..8), size in 1_u64..50,
        ) {
            let text = |(first, last, form): &(u64, u64, i32)| match form {
                0 => format!("{first}-{last}"),
                1 => format!("{first}-"),
                _ => format!("-{last}"),
            };
            let texts: Vec<String> = asked.iter().map(text).collect();
            let alone = texts.iter().filter_map(|text| match parse_range(&format!("bytes={text}"), size) {
                Ranges::Parts(parts) => Some(parts[0]),
                _ => None,
            });
            let alone: Vec<ByteRange> = alone.collect();
            let want = match alone.iter().map(|range| range.length()).sum::<u64>() {
                0 => Ranges::Unsatisfiable,
                total if total > size => Ranges::Whole,
                _ => Ranges::Parts(alone),
            };
            prop_assert_eq!(parse_range(&format!("bytes={}", texts.join(" , ")), size), want);
        }
    }
}
