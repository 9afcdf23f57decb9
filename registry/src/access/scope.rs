//! Scopes of tokens, in the grammar of distribution: `TYPE[(CLASS)]:NAME:ACTION[,ACTION]`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::need::{Need, Right};
use crate::oci::RepositoryName;

/// Most scopes of a token. Clients ask for one or two.
const MOST: usize = 64;

/// The actions that a token may allow on a repository.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Actions {
    pull: bool,
    push: bool,
    delete: bool,
}

/// What a token may be used for at most, whatever the rights of its user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes {
    repositories: Vec<(RepositoryName, Actions)>,
    catalog: bool,
}

/// A scope as it stands in a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    actions: Vec<String>,
}

impl Actions {
    fn of<'a>(words: impl Iterator<Item = &'a str>) -> Self {
        words.fold(Actions::default(), |actions, word| match word {
            "pull" => Actions { pull: true, ..actions },
            "push" => Actions { push: true, ..actions },
            "delete" => Actions { delete: true, ..actions },
            "*" => Actions { pull: true, push: true, delete: true },
            _ => actions,
        })
    }

    /// These actions; `None` if one of them is unknown.
    pub(super) fn only<'a>(words: impl Iterator<Item = &'a str> + Clone) -> Option<Self> {
        let is_known = |word: &str| matches!(word, "pull" | "push" | "delete" | "*");
        words.clone().all(is_known).then(|| Actions::of(words))
    }

    pub(super) fn has(self, right: Right) -> bool {
        match right {
            Right::Pull => self.pull,
            // Tokens have no action of their own for it.
            Right::Push | Right::Retag => self.push,
            Right::Delete => self.delete,
        }
    }

    pub(super) fn words(self) -> Vec<String> {
        let all = [("pull", self.pull), ("push", self.push), ("delete", self.delete)];
        all.into_iter().filter(|(_, has)| *has).map(|(word, _)| word.to_owned()).collect()
    }
}

impl Scopes {
    /// Reads scopes with white space between them. Unknown ones give nothing.
    pub fn parse<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let mut scopes = Scopes::default();
        for text in texts.flat_map(str::split_whitespace).take(MOST) {
            // A name may have a colon itself, in front of a port.
            let Some(((kind, name), actions)) =
                text.rsplit_once(':').and_then(|(rest, actions)| Some((rest.split_once(':')?, actions)))
            else {
                continue;
            };
            let kind = kind.split('(').next().unwrap_or(kind);
            scopes.add(kind, name, actions.split(','));
        }
        scopes
    }

    fn add<'a>(&mut self, kind: &str, name: &str, actions: impl Iterator<Item = &'a str>) {
        let actions = Actions::of(actions);
        match (kind, name) {
            ("registry", "catalog") => self.catalog |= actions.has(Right::Delete),
            ("repository", _) if actions != Actions::default() => {
                if let Ok(repository) = name.parse() {
                    self.add_repository(repository, actions);
                }
            }
            _ => {}
        }
    }

    fn add_repository(&mut self, repository: RepositoryName, actions: Actions) {
        match self.repositories.iter_mut().find(|(known, _)| *known == repository) {
            Some((_, known)) => {
                let either = |right| known.has(right) || actions.has(right);
                *known =
                    Actions { pull: either(Right::Pull), push: either(Right::Push), delete: either(Right::Delete) };
            }
            None => self.repositories.push((repository, actions)),
        }
    }

    /// The scopes that a caller with these rights gets.
    pub(super) fn granted(&self, may: impl Fn(&Need<'_>) -> bool) -> Self {
        let of = |(repository, actions): &(RepositoryName, Actions)| {
            let has = |right| actions.has(right) && may(&Need::Repository { repository, right, tag: None });
            let actions = Actions { pull: has(Right::Pull), push: has(Right::Push), delete: has(Right::Delete) };
            (actions != Actions::default()).then(|| (repository.clone(), actions))
        };
        Scopes {
            repositories: self.repositories.iter().filter_map(of).collect(),
            catalog: self.catalog && may(&Need::List),
        }
    }

    /// True if they allow what has this need.
    pub(super) fn allow(&self, need: &Need<'_>) -> bool {
        match need {
            Need::Nothing | Need::Login => true,
            Need::List => self.catalog,
            Need::Repository { repository, right, .. } => {
                self.repositories.iter().any(|(known, actions)| known == *repository && actions.has(*right))
            }
        }
    }

    /// The scopes as a token has them.
    pub(super) fn claims(&self) -> Vec<Claim> {
        let of = |(repository, actions): &(RepositoryName, Actions)| Claim {
            kind: "repository".to_owned(),
            name: repository.to_string(),
            actions: actions.words(),
        };
        let catalog = self.catalog.then(|| Claim {
            kind: "registry".to_owned(),
            name: "catalog".to_owned(),
            actions: vec!["*".to_owned()],
        });
        self.repositories.iter().map(of).chain(catalog).collect()
    }

    /// The scopes of a token.
    pub(super) fn of_claims(claims: &[Claim]) -> Self {
        let mut scopes = Scopes::default();
        for Claim { kind, name, actions } in claims.iter().take(MOST) {
            scopes.add(kind, name, actions.iter().map(String::as_str));
        }
        scopes
    }
}

/// Writes the scopes with spaces between them.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |claim: Claim| format!("{}:{}:{}", claim.kind, claim.name, claim.actions.join(","));
        f.write_str(&self.claims().into_iter().map(of).collect::<Vec<_>>().join(" "))
    }
}

/// The scope that a client must ask for, as a challenge names it; `None` if a token without scopes is enough.
pub fn scope_of(need: &Need<'_>) -> Option<String> {
    match need {
        Need::Nothing | Need::Login => None,
        Need::List => Some("registry:catalog:*".to_owned()),
        Need::Repository { repository, right, .. } => {
            let actions = match right {
                Right::Pull => "pull",
                // Clients read before they write, with the same token.
                Right::Push | Right::Retag => "pull,push",
                Right::Delete => "delete",
            };
            Some(format!("repository:{repository}:{actions}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Scopes {
        Scopes::parse([text].into_iter())
    }

    fn allows(scopes: &Scopes, name: &str) -> Vec<Right> {
        let repository: RepositoryName = name.parse().unwrap();
        let of = |right: &Right| scopes.allow(&Need::Repository { repository: &repository, right: *right, tag: None });
        [Right::Pull, Right::Push, Right::Delete].into_iter().filter(of).collect()
    }

    #[test]
    fn scopes_are_read_as_clients_write_them() {
        let scopes =
            parse("repository:a/b:pull,push repository(plugin):c:pull registry:catalog:* repository:a/b:delete");
        assert_eq!(allows(&scopes, "a/b"), [Right::Pull, Right::Push, Right::Delete]);
        assert_eq!(allows(&scopes, "c"), [Right::Pull]);
        assert_eq!(allows(&scopes, "a"), []);
        assert!(scopes.allow(&Need::List) && scopes.allow(&Need::Login));
        assert_eq!(allows(&parse("repository:a:*"), "a").len(), 3);
    }

    /// A name that is another one after decoding or folding must not be taken for it.
    #[test]
    fn what_is_no_scope_gives_nothing() {
        for text in [
            "",
            "a",
            "repository:a",
            "repository::pull",
            "repository:A:pull",
            "repository:a:",
            "repository:a:PULL",
            "repository:a/../b:pull",
            "repository:a%2Fb:pull",
            "registry:catalog:pull",
            "repository:host:5000/a:pull",
            "Repository:a:pull",
            ":a:pull",
            "repository:a:pull:push",
        ] {
            let scopes = parse(text);
            assert_eq!(scopes, Scopes::default(), "{text}");
            assert!(!scopes.allow(&Need::List), "{text}");
        }
    }

    #[test]
    fn a_token_has_no_more_than_the_caller_may() {
        let asked = parse("repository:a:pull,push,delete repository:b:push registry:catalog:*");
        let granted = asked.granted(|need| matches!(need, Need::Repository { right: Right::Pull, .. }));
        assert_eq!(granted, parse("repository:a:pull"));
        assert_eq!(asked.granted(|_| false), Scopes::default());
        assert_eq!(asked.granted(|_| true), asked);
    }

    proptest! {
        #[test]
        fn what_is_granted_stands_in_the_token(
            names in prop::collection::vec("[a-c]{1,2}", 0..4), actions in "(pull|push|delete|,){1,5}", catalog: bool,
        ) {
            let text: Vec<String> = names.iter().map(|name| format!("repository:{name}:{actions} ")).collect();
            let scopes = parse(&format!("{}{}", text.concat(), if catalog { "registry:catalog:*" } else { "" }));
            prop_assert_eq!(Scopes::of_claims(&scopes.claims()), scopes);
        }

        #[test]
        fn no_text_panics(text in ".{0,60}|(repository|registry|:|,|pull|push|a|/| ){0,20}") {
            let scopes = parse(&text);
            prop_assert!(scopes.claims().len() <= MOST);
        }
    }
}
