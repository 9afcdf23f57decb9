//! Tags that may neither be moved nor removed once they are set, by patterns: `v*`, `semver`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::Tag;

/// A pattern of tags. `*` is any text, also none, and `semver` is every version such as `1.2.3` or `v1.2.3-rc1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagPattern {
    /// A version.
    Semver,
    /// The texts between the stars.
    Text(Vec<String>),
}

/// The text is no pattern of tags.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no pattern of tags: write semver, or characters of tags with * for any text")]
pub struct InvalidTagPattern(String);

/// Tags that match one pattern, and none of the exceptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagRule {
    /// The patterns.
    pub tags: Vec<TagPattern>,
    /// The exceptions.
    pub except: Vec<TagPattern>,
}

/// The tags of a repository that a caller may neither move nor remove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FixedTags {
    is_all: bool,
    rules: Vec<Arc<TagRule>>,
}

impl FromStr for TagPattern {
    type Err = InvalidTagPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_tag = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-*".contains(&byte);
        match text {
            "semver" => Ok(TagPattern::Semver),
            _ if (1..=128).contains(&text.len()) && text.bytes().all(is_tag) => {
                Ok(TagPattern::Text(text.split('*').map(str::to_owned).collect()))
            }
            _ => Err(InvalidTagPattern(text.chars().take(100).collect())),
        }
    }
}

impl fmt::Display for TagPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TagPattern::Semver => f.write_str("semver"),
            TagPattern::Text(parts) => f.write_str(&parts.join("*")),
        }
    }
}

impl TagPattern {
    fn matches(&self, tag: &str) -> bool {
        match self {
            TagPattern::Semver => is_version(tag),
            TagPattern::Text(parts) => matches(parts, tag),
        }
    }
}

impl TagRule {
    /// True if the rule is about this tag.
    pub fn has(&self, tag: &Tag) -> bool {
        let any = |patterns: &[TagPattern]| patterns.iter().any(|pattern| pattern.matches(tag.as_str()));
        any(&self.tags) && !any(&self.except)
    }
}

impl FixedTags {
    /// No tag.
    pub fn none() -> Self {
        FixedTags::default()
    }

    /// Every tag.
    pub fn all() -> Self {
        FixedTags { is_all: true, rules: Vec::new() }
    }

    /// The tags of these rules.
    pub fn by(rules: Vec<Arc<TagRule>>) -> Self {
        FixedTags { is_all: false, rules }
    }

    /// True if this tag is one of them.
    pub fn has(&self, tag: &Tag) -> bool {
        self.is_all || self.rules.iter().any(|rule| rule.has(tag))
    }
}

/// True if the text begins with the first part, ends with the last one, and has the others in between, in order.
fn matches(parts: &[String], text: &str) -> bool {
    let [first, middle @ .., last] = parts else { return parts.first().is_some_and(|only| only == text) };
    let Some(rest) = text.strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str())) else {
        return false;
    };
    // The earliest place of each part leaves the most for the others.
    let after = |rest: &'_ str, part: &String| rest.find(part.as_str()).map(|at| at + part.len());
    let mut from = 0;
    middle.iter().all(|part| after(&rest[from..], part).map(|length| from += length).is_some())
}

/// `MAJOR.MINOR.PATCH` of digits, after a `v` or not, and before `-` and more or not.
fn is_version(text: &str) -> bool {
    let text = text.strip_prefix('v').unwrap_or(text);
    let (numbers, more) = text.split_once('-').map_or((text, None), |(numbers, more)| (numbers, Some(more)));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    numbers.split('.').count() == 3 && numbers.split('.').all(is_number) && more != Some("")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(tags: &[&str], except: &[&str]) -> TagRule {
        let read = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        TagRule { tags: read(tags), except: read(except) }
    }

    #[test]
    fn patterns_match_whole_tags() {
        for (pattern, good, bad) in [
            ("v1", &["v1"][..], &["v1a", "av1", "V1"][..]),
            ("*", &["latest", "v1"], &[]),
            ("v*", &["v", "v1", "vv"], &["1v"]),
            ("*-rc*", &["1-rc", "1-rc2", "a-rc-rc"], &["1rc", "rc"]),
            ("a*a", &["aa", "aba"], &["a", "ab"]),
            ("a**b", &["ab", "axb"], &["a"]),
            (
                "semver",
                &["1.2.3", "v0.0.1", "1.2.3-rc.1"],
                &["1.2", "1.2.3.4", "v", "1.2.x", "1.2.3-", "latest", "1..3"],
            ),
        ] {
            let rule = rule(&[pattern], &[]);
            assert!(good.iter().all(|tag| rule.has(&tag.parse().unwrap())), "{pattern}");
            assert!(!bad.iter().any(|tag| rule.has(&tag.parse().unwrap())), "{pattern}");
        }
    }

    #[test]
    fn exceptions_stay_free_and_strange_patterns_are_refused() {
        let fixed = FixedTags::by(vec![Arc::new(rule(&["*"], &["latest", "nightly-*"]))]);
        let has = |tag: &str| fixed.has(&tag.parse().unwrap());
        assert_eq!((has("v1"), has("latest"), has("nightly-1")), (true, false, false));
        assert!(FixedTags::all().has(&"latest".parse().unwrap()));
        assert!(!FixedTags::none().has(&"latest".parse().unwrap()));
        for text in ["", "a b", "a/b", "ä", "[a-z]", &"x".repeat(129)] {
            assert!(text.parse::<TagPattern>().is_err(), "{text}");
        }
    }

    proptest! {
        /// A pattern of many stars must not take long, and agrees with a plain search.
        #[test]
        fn stars_match_as_a_plain_search_does(pattern in "[ab*]{1,12}", tag in "[ab]{1,12}") {
            fn plain(pattern: &[u8], tag: &[u8]) -> bool {
                match (pattern, tag) {
                    ([], []) => true,
                    ([b'*', rest @ ..], _) => plain(rest, tag) || (!tag.is_empty() && plain(pattern, &tag[1..])),
                    ([one, rest @ ..], [other, tag @ ..]) if one == other => plain(rest, tag),
                    _ => false,
                }
            }
            let found = rule(&[&pattern], &[]).has(&tag.parse().unwrap());
            prop_assert_eq!(found, plain(pattern.as_bytes(), tag.as_bytes()));
        }
    }
}
