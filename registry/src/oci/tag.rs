//! Tags: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A valid tag, such as `latest`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag(Box<str>);

/// The error for text that is not a tag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a tag: 1 to 128 letters, digits, _ . or -, the first no . or -")]
pub struct InvalidTag;

impl Tag {
    /// The tag as it appears in URLs.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = InvalidTag;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = text.as_bytes();
        let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let valid = matches!(bytes, [first, rest @ ..]
            if word(first) && rest.len() <= 127 && rest.iter().all(|b| word(b) || matches!(b, b'.' | b'-')));
        if valid { Ok(Tag(text.into())) } else { Err(InvalidTag) }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Tag {
    type Error = InvalidTag;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Tag> for String {
    fn from(tag: Tag) -> String {
        tag.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn takes_what_the_grammar_takes() {
        for tag in ["latest", "_x", "1.0", "A-b.c_d", &"t".repeat(128)] {
            assert!(tag.parse::<Tag>().is_ok(), "{tag}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for tag in ["", ".a", "-a", "a b", "a@b", "a/b", "ä", "a:b", &"t".repeat(129)] {
            assert!(tag.parse::<Tag>().is_err(), "{tag}");
        }
    }

    proptest! {
        #[test]
        fn tags_of_the_grammar_print_as_they_were_written(text in "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}") {
            prop_assert_eq!(text.parse::<Tag>().unwrap().to_string(), text);
        }

        #[test]
        fn what_is_taken_follows_the_grammar(text in "[a-zA-Z0-9._-]{0,140}|.{0,20}") {
            let first = text.bytes().next().is_some_and(|byte| !matches!(byte, b'.' | b'-'));
            let rest = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
            prop_assert_eq!(text.parse::<Tag>().is_ok(), first && rest && text.len() <= 128);
        }
    }
}
