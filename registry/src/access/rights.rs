//! Who may do what: one function decides for every action.

use crate::oci::{RepositoryName, Tag};

use super::identity::Identity;

/// What may be done to a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Read its content and lists.
    Pull,
    /// Upload, mount, and set tags.
    Push,
    /// Delete manifests, tags and blobs.
    Delete,
}

/// What an action needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need<'a> {
    /// Nothing: it is for health checks and metrics.
    Nothing,
    /// A login, if any action needs one. Clients ask so whether they must log in.
    Login,
    /// To see the names of repositories.
    List,
    /// A right on a repository.
    Repository {
        /// The repository.
        repository: &'a RepositoryName,
        /// The right.
        right: Right,
        /// The tag that is set or deleted, if the path names one.
        tag: Option<&'a Tag>,
    },
}

/// What callers without a login may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Everybody {
    /// Nothing.
    None,
    /// Pull and list.
    Pull,
    /// Also push, and move tags.
    Push,
    /// Also delete.
    All,
}

impl Everybody {
    /// The rights in words.
    pub fn words(self) -> &'static str {
        match self {
            Everybody::None => "nothing",
            Everybody::Pull => "pull",
            Everybody::Push => "pull and push",
            Everybody::All => "pull, push and delete",
        }
    }

    fn may(self, need: &Need<'_>) -> bool {
        let least = match need {
            Need::Nothing => Everybody::None,
            Need::List | Need::Repository { right: Right::Pull, .. } => Everybody::Pull,
            Need::Repository { right: Right::Push, .. } => Everybody::Push,
            Need::Repository { right: Right::Delete, .. } | Need::Login => Everybody::All,
        };
        self >= least
    }
}

/// Whether a caller may do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The caller may.
    Allowed,
    /// The caller must log in first.
    LogIn,
}

/// Decides whether this caller may do what has this need.
pub(super) fn decide(everybody: Everybody, identity: &Identity, need: &Need<'_>) -> Verdict {
    match identity {
        Identity::Local(_) => Verdict::Allowed,
        Identity::Anonymous if everybody.may(need) => Verdict::Allowed,
        Identity::Anonymous => Verdict::LogIn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_may_what_the_setting_says_and_users_may_all() {
        let repository: RepositoryName = "a".parse().unwrap();
        let of = |right| Need::Repository { repository: &repository, right, tag: None };
        let needs = [Need::Nothing, Need::List, of(Right::Pull), of(Right::Push), of(Right::Delete), Need::Login];
        for (everybody, allowed) in
            [(Everybody::None, 1), (Everybody::Pull, 3), (Everybody::Push, 4), (Everybody::All, 6)]
        {
            for (number, need) in needs.iter().enumerate() {
                let expected = if number < allowed { Verdict::Allowed } else { Verdict::LogIn };
                assert_eq!(decide(everybody, &Identity::Anonymous, need), expected, "{everybody:?} {need:?}");
                let user = Identity::Local("bob".parse().unwrap());
                assert_eq!(decide(everybody, &user, need), Verdict::Allowed, "{everybody:?} {need:?}");
            }
        }
    }
}
