//! Who may do what: one function decides for every action.

use std::sync::Arc;

use super::identity::Identity;
use super::need::{Need, Right};
use super::personal::PersonalToken;
use super::policy::Policy;
use super::repositories::Repositories;
use super::scope::Scopes;
use crate::catalog::command::ReadError;
use crate::catalog::fact::Visibility;
use crate::oci::{FixedTags, RepositoryName};

/// What callers without a login may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Everybody {
    /// Nothing.
    None,
    /// Pull from public repositories, and list them.
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
            Need::Repository { right: Right::Push | Right::Retag, .. } => Everybody::Push,
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
    /// The personal token that it showed, or from which its login comes.
    pub token: Option<Arc<PersonalToken>>,
}

impl Principal {
    /// A caller whose login has no ceiling.
    pub fn of(identity: Identity) -> Self {
        Principal { identity, ceiling: Ceiling::All, token: None }
    }

    /// A caller with a personal token.
    pub fn with_token(token: Arc<PersonalToken>) -> Self {
        Principal { identity: Identity::Local(token.owner.clone()), ceiling: Ceiling::All, token: Some(token) }
    }

    /// The caller, whatever the scopes of its token by the issuer. Clients ask for those as they need them.
    #[must_use]
    pub fn without_scopes(&self) -> Self {
        Principal { ceiling: Ceiling::All, ..self.clone() }
    }

    /// True unless the personal token is not for this.
    fn reaches(&self, need: &Need<'_>) -> bool {
        self.token.as_ref().and_then(|token| token.reach.as_ref()).is_none_or(|reach| reach.allows(need))
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
    /// The caller may not even read, so that it learns nothing about what is there.
    Hidden,
    /// The visibility of the repository cannot be read now.
    NotNow,
}

/// What decides.
pub(super) struct Rules<'a> {
    pub(super) everybody: Everybody,
    pub(super) policy: Option<&'a Policy>,
    /// The visibility of repositories.
    pub(super) repositories: &'a Repositories,
}

impl Rules<'_> {
    /// Decides whether this caller may do what has this need.
    pub(super) fn decide(&self, caller: &Principal, need: &Need<'_>) -> Verdict {
        let has_right = match (need, &caller.identity) {
            (Need::Repository { repository, right, .. }, identity) => {
                match self.allows_in(identity, *right, repository) {
                    Ok(allows) => allows,
                    Err(_) => return Verdict::NotNow,
                }
            }
            // Lists show what the caller may pull.
            (_, Identity::Local(_)) => true,
            // A token is a login, even that of a caller without a name. Clients try it so.
            (Need::Login, Identity::Anonymous) => {
                self.everybody.may(need) && self.policy.is_none() || caller.ceiling != Ceiling::All
            }
            (_, Identity::Anonymous) => self.everybody.may(need),
        };
        let has_right = has_right && caller.reaches(need);
        match &caller.ceiling {
            // More scopes would not help.
            _ if !has_right => self.refusal(&caller.identity, need),
            Ceiling::Scopes(scopes) if !scopes.allow(need) => Verdict::NeedsScope,
            _ => Verdict::Allowed,
        }
    }

    fn allows_in(&self, identity: &Identity, right: Right, repository: &RepositoryName) -> Result<bool, ReadError> {
        if self.allows_by_name(identity, right, repository) {
            return Ok(true);
        }
        if right != Right::Pull || self.everybody < Everybody::Pull {
            return Ok(false);
        }
        Ok(match self.repositories.visibility(repository)? {
            Some(visibility) => visibility == Visibility::Public,
            // A caller that may create it may also ask what is there. To all others it looks like a private one.
            None => {
                self.visibility_of_new(repository) == Visibility::Public
                    && self.allows_by_name(identity, Right::Push, repository)
            }
        })
    }

    /// Whether the name alone gives the right.
    fn allows_by_name(&self, identity: &Identity, right: Right, repository: &RepositoryName) -> bool {
        let is_in_policy = || self.policy.is_none_or(|policy| policy.allows(identity, right, repository).is_some());
        match identity {
            Identity::Local(_) => is_in_policy(),
            // Callers without a login pull what is public, and nothing else.
            Identity::Anonymous if right == Right::Pull => false,
            Identity::Anonymous => {
                self.everybody.may(&Need::Repository { repository, right, tag: None }) && is_in_policy()
            }
        }
    }

    fn refusal(&self, identity: &Identity, need: &Need<'_>) -> Verdict {
        match (identity, need) {
            (Identity::Local(_), Need::Repository { right: Right::Pull, .. }) => Verdict::Hidden,
            (Identity::Local(_), _) => Verdict::Denied,
            // No login would help, or none is needed for what comes next.
            (Identity::Anonymous, Need::Repository { repository, right: Right::Pull, .. })
                if self.allows_by_name(identity, Right::Push, repository) =>
            {
                Verdict::Hidden
            }
            (Identity::Anonymous, _) => Verdict::LogIn,
        }
    }

    /// The visibility of a repository that is created now.
    pub(super) fn visibility_of_new(&self, repository: &RepositoryName) -> Visibility {
        let is_public = self.policy.is_none_or(|policy| policy.makes_public(repository));
        if is_public { Visibility::Public } else { Visibility::Private }
    }

    /// The tags of a repository that a caller may neither move nor remove. `moves` says that it would move them.
    pub(super) fn fixed_tags(&self, identity: &Identity, repository: &RepositoryName, moves: bool) -> FixedTags {
        if moves && !self.allows_by_name(identity, Right::Retag, repository) {
            return FixedTags::all();
        }
        self.policy.map_or_else(FixedTags::none, |policy| FixedTags::by(policy.immutable(repository)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repositories() -> Repositories {
        Repositories::by(|name| {
            Ok(match name.as_str() {
                "open" => Some(Visibility::Public),
                "closed" => Some(Visibility::Private),
                _ => None,
            })
        })
    }

    fn user() -> Principal {
        Principal::of(Identity::Local("bob".parse().unwrap()))
    }

    #[test]
    fn everybody_may_what_the_setting_says_and_users_may_all() {
        let (repository, repositories): (RepositoryName, _) = ("open".parse().unwrap(), repositories());
        let of = |right| Need::Repository { repository: &repository, right, tag: None };
        let needs = [Need::Nothing, Need::List, of(Right::Pull), of(Right::Push), of(Right::Delete), Need::Login];
        for (everybody, allowed) in
            [(Everybody::None, 1), (Everybody::Pull, 3), (Everybody::Push, 4), (Everybody::All, 6)]
        {
            let rules = Rules { everybody, policy: None, repositories: &repositories };
            for (number, need) in needs.iter().enumerate() {
                let expected = if number < allowed { Verdict::Allowed } else { Verdict::LogIn };
                let anonymous = Principal::of(Identity::Anonymous);
                assert_eq!(rules.decide(&anonymous, need), expected, "{everybody:?} {need:?}");
                assert_eq!(rules.decide(&user(), need), Verdict::Allowed, "{everybody:?} {need:?}");
            }
        }
    }

    /// A private repository must look as one that does not exist.
    #[test]
    fn what_is_private_looks_absent() {
        let repositories = repositories();
        let nobody = Principal::of(Identity::Anonymous);
        for (everybody, open, closed, absent) in [
            (Everybody::None, Verdict::LogIn, Verdict::LogIn, Verdict::LogIn),
            (Everybody::Pull, Verdict::Allowed, Verdict::LogIn, Verdict::LogIn),
            // Where everybody may push, a push would tell, and clients must be able to ask before one.
            (Everybody::Push, Verdict::Allowed, Verdict::Hidden, Verdict::Allowed),
            (Everybody::All, Verdict::Allowed, Verdict::Hidden, Verdict::Allowed),
        ] {
            let rules = Rules { everybody, policy: None, repositories: &repositories };
            for (name, expected) in [("open", open), ("closed", closed), ("absent", absent)] {
                let repository = name.parse().unwrap();
                let need = Need::Repository { repository: &repository, right: Right::Pull, tag: None };
                assert_eq!(rules.decide(&nobody, &need), expected, "{everybody:?} {name}");
                assert_eq!(rules.decide(&user(), &need), Verdict::Allowed, "{name}");
            }
        }
    }

    #[test]
    fn users_pull_what_is_public_only_as_far_as_everybody_may() {
        let (repositories, policy) = (repositories(), Policy::parse("public = ['**']").unwrap());
        for (everybody, expected) in [(Everybody::None, Verdict::Hidden), (Everybody::Pull, Verdict::Allowed)] {
            let rules = Rules { everybody, policy: Some(&policy), repositories: &repositories };
            let of = |name: &str| {
                let repository = name.parse().unwrap();
                rules.decide(&user(), &Need::Repository { repository: &repository, right: Right::Pull, tag: None })
            };
            assert_eq!((of("open"), of("closed"), of("absent")), (expected, Verdict::Hidden, Verdict::Hidden));
        }
    }

    #[test]
    fn a_right_that_cannot_be_looked_up_is_none() {
        let repositories = Repositories::by(|_| Err(ReadError::Rebuilding));
        let rules = Rules { everybody: Everybody::Pull, policy: None, repositories: &repositories };
        let repository = "open".parse().unwrap();
        let need = Need::Repository { repository: &repository, right: Right::Pull, tag: None };
        assert_eq!(rules.decide(&Principal::of(Identity::Anonymous), &need), Verdict::NotNow);
        assert_eq!(rules.decide(&user(), &need), Verdict::Allowed);
    }
}
