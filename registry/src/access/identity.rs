//! Identities: who a request comes from.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Most bytes of a user's name.
const LONGEST: usize = 128;
/// Stands for callers without a login.
const NOBODY: &str = "anonymous";

/// The name of a user, without white space, colons and control characters. `anonymous` stands for callers without one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserName(Arc<str>);

/// The text is no name of a user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a user's name has 1 to {LONGEST} bytes, without white space, colons and control characters, and is not {NOBODY}"
)]
pub struct InvalidUserName;

impl UserName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserName {
    type Err = InvalidUserName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_odd = |character: char| character == ':' || character.is_whitespace() || character.is_control();
        match (1..=LONGEST).contains(&text.len()) && !text.contains(is_odd) && text != NOBODY {
            true => Ok(UserName(text.into())),
            false => Err(InvalidUserName),
        }
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The identity behind a request. Its text has no white space.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Identity {
    /// A caller without a login.
    #[default]
    Anonymous,
    /// A user of this node: `local:NAME`.
    Local(UserName),
}

/// The text is no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an identity")]
pub struct InvalidIdentity;

impl FromStr for Identity {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == NOBODY => Ok(Identity::Anonymous),
            Some(("local", name)) => name.parse().map(Identity::Local).map_err(|_| InvalidIdentity),
            _ => Err(InvalidIdentity),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identity::Anonymous => f.write_str(NOBODY),
            Identity::Local(name) => write!(f, "local:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_could_be_mistaken_are_refused() {
        for name in ["bob", "a", "Ünal", "a.b-c_d@e", "robot+x"] {
            assert_eq!(name.parse::<UserName>().unwrap().as_str(), name);
        }
        for name in ["", "anonymous", "a:b", "a b", "a\tb", "a\n", "\u{7f}", "a\u{a0}b", &"x".repeat(129)] {
            assert!(name.parse::<UserName>().is_err(), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn an_identity_is_read_as_it_is_written(name in ".{0,20}") {
            let identity = name.parse().map_or(Identity::Anonymous, Identity::Local);
            let text = identity.to_string();
            prop_assert!(!text.contains(char::is_whitespace));
            prop_assert_eq!(text.parse(), Ok(identity));
        }
    }
}
