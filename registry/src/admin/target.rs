//! The target of a command: a repository, or an image in it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::oci::{Reference, RepositoryName};

/// `NAME`, `NAME:TAG` or `NAME@DIGEST`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Target {
    /// The repository.
    pub repository: RepositoryName,
    /// The image. Absent: the whole repository.
    pub reference: Option<Reference>,
}

/// The text is not a repository or image. The message is for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidTarget(String);

impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |part: &str, why: &dyn fmt::Display| InvalidTarget(format!("invalid {part:?}: {why}"));
        let (name, reference) = if let Some((name, digest)) = text.split_once('@') {
            (name, Some(digest.parse().map(Reference::Digest).map_err(|why| invalid(digest, &why))?))
        } else if let Some((name, tag)) = text.split_once(':') {
            (name, Some(tag.parse().map(Reference::Tag).map_err(|why| invalid(tag, &why))?))
        } else {
            (text, None)
        };
        Ok(Target { repository: name.parse().map_err(|why| invalid(name, &why))?, reference })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reference {
            None => write!(f, "{}", self.repository),
            Some(Reference::Tag(tag)) => write!(f, "{}:{tag}", self.repository),
            Some(Reference::Digest(digest)) => write!(f, "{}@{digest}", self.repository),
        }
    }
}

impl TryFrom<String> for Target {
    type Error = InvalidTarget;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_comes_back() {
        let digest = format!("a/b@sha256:{}", "0".repeat(64));
        for text in ["a", "a/b", "a:latest", &digest] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn the_part_that_is_wrong_is_named() {
        for (text, said) in [
            ("a@sha256:12", "invalid \"sha256:12\": not a sha256 digest"),
            ("a@latest", "invalid \"latest\": not a digest"),
            ("a:-x", "invalid \"-x\": not a tag"),
            ("A", "invalid \"A\": not a repository name"),
            ("A:x", "invalid \"A\": not a repository name"),
            ("", "invalid \"\": not a repository name"),
        ] {
            let error = text.parse::<Target>().unwrap_err().to_string();
            assert!(error.starts_with(said), "{text}: {error}");
        }
    }
}
