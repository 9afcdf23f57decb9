//! The `Range` of a download (RFC 9110 section 14).

/// More ranges than this in one request are not worth their overhead: the whole blob is sent instead.
const MAX_RANGES: usize = 16;

/// Bytes `first..=last` of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// Offset of the first byte.
    pub first: u64,
    /// Offset of the last byte, not before the first.
    pub last: u64,
}

impl ByteRange {
    /// How many bytes; at least 1.
    pub fn length(self) -> u64 {
        self.last - self.first + 1
    }
}

/// What a `Range` header asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// Nothing that counts: send the whole.
    Whole,
    /// These, in the order asked for, neither overlapping nor adjacent.
    Parts(Vec<ByteRange>),
    /// Nothing of it lies in the blob: 416.
    Unsatisfiable,
}

/// Reads a `Range` header for content of the given size. What does not follow the grammar is ignored, except that a range
/// that ends before it begins is answered 416, as the official suite demands.
pub fn parse_range(header: &str, size: u64) -> Ranges {
    let Some(set) = header.trim().strip_prefix("bytes=") else {
        return Ranges::Whole;
    };
    let mut parts = Vec::new();
    let mut asked = 0;
    for spec in set.split(',').map(str::trim).filter(|spec| !spec.is_empty()) {
        asked += 1;
        match parse_spec(spec, size) {
            Spec::Within(range) => parts.push(range),
            Spec::Outside => {}
            Spec::Malformed => return Ranges::Whole,
        }
    }
    if asked == 0 || asked > MAX_RANGES {
        return Ranges::Whole;
    }
    if parts.is_empty() {
        return Ranges::Unsatisfiable;
    }
    let total: u64 = parts.iter().map(|range| range.length()).sum();
    let parts = coalesce(parts);
    // Ranges that overlap so much that the answer would be no shorter than the blob are a flood, not a download.
    if asked > 1 && total > size { Ranges::Whole } else { Ranges::Parts(parts) }
}

/// One member of a range set, held against the content's size.
enum Spec {
    /// These bytes of it.
    Within(ByteRange),
    /// Nothing of it lies in the content.
    Outside,
    /// It does not follow the grammar.
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

/// Decimal digits only; more than a `u64` holds is as good as its largest.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

/// Joins what overlaps or touches; a lone range keeps its place.
fn coalesce(mut parts: Vec<ByteRange>) -> Vec<ByteRange> {
    let overlapping = parts.iter().enumerate().any(|(i, a)| {
        parts[i + 1..].iter().any(|b| a.first <= b.last.saturating_add(1) && b.first <= a.last.saturating_add(1))
    });
    if !overlapping {
        return parts;
    }
    parts.sort_by_key(|range| range.first);
    let mut joined: Vec<ByteRange> = Vec::with_capacity(parts.len());
    for range in parts {
        match joined.last_mut() {
            Some(last) if range.first <= last.last.saturating_add(1) => last.last = last.last.max(range.last),
            _ => joined.push(range),
        }
    }
    joined
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
    fn several_ranges_are_joined_where_they_meet() {
        assert_eq!(parts("bytes=0-1,5-6", 10), [(0, 1), (5, 6)]);
        assert_eq!(parts("bytes=5-6,0-1", 10), [(5, 6), (0, 1)]);
        assert_eq!(parts("bytes=0-3,2-5,6-7", 10), [(0, 7)]);
        assert_eq!(parse_range("bytes=0-9,0-9", 10), Ranges::Whole);
        let many = format!("bytes={}", (0..17).map(|n| format!("{}-{}", n * 3, n * 3)).collect::<Vec<_>>().join(","));
        assert_eq!(parse_range(&many, 1000), Ranges::Whole);
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
        fn parts_cover_what_was_asked_and_nothing_else(asked in prop::collection::vec((0_u64..40, 0_u64..40), 1..8), size in 1_u64..50) {
            let header = asked.iter().map(|(a, b)| format!("{a}-{b}")).collect::<Vec<_>>().join(",");
            if let Ranges::Parts(parts) = parse_range(&format!("bytes={header}"), size) {
                let wanted = |at: &u64| asked.iter().any(|(first, last)| (first..=last).contains(&at));
                let given = |at: &u64| parts.iter().filter(|part| (part.first..=part.last).contains(at)).count();
                for at in 0..size {
                    prop_assert_eq!(given(&at), usize::from(wanted(&at)), "byte {}", at);
                }
            }
        }
    }
}
