//! The policy file: which users and groups may do what to which repositories.
//!
//! Rules only allow. What no rule allows is denied. A file is read as a whole, and one fault refuses it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::file::{SourceError, read_file};
use super::identity::{Identity, UserName};
use super::need::Right;
use super::pattern::Pattern;
use crate::oci::RepositoryName;

/// Most rules of a policy.
const MOST_RULES: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    #[serde(default)]
    default: Everyone,
    #[serde(default)]
    groups: BTreeMap<String, Vec<String>>,
    #[serde(default, rename = "rule")]
    rules: Vec<RuleEntry>,
}

/// What everybody may do besides the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Everyone {
    #[default]
    Deny,
    Pull,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleEntry {
    who: Vec<String>,
    repositories: Vec<String>,
    actions: Vec<Action>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Pull,
    Push,
    Delete,
    #[serde(rename = "*")]
    All,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    /// Callers with and without a login.
    Everybody,
    /// Callers with a login.
    Users,
    User(UserName),
    Group(String, Vec<UserName>),
}

#[derive(Debug)]
struct Rule {
    who: Vec<Who>,
    repositories: Vec<Pattern>,
    actions: Vec<Action>,
}

/// The rules in force.
#[derive(Debug)]
pub struct Policy {
    default: Everyone,
    rules: Vec<Rule>,
}

impl Policy {
    /// Reads a policy file.
    pub(super) fn read(path: &Path) -> Result<Self, SourceError> {
        let fault = |why| SourceError::Policy { path: path.to_owned(), why };
        Policy::parse(&read_file(path)?).map_err(fault)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let file: PolicyFile = toml::from_str(text).map_err(|error| error.to_string())?;
        if file.rules.len() > MOST_RULES {
            return Err(format!("more than {MOST_RULES} rules"));
        }
        let mut groups = BTreeMap::new();
        for (group, names) in file.groups {
            let names: Result<Vec<UserName>, _> = names.iter().map(|name| name.parse()).collect();
            groups.insert(group.clone(), names.map_err(|error| format!("group {group}: {error}"))?);
        }
        let rules = file.rules.into_iter().enumerate();
        let rules =
            rules.map(|(index, entry)| rule(entry, &groups).map_err(|why| format!("rule {}: {why}", index + 1)));
        Ok(Policy { default: file.default, rules: rules.collect::<Result<_, _>>()? })
    }

    /// What allows this to the caller, in words; `None` if nothing does.
    pub fn allows(&self, identity: &Identity, right: Right, repository: &RepositoryName) -> Option<String> {
        if self.default == Everyone::Pull && right == Right::Pull {
            return Some("default = \"pull\"".to_owned());
        }
        let name = match identity {
            Identity::Anonymous => None,
            Identity::Local(name) => Some(name),
        };
        self.rules.iter().enumerate().find_map(|(index, rule)| {
            let who = rule.who.iter().find(|who| who.is(name))?;
            let pattern = rule.repositories.iter().find(|pattern| pattern.matches(repository, name))?;
            rule.gives(right).then(|| format!("rule {} for {} and {pattern}", index + 1, who.words()))
        })
    }
}

impl Rule {
    fn gives(&self, right: Right) -> bool {
        self.actions.iter().any(|action| match action {
            Action::All => true,
            Action::Pull => right == Right::Pull,
            Action::Push => right == Right::Push,
            Action::Delete => right == Right::Delete,
        })
    }
}

impl Who {
    fn is(&self, name: Option<&UserName>) -> bool {
        match (self, name) {
            (Who::Everybody, _) | (Who::Users, Some(_)) => true,
            (Who::User(user), Some(name)) => user == name,
            (Who::Group(_, users), Some(name)) => users.contains(name),
            (_, None) => false,
        }
    }

    fn words(&self) -> String {
        match self {
            Who::Everybody => "everybody".to_owned(),
            Who::Users => "users".to_owned(),
            Who::User(name) => format!("user:{name}"),
            Who::Group(name, _) => format!("group:{name}"),
        }
    }
}

fn rule(entry: RuleEntry, groups: &BTreeMap<String, Vec<UserName>>) -> Result<Rule, String> {
    if entry.who.is_empty() || entry.repositories.is_empty() || entry.actions.is_empty() {
        return Err("who, repositories and actions need a member each".to_owned());
    }
    let who = |text: &String| match text.split_once(':') {
        None if text == "everybody" => Ok(Who::Everybody),
        None if text == "users" => Ok(Who::Users),
        Some(("user", name)) => name.parse().map(Who::User).map_err(|error| format!("{error}")),
        Some(("group", name)) => match groups.get(name) {
            Some(users) => Ok(Who::Group(name.to_owned(), users.clone())),
            None => Err(format!("there is no group {name}")),
        },
        _ => Err(format!("`{text}` is not everybody, users, user:NAME or group:NAME")),
    };
    let pattern = |text: &String| text.parse::<Pattern>().map_err(|error| error.to_string());
    Ok(Rule {
        who: entry.who.iter().map(who).collect::<Result<_, _>>()?,
        repositories: entry.repositories.iter().map(pattern).collect::<Result<_, _>>()?,
        actions: entry.actions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = r#"
        [groups]
        devs = ["ann", "bob"]

        [[rule]]
        who = ["group:devs"]
        repositories = ["team/**"]
        actions = ["pull", "push"]

        [[rule]]
        who = ["users"]
        repositories = ["{user}/**"]
        actions = ["*"]

        [[rule]]
        who = ["everybody"]
        repositories = ["library/**"]
        actions = ["pull"]

        [[rule]]
        who = ["user:root"]
        repositories = ["**"]
        actions = ["*"]
    "#;

    fn may(policy: &Policy, who: &str, name: &str) -> String {
        let identity = if who.is_empty() { Identity::Anonymous } else { Identity::Local(who.parse().unwrap()) };
        let repository = name.parse().unwrap();
        [(Right::Pull, 'r'), (Right::Push, 'w'), (Right::Delete, 'd')]
            .iter()
            .filter(|(right, _)| policy.allows(&identity, *right, &repository).is_some())
            .map(|(_, letter)| *letter)
            .collect()
    }

    #[test]
    fn rules_allow_and_all_else_is_denied() {
        let policy = Policy::parse(POLICY).unwrap();
        for (who, name, expected) in [
            ("ann", "team/a", "rw"),
            ("eve", "team/a", ""),
            ("", "team/a", ""),
            ("eve", "eve/x", "rwd"),
            ("eve", "ann/x", ""),
            ("", "library/nginx", "r"),
            ("eve", "library/nginx", "r"),
            ("root", "team/a", "rwd"),
            ("root", "x", "rwd"),
        ] {
            assert_eq!(may(&policy, who, name), expected, "{who} {name}");
        }
        let public = Policy::parse("default = 'pull'").unwrap();
        assert_eq!((may(&public, "", "a"), may(&public, "ann", "a")), ("r".to_owned(), "r".to_owned()));
        assert_eq!(may(&Policy::parse("").unwrap(), "ann", "a"), "");
    }

    #[test]
    fn a_decision_names_its_rule() {
        let policy = Policy::parse(POLICY).unwrap();
        let ann = Identity::Local("ann".parse().unwrap());
        let why = policy.allows(&ann, Right::Push, &"team/a".parse().unwrap()).unwrap();
        assert_eq!(why, "rule 1 for group:devs and team/**");
    }

    #[test]
    fn the_policy_in_the_documents_is_good() {
        let page = include_str!("../../../docs/how-to/rights.md");
        let example = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
        let policy = Policy::parse(example).unwrap();
        assert_eq!((may(&policy, "ann", "team/app"), may(&policy, "", "team/app")), ("rw".to_owned(), String::new()));
        assert_eq!((may(&policy, "admin", "x/y"), may(&policy, "eve", "eve/x")), ("rwd".to_owned(), "rwd".to_owned()));
    }

    #[test]
    fn a_fault_names_its_rule() {
        let rule = |who: &str, repositories: &str, actions: &str| {
            format!("[[rule]]\nwho = {who}\nrepositories = {repositories}\nactions = {actions}")
        };
        for (text, said) in [
            (rule("['ann']", "['a']", "['pull']"), "rule 1: `ann` is not"),
            (rule("['group:x']", "['a']", "['pull']"), "rule 1: there is no group x"),
            (rule("['users']", "['a**']", "['pull']"), "rule 1: `a**` is no pattern"),
            (rule("['users']", "['a']", "['fly']"), "fly"),
            (rule("['users']", "['a']", "[]"), "rule 1: who, repositories and actions"),
            ("[[rules]]".to_owned(), "rules"),
            ("default = 'push'".to_owned(), "push"),
            ("x".to_owned(), "line 1"),
        ] {
            let error = Policy::parse(&text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
