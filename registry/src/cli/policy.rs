//! `skyberth policy`: explains what the policy allows.

use anyhow::{Context, bail};
use clap::{Subcommand, ValueEnum};

use super::render::Form;
use super::{Json, Settings, access, print};
use crate::access::{Everybody, Identity, Policy, Right, Sources, is_robot};
use crate::admin::Target;
use crate::oci::{Reference, RepositoryName, Tag};

#[derive(Subcommand)]
pub(super) enum PolicyAction {
    /// Say whether a user may do something, and which rule decides. Exit code 1: the user may not.
    Check {
        /// Name of the user; `anonymous` is a caller without a login.
        user: String,
        /// What the user wants to do.
        action: Action,
        /// NAME or NAME:TAG.
        repository: Target,
        #[command(flatten)]
        json: Json,
        #[command(flatten)]
        settings: Settings,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Action {
    Pull,
    /// Upload, and set new tags.
    Push,
    /// Move a tag.
    Retag,
    Delete,
}

/// A question, and what is needed to answer it.
#[derive(Clone, Copy)]
struct Question<'a> {
    identity: &'a Identity,
    action: Action,
    repository: &'a RepositoryName,
    tag: Option<&'a Tag>,
    everybody: Everybody,
}

/// Runs the command. False if the user may not.
pub(super) fn run(action: PolicyAction) -> anyhow::Result<bool> {
    let PolicyAction::Check { user, action, repository, json, settings } = action;
    let config = settings.load_to_read()?.config;
    let sources = access::sources(&config, &config.storage.data)?;
    let identity = match user.as_str() {
        "anonymous" => Identity::Anonymous,
        name => Identity::Local(name.parse()?),
    };
    let tag = match &repository.reference {
        None => None,
        Some(Reference::Tag(tag)) => Some(tag),
        Some(Reference::Digest(_)) => bail!("rights are about repositories and tags: leave the digest out"),
    };
    let everybody = access::everybody(&config, &sources)?;
    let question = Question { identity: &identity, action, repository: &repository.repository, tag, everybody };
    let (allowed, why) = question.answer(&sources)?;
    let word = if allowed { "allowed" } else { "denied" };
    print(&match json.form() {
        Form::Text => format!("{word}: {why}"),
        Form::Json => serde_json::json!({ "allowed": allowed, "why": why }).to_string(),
    });
    Ok(allowed)
}

impl Question<'_> {
    fn answer(&self, sources: &Sources) -> anyhow::Result<(bool, String)> {
        if let Identity::Local(name) = self.identity {
            let (users, tokens) = (sources.read()?, sources.local.read_tokens()?);
            let nobody_has_one = users.is_empty() && tokens.all().next().is_none();
            if self.everybody == Everybody::All && sources.policy.is_none() && nobody_has_one {
                // The node ignores all logins then.
                return Question { identity: &Identity::Anonymous, ..*self }.answer(sources);
            }
            let is_robot = is_robot(name) && tokens.all().any(|token| token.owner == *name);
            if users.origin(name).is_none() && !is_robot {
                return Ok((false, format!("there is no user {name}")));
            }
        }
        let policy = sources.read_policy().context("auth.policy")?;
        if let (Some(tag), Action::Retag | Action::Delete) = (self.tag, self.action)
            && let Some(why) = policy.as_ref().and_then(|policy| policy.keeps(self.repository, tag))
        {
            return Ok((false, format!("the tag is kept by {why}")));
        }
        if *self.identity == Identity::Anonymous && self.everybody < self.least() {
            return Ok((false, format!("auth.anonymous lets callers without a login do {}", self.everybody.words())));
        }
        if self.action == Action::Pull
            && let Some(answer) = self.of_public(policy.as_ref())
        {
            return Ok(answer);
        }
        let Some(policy) = policy else { return Ok((true, "without auth.policy, no rule forbids it".to_owned())) };
        let right = match self.action {
            Action::Pull => Right::Pull,
            Action::Push => Right::Push,
            Action::Retag => Right::Retag,
            Action::Delete => Right::Delete,
        };
        Ok(match policy.allows(self.identity, right, self.repository) {
            Some(why) => (true, why),
            None => (false, "no rule allows it".to_owned()),
        })
    }

    /// The answer to a pull that only the visibility of the repository can allow.
    fn of_public(&self, policy: Option<&Policy>) -> Option<(bool, String)> {
        let by_rule = *self.identity != Identity::Anonymous
            && policy.is_none_or(|policy| policy.allows(self.identity, Right::Pull, self.repository).is_some());
        if by_rule || self.everybody < Everybody::Pull {
            return None;
        }
        let is_public = policy.is_none_or(|policy| policy.makes_public(self.repository));
        let new = if is_public { "a new one is" } else { "a new one is not" };
        Some((is_public, format!("if the repository is public, as `skyberth ls` says; {new}")))
    }

    fn least(&self) -> Everybody {
        match self.action {
            Action::Pull => Everybody::Pull,
            Action::Push | Action::Retag => Everybody::Push,
            Action::Delete => Everybody::All,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{LocalUsers, parse_words};

    const USERS: &str = "ann:$2y$05$QmRRXfF6vJVoBcF8rD8dSedj/Dkffmcm5uh11bG5/ogJ4ksMZMPD6";
    const POLICY: &str = "
        public = ['library/**']
        [[rule]]
        who = ['user:ann']
        repositories = ['team/**']
        actions = ['pull', 'push', 'retag']
        [[immutable]]
        repositories = ['team/**']
        tags = ['semver']";

    #[test]
    fn each_answer_names_what_decides() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.toml");
        std::fs::write(&path, POLICY).unwrap();
        let local = LocalUsers::in_directory(folder.path().to_owned());
        let sources =
            Sources { settings: parse_words(USERS).unwrap(), htpasswd: Vec::new(), local, policy: Some(path) };
        for (user, action, target, allowed, why) in [
            ("ann", Action::Push, "team/a", true, "rule 1 for user:ann and team/**"),
            ("ann", Action::Retag, "team/a:latest", true, "rule 1"),
            ("ann", Action::Retag, "team/a:1.2.3", false, "immutable 1"),
            ("ann", Action::Delete, "team/a", false, "no rule allows it"),
            ("ann", Action::Pull, "library/a", true, "if the repository is public"),
            ("ann", Action::Pull, "other", false, "a new one is not"),
            ("eve", Action::Pull, "team/a", false, "there is no user eve"),
            ("anonymous", Action::Pull, "library/a", true, "if the repository is public"),
            ("anonymous", Action::Push, "library/a", false, "auth.anonymous lets callers without a login do pull"),
        ] {
            let identity = match user {
                "anonymous" => Identity::Anonymous,
                name => Identity::Local(name.parse().unwrap()),
            };
            let target: Target = target.parse().unwrap();
            let tag = match &target.reference {
                Some(Reference::Tag(tag)) => Some(tag),
                _ => None,
            };
            let (repository, everybody) = (&target.repository, Everybody::Pull);
            let found = Question { identity: &identity, action, repository, tag, everybody }.answer(&sources).unwrap();
            assert!(found.0 == allowed && found.1.contains(why), "{user} {action:?} {target}: {found:?}");
        }
    }

    /// The command said that there is no such user, while the node let everybody in.
    #[test]
    fn an_open_node_lets_any_name_in() {
        let folder = tempfile::tempdir().unwrap();
        let local = LocalUsers::in_directory(folder.path().to_owned());
        let mut sources = Sources { settings: Vec::new(), htpasswd: Vec::new(), local, policy: None };
        let (identity, repository) = (Identity::Local("bob".parse().unwrap()), "a".parse().unwrap());
        let allowed = |everybody, sources: &Sources| {
            let question =
                Question { identity: &identity, action: Action::Delete, repository: &repository, tag: None, everybody };
            question.answer(sources).unwrap().0
        };
        assert!(allowed(Everybody::All, &sources));
        assert!(!allowed(Everybody::None, &sources));
        sources.settings = parse_words(USERS).unwrap();
        assert!(!allowed(Everybody::All, &sources), "a login counts where there is a user");
    }
}
