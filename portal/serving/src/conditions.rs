//! `If-Match`, `If-None-Match` and `If-Range` against strong entity tags (RFC 9110 section 13).

use http::header::{IF_MATCH, IF_NONE_MATCH, IF_RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// The versions in an `If-Match` or `If-None-Match`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntityTags<'a> {
    /// `*`: any existing version.
    Any,
    /// These versions.
    Listed(Vec<EntityTag<'a>>),
}

/// An entity tag: the name of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityTag<'a> {
    /// The tag with its quotes.
    pub opaque: &'a str,
    /// True if it begins with `W/`: the content has the same meaning, perhaps not the same bytes.
    pub is_weak: bool,
}

/// The status that ends a GET or HEAD before its `Range` counts: 412 or 304 (RFC 9110 section 13.2.2). `etag` is the
/// strong tag of the existing content, if it has one.
pub fn precondition(headers: &HeaderMap, etag: Option<&HeaderValue>) -> Option<StatusCode> {
    let etag = etag.and_then(|etag| etag.to_str().ok());
    if entity_tags(headers, &IF_MATCH).is_some_and(|tags| !tags.has(|tag| !tag.is_weak && Some(tag.opaque) == etag)) {
        return Some(StatusCode::PRECONDITION_FAILED);
    }
    let known = entity_tags(headers, &IF_NONE_MATCH).is_some_and(|tags| tags.has(|tag| Some(tag.opaque) == etag));
    known.then_some(StatusCode::NOT_MODIFIED)
}

/// True if `Range` counts: there is no `If-Range`, or it names this version. A date never does.
pub fn range_applies(headers: &HeaderMap, etag: Option<&HeaderValue>) -> bool {
    headers.get(IF_RANGE).is_none_or(|asked| Some(asked) == etag)
}

/// The tags in all lines of a header; `None` without the header.
pub fn entity_tags<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<EntityTags<'a>> {
    let mut listed = Vec::new();
    for value in headers.get_all(name) {
        // A line that is not text names no version.
        match value.to_str().unwrap_or_default().trim() {
            "*" => return Some(EntityTags::Any),
            line => listed.extend(tags(line)),
        }
    }
    headers.contains_key(name).then_some(EntityTags::Listed(listed))
}

impl EntityTags<'_> {
    fn has(&self, is_wanted: impl Fn(&EntityTag<'_>) -> bool) -> bool {
        match self {
            EntityTags::Any => true,
            EntityTags::Listed(tags) => tags.iter().any(is_wanted),
        }
    }
}

/// The tags of a line. A comma between quotes belongs to the tag. Invalid parts are skipped.
fn tags(mut rest: &str) -> impl Iterator<Item = EntityTag<'_>> {
    std::iter::from_fn(move || {
        loop {
            rest = rest.trim_start_matches([',', ' ', '\t']);
            if rest.is_empty() {
                return None;
            }
            let strong = rest.strip_prefix("W/");
            let (text, is_weak) = (strong.unwrap_or(rest), strong.is_some());
            let quoted = text.strip_prefix('"').and_then(|inner| inner.find('"'));
            if let Some(length) = quoted {
                let (opaque, behind) = text.split_at(length + 2);
                rest = behind;
                return Some(EntityTag { opaque, is_weak });
            }
            rest = rest.find(',').map_or("", |comma| &rest[comma..]);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(lines: &[(&HeaderName, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| ((*name).clone(), value.parse().unwrap())).collect()
    }

    fn status(lines: &[(&HeaderName, &str)]) -> u16 {
        precondition(&headers(lines), Some(&HeaderValue::from_static("\"a,b\""))).map_or(200, |status| status.as_u16())
    }

    #[test]
    fn all_lines_count_and_commas_may_stand_in_a_tag() {
        let headers = headers(&[(&IF_MATCH, r#""a,*" ,W/"b",, c"#), (&IF_MATCH, r#""d""#)]);
        let tag = |opaque, is_weak| EntityTag { opaque, is_weak };
        let want = vec![tag("\"a,*\"", false), tag("\"b\"", true), tag("\"d\"", false)];
        assert_eq!(entity_tags(&headers, &IF_MATCH), Some(EntityTags::Listed(want)));
        assert_eq!(entity_tags(&headers, &IF_NONE_MATCH), None);
    }

    #[test]
    fn if_match_compares_strongly() {
        for (value, want) in [
            ("\"a,b\"", 200),
            ("\"x\", \"a,b\"", 200),
            ("*", 200),
            ("W/\"a,b\"", 412),
            ("\"a\"", 412),
            ("", 412),
            ("a,b", 412),
        ] {
            assert_eq!(status(&[(&IF_MATCH, value)]), want, "{value}");
        }
    }

    #[test]
    fn if_none_match_compares_weakly() {
        for (value, want) in
            [("\"a,b\"", 304), ("\"x\", W/\"a,b\"", 304), ("*", 304), ("\"x,*\"", 200), ("\"a\"", 200), ("", 200)]
        {
            assert_eq!(status(&[(&IF_NONE_MATCH, value)]), want, "{value}");
        }
    }

    #[test]
    fn if_match_comes_first() {
        assert_eq!(status(&[(&IF_NONE_MATCH, "\"a,b\""), (&IF_MATCH, "\"x\"")]), 412);
        assert_eq!(status(&[(&IF_NONE_MATCH, "\"a,b\""), (&IF_MATCH, "\"a,b\"")]), 304);
    }

    #[test]
    fn any_version_is_there_also_where_it_has_no_name() {
        assert_eq!(precondition(&headers(&[(&IF_MATCH, "*")]), None), None);
        assert_eq!(precondition(&headers(&[(&IF_MATCH, "\"a\"")]), None), Some(StatusCode::PRECONDITION_FAILED));
    }

    proptest! {
        #[test]
        fn no_list_panics_and_tags_are_parts_of_it(line in "[\"W/*, a-c]{0,20}|[ -~]{0,40}") {
            for tag in tags(&line) {
                prop_assert!(line.contains(tag.opaque) && tag.opaque.len() >= 2);
            }
        }
    }
}
