//! The user that a node becomes if root starts it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `UID:GID` in numbers. `None`: the node keeps the user that started it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunAs(pub Option<Identity>);

/// A user and a group, by number. Neither is root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's number.
    pub uid: u32,
    /// The number of its only group.
    pub gid: u32,
}

/// The error for text that is not a user with a group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not UID:GID in numbers above 0, such as 65532:65532")]
pub struct InvalidRunAs(String);

impl FromStr for RunAs {
    type Err = InvalidRunAs;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Ok(RunAs(None));
        }
        let number = |part: &str| match part.parse() {
            // For the system calls, the highest number means "no change".
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
