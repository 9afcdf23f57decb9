//! What a personal token may be used for: actions on repositories by pattern, such as `team/**:pull,push`.

use std::fmt;
use std::str::FromStr;

use super::need::{Need, Right};
use super::pattern::Pattern;
use super::scope::Actions;
use crate::oci::RepositoryName;

/// A pattern of repositories with actions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopePattern {
    repositories: Pattern,
    actions: Actions,
}

/// The text is no scope of a personal token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no scope: write PATTERN:ACTIONS, such as team/**:pull,push, with the actions pull, push, delete or *"
)]
pub struct InvalidScope(String);

/// Everything that a personal token may be used for; nothing else is allowed, whatever the rights of its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach(Vec<ScopePattern>);

impl FromStr for ScopePattern {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidScope(text.chars().take(100).collect());
        let (pattern, actions) = text.split_once(':').ok_or_else(invalid)?;
        let repositories: Pattern = pattern.parse().map_err(|_| invalid())?;
        let actions = Actions::only(actions.split(',')).ok_or_else(invalid)?;
        if repositories.depends_on_user() { Err(invalid()) } else { Ok(ScopePattern { repositories, actions }) }
    }
}

impl fmt::Display for ScopePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.repositories, self.actions.words().join(","))
    }
}

impl Reach {
    /// The reach of these scopes; without any, the token may do all that its owner may.
    pub fn of(scopes: Vec<ScopePattern>) -> Option<Self> {
        (!scopes.is_empty()).then_some(Reach(scopes))
    }

    /// True if the token may be used for what has this need. Lists show only what it may pull.
    pub(super) fn allows(&self, need: &Need<'_>) -> bool {
        match need {
            Need::Nothing | Need::Login | Need::List => true,
            Need::Repository { repository, right, .. } => self.has(repository, *right),
        }
    }

    fn has(&self, repository: &RepositoryName, right: Right) -> bool {
        self.0.iter().any(|scope| scope.actions.has(right) && scope.repositories.matches(repository, None))
    }

    /// The scopes as text.
    pub fn words(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reach_is_what_its_scopes_say() {
        let reach = Reach::of(vec!["team/**:pull,push".parse().unwrap(), "x:*".parse().unwrap()]).unwrap();
        let has = |name: &str| {
            let name = name.parse().unwrap();
            [Right::Pull, Right::Push, Right::Delete].map(|right| reach.has(&name, right))
        };
        assert_eq!(has("team/a"), [true, true, false]);
        assert_eq!((has("x"), has("team"), has("x/y")), ([true; 3], [false; 3], [false; 3]));
        assert_eq!(reach.words(), ["team/**:pull,push", "x:pull,push,delete"]);
        assert_eq!(Reach::of(Vec::new()), None);
    }

    /// A scope with a mistake must not become one that allows less or more than it seems to.
    #[test]
    fn a_scope_with_a_mistake_is_refused() {
        for text in [
            "",
            "a",
            "a:",
            ":pull",
            "a:fly",
            "a:pull,",
            "a:pull,fly",
            "a:pull:push",
            "A:pull",
            "{user}/**:pull",
            "a**:pull",
        ] {
            assert!(text.parse::<ScopePattern>().is_err(), "{text}");
        }
    }
}
