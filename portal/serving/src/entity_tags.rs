//! Lists of entity tags in `If-Match` and `If-None-Match` (RFC 9110 section 13.1).

use http::{HeaderMap, HeaderName};

/// The members of the list, `*` among them. A weak tag is given in its strong form: right for `If-None-Match`, which
/// compares weakly, and harmless for `If-Match` where the server hands out strong tags only.
pub fn entity_tags<'a>(headers: &'a HeaderMap, name: &'a HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).map(|tag| tag.strip_prefix("W/").unwrap_or(tag))
}

#[cfg(test)]
mod tests {
    use http::header::IF_NONE_MATCH;

    use super::*;

    #[test]
    fn all_lines_count_and_weak_tags_are_as_strong_ones() {
        let mut headers = HeaderMap::new();
        headers.append(IF_NONE_MATCH, "\"a\", W/\"b\"".parse().unwrap());
        headers.append(IF_NONE_MATCH, "*".parse().unwrap());
        assert_eq!(entity_tags(&headers, &IF_NONE_MATCH).collect::<Vec<_>>(), ["\"a\"", "\"b\"", "*"]);
    }
}
