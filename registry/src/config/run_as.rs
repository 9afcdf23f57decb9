//! The user that a node started as root becomes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `UID:GID` in numbers, or nobody: then the node stays who it was started as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunAs(pub Option<Identity>);

/// A user with a group, by number. Neither is root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User.
    pub uid: u32,
    /// Its only group.
    pub gid: u32,
}

/// The text is no user with a group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no UID:GID in numbers above 0, such as 65532:65532")]
pub struct InvalidRunAs(String);

impl FromStr for RunAs {
    type Err = InvalidRunAs;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Ok(RunAs(None));
        }
        let number = |part: &str| match part.parse() {
            // The highest means "no change" to the system calls.
            Ok(0 | u32::MAX) | Err(_) => None,
            Ok(number) => Some(number),
        };
        let identity =
            text.split_once(':').and_then(|(uid, gid)| Some(Identity { uid: number(uid)?, gid: number(gid)? }));
        identity.map(|identity| RunAs(Some(identity))).ok_or_else(|| InvalidRunAs(text.to_owned()))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

impl TryFrom<String> for RunAs {
    type Error = InvalidRunAs;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<RunAs> for String {
    fn from(run_as: RunAs) -> String {
        run_as.0.map(|identity| identity.to_string()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_names_are_refused() {
        assert_eq!("".parse(), Ok(RunAs(None)));
        assert_eq!("65532:1".parse(), Ok(RunAs(Some(Identity { uid: 65532, gid: 1 }))));
        for text in ["0:1", "1:0", "1", ":", "1:", "nobody:nogroup", "-1:1", "4294967295:1", "1:2:3", "4294967296:1"] {
            assert!(text.parse::<RunAs>().is_err(), "{text}");
        }
    }
}
