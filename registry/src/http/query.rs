//! The query string: every parameter of the API, decoded, in order.

use percent_encoding::percent_decode_str;

use super::error::HttpError;

/// Decoded parameters; unknown ones are kept and never looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Query(
            pairs
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(key), decode(value))
                })
                .collect(),
        )
    }

    /// The first of that name.
    pub(crate) fn get<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// All of that name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// `n`: how many results, at most `cap`. Absent is `cap`.
    pub(crate) fn page_limit(&self, cap: usize) -> Result<usize, HttpError> {
        let Some(text) = self.get("n") else {
            return Ok(cap);
        };
        // The largest that distribution's clients send fits an i64; beyond that it is a mistake worth naming.
        match text.parse::<i64>().ok().and_then(|n| usize::try_from(n).ok()) {
            Some(n) => Ok(n.min(cap)),
            None => Err(HttpError::page_size_invalid(text)),
        }
    }
}

/// `+` is a space here, as in forms; an encoding that is no UTF-8 becomes replacement characters, which no name has.
fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parameters_are_decoded() {
        let query = Query::parse(Some("digest=sha256%3Aab&tag=a&tag=b&x&=y"));
        assert_eq!(query.get("digest"), Some("sha256:ab"));
        assert_eq!(query.all("tag").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(query.get("x"), Some(""));
    }

    #[test]
    fn page_sizes() {
        let limit = |text: &str| Query::parse(Some(text)).page_limit(100).ok();
        assert_eq!(limit(""), Some(100));
        assert_eq!(limit("n=0"), Some(0));
        assert_eq!(limit("n=7"), Some(7));
        assert_eq!(limit("n=7000"), Some(100));
        for bad in ["n=-1", "n=x", "n=", "n=9223372036854775808"] {
            assert_eq!(limit(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(pairs in prop::collection::vec((".{1,8}", ".{0,12}"), 0..5)) {
            use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
            let encode = |text: &String| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let text: Vec<String> = pairs.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
            prop_assert_eq!(Query::parse(Some(&text.join("&"))).0, pairs);
        }

        #[test]
        fn no_query_panics(text in "[a-z0-9%+&=]{0,40}|.{0,60}", cap in 1..2000_usize) {
            let query = Query::parse(Some(&text));
            if let Ok(limit) = query.page_limit(cap) {
                prop_assert!(limit <= cap);
            }
        }

        #[test]
        fn page_sizes_are_counts(n: i64, cap in 1..2000_usize) {
            let limit = Query::parse(Some(&format!("n={n}"))).page_limit(cap).ok();
            prop_assert_eq!(limit, usize::try_from(n).ok().map(|n| n.min(cap)));
        }
    }
}
