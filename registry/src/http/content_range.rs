//! The `Content-Range` of a chunk (distribution spec, end-5).

use serving::ByteRange;

/// Reads the `Content-Range` of a chunk: `0-99`; `bytes 0-99/200` and `bytes=0-99` are tolerated.
pub(crate) fn parse_content_range(header: &str) -> Option<ByteRange> {
    let text = header.trim();
    let text = text.strip_prefix("bytes").map_or(text, |rest| rest.trim_start_matches(['=', ' ']));
    let text = text.split('/').next().unwrap_or_default().trim();
    let (first, last) = text.split_once('-')?;
    let (first, last) = (exact(first)?, exact(last)?);
    // The last offset of all would make the length overflow.
    (first <= last && last < u64::MAX).then_some(ByteRange { first, last })
}

fn exact(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn content_ranges() {
        for header in ["0-99", "bytes 0-99/200", "bytes=0-99", "bytes 0-99/*"] {
            assert_eq!(parse_content_range(header), Some(ByteRange { first: 0, last: 99 }), "{header}");
        }
        for header in ["", "a-b", "5-1", "-5", "5-", "0--1", "+0-9", "0-18446744073709551615"] {
            assert_eq!(parse_content_range(header), None, "{header}");
        }
    }

    proptest! {
        #[test]
        fn no_header_panics(header in ".{0,60}") {
            let _ = parse_content_range(&header);
        }

        #[test]
        fn chunks_print_as_they_were_written(first: u64, length in 0_u64..u64::MAX / 2) {
            let Some(last) = first.checked_add(length).filter(|last| *last < u64::MAX) else { return Ok(()) };
            let range = ByteRange { first, last };
            for header in [format!("{first}-{last}"), format!("bytes {first}-{last}/*"), format!(" bytes={first}-{last} ")] {
                prop_assert_eq!(parse_content_range(&header), Some(range));
            }
            prop_assert_eq!(range.length(), length + 1);
        }

        #[test]
        fn a_chunk_that_is_taken_has_an_order(header in "(bytes)?[ =]?[0-9]{0,21}-[0-9]{0,21}(/[0-9*]{0,3})?") {
            if let Some(range) = parse_content_range(&header) {
                prop_assert!(range.first <= range.last && range.length() >= 1);
            }
        }
    }
}
