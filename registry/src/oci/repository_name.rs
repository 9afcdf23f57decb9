//! Repository names: the `<name>` of the distribution spec.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest accepted name. Clients limit host and name together to 255, so they cannot send a longer one.
const MAX_LENGTH: usize = 255;

/// A valid repository name, such as `library/alpine`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryName(Box<str>);

/// The error for text that is not a repository name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a repository name: lower-case letters and digits, separated by . _ __ or -, in parts separated by /")]
pub struct InvalidRepositoryName;

impl RepositoryName {
    /// The name as it appears in URLs.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepositoryName {
    type Err = InvalidRepositoryName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() <= MAX_LENGTH && text.split('/').all(is_component) {
            Ok(RepositoryName(text.into()))
        } else {
            Err(InvalidRepositoryName)
        }
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(part: &str) -> bool {
    let mut separator = None::<(u8, usize)>;
    let mut any = false;
    for byte in part.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' => {
                any = true;
                separator = None;
            }
            b'.' | b'_' | b'-' if any => {
                separator = match separator {
                    None => Some((byte, 1)),
                    Some((b'-', n)) if byte == b'-' => Some((b'-', n + 1)),
                    Some((b'_', 1)) if byte == b'_' => Some((b'_', 2)),
                    Some(_) => return false,
                };
            }
            _ => return false,
        }
    }
    any && separator.is_none()
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for RepositoryName {
    type Error = InvalidRepositoryName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<RepositoryName> for String {
    fn from(name: RepositoryName) -> String {
        name.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn takes_what_the_grammar_takes() {
        for name in ["a", "alpine", "a/b/c", "a.b_c__d-e---f/0", "tags/list", "a/manifests/b", "x/blobs/uploads"] {
            assert!(name.parse::<RepositoryName>().is_ok(), "{name}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        let long = "a".repeat(256);
        for name in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "A",
            "a..b",
            "a.",
            ".a",
            "a___b",
            "a_-b",
            "-a",
            "a-",
            "_a",
            "..",
            ".",
            "a b",
            "a\\b",
            "ä",
            "a\0",
            "a%2fb",
            "a:b",
            long.as_str(),
        ] {
            assert!(name.parse::<RepositoryName>().is_err(), "{name}");
        }
    }

    const VALID: &str =
        "[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,3}){0,2}(/[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,3}){0,2}){0,4}";

    proptest! {
        #[test]
        fn names_of_the_grammar_print_as_they_were_written(text in VALID) {
            prop_assert_eq!(text.parse::<RepositoryName>().unwrap().to_string(), text);
        }

        #[test]
        fn a_foreign_character_anywhere_makes_it_no_name(text in VALID, wrong in "[^a-z0-9._/-]", at: prop::sample::Index) {
            let mut changed = text;
            changed.insert_str(at.index(changed.len() + 1), &wrong);
            prop_assert!(changed.parse::<RepositoryName>().is_err());
        }

        #[test]
        fn what_is_taken_is_safe_in_paths_and_urls(text in "[a-z0-9._/-]{0,12}|.{0,20}") {
            if let Ok(name) = text.parse::<RepositoryName>() {
                prop_assert_eq!(name.as_str(), text.as_str());
                prop_assert!(text.len() <= MAX_LENGTH && !text.contains(".."));
                for part in text.split('/') {
                    let ends = [part.bytes().next(), part.bytes().last()];
                    prop_assert!(ends.iter().all(|end| end.is_some_and(|end| end.is_ascii_lowercase() || end.is_ascii_digit())));
                }
            }
        }
    }
}
