//! The policy file: which users and groups may do what to which repositories.
//!
//! Rules only allow. What no rule allows is denied, but for pulls of public repositories. A file is read as a whole, and one
//! fault refuses it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::file::{SourceError, read_file};
use super::identity::{Identity, UserName};
use super::need::Right;
use super::pattern::Pattern;
use crate::oci::{InvalidTagPattern, RepositoryName, Tag, TagRule};

/// Most rules of a policy.
const MOST_RULES: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    /// Repositories that are public from their creation on.
    #[serde(default)]
    public: Vec<String>,
    #[serde(default)]
    groups: BTreeMap<String, Vec<String>>,
    #[serde(default, rename = "rule")]
    rules: Vec<RuleEntry>,
    #[serde(default)]
    immutable: Vec<ImmutableEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleEntry {
    who: Vec<String>,
    repositories: Vec<String>,
    actions: Vec<Action>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ImmutableEntry {
    repositories: Vec<String>,
    tags: Vec<String>,
    #[serde(default)]
    except: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Pull,
    Push,
    Retag,
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

/// Tags that stay once they are set.
#[derive(Debug)]
struct Immutable {
    repositories: Vec<Pattern>,
    tags: Arc<TagRule>,
}

/// The rules in force.
#[derive(Debug)]
pub struct Policy {
    public: Vec<Pattern>,
    rules: Vec<Rule>,
    immutable: Vec<Immutable>,
}

impl Policy {
    /// Reads a policy file.
    pub(super) fn read(path: &Path) -> Result<Self, SourceError> {
        let fault = |why| SourceError::Policy { path: path.to_owned(), why };
        Policy::parse(&read_file(path)?).map_err(fault)
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let file: PolicyFile = toml::from_str(text).map_err(|error| error.to_string())?;
        if file.rules.len() + file.immutable.len() + file.public.len() > MOST_RULES {
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
        let kept = file.immutable.iter().enumerate();
        let kept = kept.map(|(index, entry)| immutable(entry).map_err(|why| format!("immutable {}: {why}", index + 1)));
        Ok(Policy {
            public: for_all(&file.public).map_err(|why| format!("public: {why}"))?,
            rules: rules.collect::<Result<_, _>>()?,
            immutable: kept.collect::<Result<_, _>>()?,
        })
    }

    /// True if a repository of this name is public when it is created.
    pub fn makes_public(&self, repository: &RepositoryName) -> bool {
        self.public.iter().any(|pattern| pattern.matches(repository, None))
    }

    /// The rules of immutable tags in this repository.
    pub(super) fn immutable(&self, repository: &RepositoryName) -> Vec<Arc<TagRule>> {
        self.immutable_in(repository).map(|(_, rule)| Arc::clone(&rule.tags)).collect()
    }

    /// What makes this tag immutable, in words; `None` if it may be moved and deleted.
    pub fn keeps(&self, repository: &RepositoryName, tag: &Tag) -> Option<String> {
        let (index, _) = self.immutable_in(repository).find(|(_, rule)| rule.tags.has(tag))?;
        Some(format!("immutable {}", index + 1))
    }

    fn immutable_in(&self, repository: &RepositoryName) -> impl Iterator<Item = (usize, &Immutable)> {
        let is_here = |rule: &Immutable| rule.repositories.iter().any(|pattern| pattern.matches(repository, None));
        self.immutable.iter().enumerate().filter(move |(_, rule)| is_here(rule))
    }

    /// What allows this to the caller, in words; `None` if nothing does.
    pub fn allows(&self, identity: &Identity, right: Right, repository: &RepositoryName) -> Option<String> {
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
            Action::Retag => right == Right::Retag,
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
    let who = entry.who.iter().map(who).collect::<Result<Vec<_>, _>>()?;
    let pulls = entry.actions.iter().any(|action| matches!(action, Action::Pull | Action::All));
    if pulls && who.contains(&Who::Everybody) {
        return Err("everybody may pull what is public: name it in `public` instead of a rule".to_owned());
    }
    Ok(Rule { who, repositories: patterns(&entry.repositories)?, actions: entry.actions })
}

fn immutable(entry: &ImmutableEntry) -> Result<Immutable, String> {
    if entry.repositories.is_empty() || entry.tags.is_empty() {
        return Err("repositories and tags need a member each".to_owned());
    }
    let read = |texts: &[String]| {
        let read = texts.iter().map(|text| text.parse()).collect::<Result<Vec<_>, InvalidTagPattern>>();
        read.map_err(|error| error.to_string())
    };
    let tags = TagRule { tags: read(&entry.tags)?, except: read(&entry.except)? };
    Ok(Immutable { repositories: for_all(&entry.repositories)?, tags: Arc::new(tags) })
}

fn patterns(texts: &[String]) -> Result<Vec<Pattern>, String> {
    texts.iter().map(|text| text.parse::<Pattern>().map_err(|error| error.to_string())).collect()
}

/// Patterns that match for all callers alike.
fn for_all(texts: &[String]) -> Result<Vec<Pattern>, String> {
    let patterns = patterns(texts)?;
    match patterns.iter().find(|pattern| pattern.depends_on_user()) {
        Some(pattern) => Err(format!("`{pattern}` depends on the caller, and this does not")),
        None => Ok(patterns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = r#"
        public = ["library/**", "scratch"]

        [groups]
        devs = ["ann", "bob"]

        [[rule]]
        who = ["group:devs"]
        repositories = ["team/**"]
        actions = ["pull", "push"]

        [[rule]]
        who = ["user:ann"]
        repositories = ["team/**"]
        actions = ["retag"]

        [[rule]]
        who = ["users"]
        repositories = ["{user}/**"]
        actions = ["*"]

        [[rule]]
        who = ["everybody"]
        repositories = ["scratch"]
        actions = ["push"]

        [[immutable]]
        repositories = ["team/**", "ann/*"]
        tags = ["semver", "*-final"]
        except = ["0.0.0"]

        [[rule]]
        who = ["user:root"]
        repositories = ["**"]
        actions = ["*"]
    "#;

    fn may(policy: &Policy, who: &str, name: &str) -> String {
        let identity = if who.is_empty() { Identity::Anonymous } else { Identity::Local(who.parse().unwrap()) };
        let repository = name.parse().unwrap();
        [(Right::Pull, 'r'), (Right::Push, 'w'), (Right::Retag, 't'), (Right::Delete, 'd')]
            .iter()
            .filter(|(right, _)| policy.allows(&identity, *right, &repository).is_some())
            .map(|(_, letter)| *letter)
            .collect()
    }

    #[test]
    fn rules_allow_and_all_else_is_denied() {
        let policy = Policy::parse(POLICY).unwrap();
        for (who, name, expected) in [
            ("ann", "team/a", "rwt"),
            ("bob", "team/a", "rw"),
            ("eve", "team/a", ""),
            ("", "team/a", ""),
            ("eve", "eve/x", "rwtd"),
            ("eve", "ann/x", ""),
            ("", "library/nginx", ""),
            ("", "scratch", "w"),
            ("eve", "scratch", "w"),
            ("root", "team/a", "rwtd"),
            ("root", "x", "rwtd"),
        ] {
            assert_eq!(may(&policy, who, name), expected, "{who} {name}");
        }
        let nothing = Policy::parse("").unwrap();
        assert_eq!(may(&nothing, "ann", "a"), "");
        let public = |name: &str| {
            let name = name.parse().unwrap();
            (policy.makes_public(&name), nothing.makes_public(&name))
        };
        assert_eq!((public("library/nginx"), public("library")), ((true, false), (false, false)));
    }

    #[test]
    fn immutable_tags_are_of_their_repositories() {
        let policy = Policy::parse(POLICY).unwrap();
        let keeps = |name: &str, tag: &str| policy.keeps(&name.parse().unwrap(), &tag.parse().unwrap());
        assert_eq!(keeps("team/a", "v1.2.3").as_deref(), Some("immutable 1"));
        for (name, tag) in [("team/a", "0.0.0"), ("team/a", "latest"), ("team", "1.2.3"), ("ann/x/y", "1.2.3")] {
            assert_eq!(keeps(name, tag), None, "{name}:{tag}");
        }
        assert_eq!(policy.immutable(&"ann/x".parse().unwrap()).len(), 1);
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
        assert_eq!(
            (may(&policy, "admin", "x/y"), may(&policy, "eve", "eve/x")),
            ("rwtd".to_owned(), "rwtd".to_owned())
        );
        assert!(policy.makes_public(&"library/nginx".parse().unwrap()));
        assert!(policy.keeps(&"team/app".parse().unwrap(), &"1.0.0".parse().unwrap()).is_some());
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
            (rule("['everybody']", "['a']", "['pull']"), "rule 1: everybody may pull what is public"),
            (rule("['everybody', 'users']", "['a']", "['*']"), "rule 1: everybody may pull what is public"),
            ("public = ['{user}/**']".to_owned(), "public: `{user}/**` depends on the caller"),
            ("public = ['a**']".to_owned(), "public: `a**` is no pattern"),
            (
                "[[immutable]]\nrepositories = ['**']\ntags = ['a/b']".to_owned(),
                "immutable 1: `a/b` is no pattern of tags",
            ),
            ("[[immutable]]\nrepositories = ['{user}']\ntags = ['*']".to_owned(), "immutable 1: `{user}` depends"),
            ("[[immutable]]\nrepositories = ['a']\ntags = []".to_owned(), "immutable 1: repositories and tags"),
            ("x".to_owned(), "line 1"),
        ] {
            let error = Policy::parse(&text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
