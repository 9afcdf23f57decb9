//! Who may do what: one function decides for every action.

use super::identity::Identity;
use super::need::{Need, Right};
use super::policy::Policy;
use super::scope::Scopes;

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

/// What a login may be used for at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ceiling {
    /// Whatever its identity may do.
    All,
    /// What the scopes of a token allow.
    Scopes(Scopes),
}

/// A caller with its login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Who it is.
    pub identity: Identity,
    /// What its login may be used for.
    pub ceiling: Ceiling,
}

impl Principal {
    /// A caller whose login has no ceiling.
    pub fn of(identity: Identity) -> Self {
        Principal { identity, ceiling: Ceiling::All }
    }
}

/// Whether a caller may do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The caller may.
    Allowed,
    /// The caller must log in first.
    LogIn,
    /// The caller may, but its token is not for this.
    NeedsScope,
    /// The user may not.
    Denied,
    /// The user may not even read, so that it learns nothing about what is there.
    Hidden,
}

/// Decides whether this caller may do what has this need.
pub(super) fn decide(everybody: Everybody, policy: Option<&Policy>, caller: &Principal, need: &Need<'_>) -> Verdict {
    let by_policy = match need {
        Need::Repository { repository, right, .. } => {
            policy.is_none_or(|policy| policy.allows(&caller.identity, *right, repository).is_some())
        }
        // Lists show what the caller may pull.
        Need::Nothing | Need::Login | Need::List => true,
    };
    let has_right = by_policy
        && match &caller.identity {
            Identity::Local(_) => true,
            // A token is a login, even that of a caller without a name. Clients try it so.
            Identity::Anonymous if *need == Need::Login => {
                everybody.may(need) && policy.is_none() || caller.ceiling != Ceiling::All
            }
            Identity::Anonymous => everybody.may(need),
        };
    match &caller.ceiling {
        // More scopes would not help.
        _ if !has_right => match (&caller.identity, need) {
            (Identity::Anonymous, _) => Verdict::LogIn,
            (Identity::Local(_), Need::Repository { right: Right::Pull, .. }) => Verdict::Hidden,
            (Identity::Local(_), _) => Verdict::Denied,
        },
        Ceiling::Scopes(scopes) if !scopes.allow(need) => Verdict::NeedsScope,
        _ => Verdict::Allowed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::RepositoryName;

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
                let anonymous = Principal::of(Identity::Anonymous);
                assert_eq!(decide(everybody, None, &anonymous, need), expected, "{everybody:?} {need:?}");
                let user = Principal::of(Identity::Local("bob".parse().unwrap()));
                assert_eq!(decide(everybody, None, &user, need), Verdict::Allowed, "{everybody:?} {need:?}");
            }
        }
    }
}
