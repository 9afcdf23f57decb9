//! The query string of a request: its parameters, decoded, in order.

use percent_encoding::percent_decode_str;

/// Decoded parameters; unknown ones are kept and ignored.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Parses the text behind the `?` as a form, where `+` is a space. No text is refused.
    pub fn parse(query: Option<&str>) -> Self {
        Query::decoded(query, |text| decode(&text.replace('+', " ")))
    }

    /// Parses the text behind the `?` by RFC 3986, where `+` is a plus. No text is refused.
    pub fn parse_uri(query: Option<&str>) -> Self {
        Query::decoded(query, decode)
    }

    fn decoded(query: Option<&str>, decode: impl Fn(&str) -> String) -> Self {
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

    /// The first value of that name.
    pub fn get<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// All values of that name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Decodes one name or value. Invalid UTF-8 becomes replacement characters, which no name has.
fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
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
    fn a_plus_is_a_space_in_forms_only() {
        let text = Some("artifactType=application/vnd.x.sig+json&b+c=%2B%20");
        let (form, uri) = (Query::parse(text), Query::parse_uri(text));
        assert_eq!(form.get("artifactType"), Some("application/vnd.x.sig json"));
        assert_eq!(form.get("b c"), Some("+ "));
        assert_eq!(uri.get("artifactType"), Some("application/vnd.x.sig+json"));
        assert_eq!(uri.get("b+c"), Some("+ "));
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(pairs in prop::collection::vec((".{1,8}", ".{0,12}"), 0..5)) {
            use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
            let encode = |text: &String| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let text: Vec<String> = pairs.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
            prop_assert_eq!(&Query::parse(Some(&text.join("&"))).0, &pairs);
            prop_assert_eq!(Query::parse_uri(Some(&text.join("&"))).0, pairs);
        }

        #[test]
        fn no_query_panics(text in "[a-z0-9%+&=]{0,40}|.{0,60}") {
            for query in [Query::parse(Some(&text)), Query::parse_uri(Some(&text))] {
                prop_assert!(query.0.len() <= text.len());
            }
        }
    }
}
