//! `skyberth policy`: explains what the policy allows.

use anyhow::Context;
use clap::{Subcommand, ValueEnum};

use super::render::Form;
use super::{Json, Settings, access, print};
use crate::access::{Identity, Right, Sources};
use crate::oci::RepositoryName;

#[derive(Subcommand)]
pub(super) enum PolicyAction {
    /// Say whether a user may do something, and which rule decides. Exit code 1: the user may not.
    Check {
        /// Name of the user; `anonymous` is a caller without a login.
        user: String,
        /// What the user wants to do.
        action: Action,
        /// Name of the repository.
        repository: RepositoryName,
        #[command(flatten)]
        json: Json,
        #[command(flatten)]
        settings: Settings,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Action {
    Pull,
    Push,
    Delete,
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
    let (allowed, why) = explain(&sources, &identity, action, &repository)?;
    let word = if allowed { "allowed" } else { "denied" };
    print(&match json.form() {
        Form::Text => format!("{word}: {why}"),
        Form::Json => serde_json::json!({ "allowed": allowed, "why": why }).to_string(),
    });
    Ok(allowed)
}

fn explain(
    sources: &Sources,
    identity: &Identity,
    action: Action,
    repository: &RepositoryName,
) -> anyhow::Result<(bool, String)> {
    let right = match action {
        Action::Pull => Right::Pull,
        Action::Push => Right::Push,
        Action::Delete => Right::Delete,
    };
    if let Identity::Local(name) = identity
        && sources.read()?.origin(name).is_none()
    {
        return Ok((false, format!("there is no user {name}")));
    }
    let Some(policy) = sources.read_policy().context("auth.policy")? else {
        return Ok(match identity {
            Identity::Local(_) => (true, "without auth.policy, each user may do everything".to_owned()),
            Identity::Anonymous => (false, "without auth.policy, auth.anonymous decides alone".to_owned()),
        });
    };
    Ok(match policy.allows(identity, right, repository) {
        Some(why) if *identity == Identity::Anonymous => (true, format!("{why}, as far as auth.anonymous goes")),
        Some(why) => (true, why),
        None => (false, "no rule allows it".to_owned()),
    })
}
