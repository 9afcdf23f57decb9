//! `skyberth user`: the users in the data directory.
//!
//! A running node looks at the file of users on every login, so these commands need not ask it.

use std::io::{BufRead as _, Write as _};

use anyhow::{Context, bail, ensure};
use clap::Subcommand;

use super::render::Form;
use super::{Json, Settings, access, audit, print};
use crate::access::{LocalUsers, Origin, PasswordHash, UserName, Users, generate_password};
use crate::config::Config;
use crate::data_dir::{self, DataDir};
use crate::units::count;

/// Most bytes of a password on standard input.
const MAX_INPUT: u64 = 8 * 1024;

#[derive(Subcommand)]
pub(super) enum UserAction {
    /// Add a user.
    Add {
        /// Name of the user.
        name: UserName,
        #[command(flatten)]
        password: NewPassword,
        #[command(flatten)]
        settings: Settings,
    },
    /// List all users, with the source of each.
    List {
        #[command(flatten)]
        json: Json,
        #[command(flatten)]
        settings: Settings,
    },
    /// Set another password.
    Password {
        /// Name of the user.
        name: UserName,
        #[command(flatten)]
        password: NewPassword,
        #[command(flatten)]
        settings: Settings,
    },
    /// Remove a user.
    Remove {
        /// Name of the user.
        name: UserName,
        #[command(flatten)]
        settings: Settings,
    },
}

#[derive(clap::Args, Clone, Copy, Debug)]
pub(super) struct NewPassword {
    /// Read the password from the first line of standard input. By default one is made and printed once.
    #[arg(long)]
    password_stdin: bool,
}

/// Runs the command.
pub(super) fn run(action: UserAction) -> anyhow::Result<()> {
    match action {
        UserAction::Add { name, password, settings } => {
            let (config, local) = open(&settings)?;
            ensure!(
                origin(&config, &name)?.is_none(),
                "there is a user {name} already: `skyberth user password {name}`"
            );
            set(&local, &name, password)?;
            audit::keep(&config.storage.data, "add user", None, Some(name.to_string()));
            Ok(())
        }
        UserAction::Password { name, password, settings } => {
            let (config, local) = open(&settings)?;
            check_local(&config, &name)?;
            set(&local, &name, password)?;
            audit::keep(&config.storage.data, "set password", None, Some(name.to_string()));
            Ok(())
        }
        UserAction::Remove { name, settings } => {
            let (config, local) = open(&settings)?;
            check_local(&config, &name)?;
            ensure!(local.remove(&name)?, "there is no user {name}");
            print(&format!("removed {name}"));
            audit::keep(&config.storage.data, "remove user", None, Some(name.to_string()));
            // A user of that name that is added later must not have them.
            let revoked = local.revoke_tokens_of(&name)?;
            if revoked > 0 {
                print(&format!("revoked {}", count(revoked as u64, "token")));
            }
            Ok(())
        }
        UserAction::List { json, settings } => {
            let loaded = settings.load_to_read()?;
            list(&users(&loaded.config)?, json.form());
            Ok(())
        }
    }
}

pub(super) fn open(settings: &Settings) -> anyhow::Result<(Config, LocalUsers)> {
    let config = settings.load_to_operate()?.config;
    let data = &config.storage.data;
    ensure!(DataDir::exists(data)?, "{} is not a Skyberth data directory", data.display());
    let local = LocalUsers::in_directory(data_dir::access(data));
    Ok((config, local))
}

fn users(config: &Config) -> anyhow::Result<Users> {
    Ok(access::sources(config, &config.storage.data)?.read()?)
}

fn origin(config: &Config, name: &UserName) -> anyhow::Result<Option<Origin>> {
    Ok(users(config)?.origin(name))
}

/// Fails unless the data directory has this user.
fn check_local(config: &Config, name: &UserName) -> anyhow::Result<()> {
    match origin(config, name)? {
        Some(Origin::Local) => Ok(()),
        Some(other) => bail!("{name} comes from {other}: change it there"),
        None => bail!("there is no user {name}"),
    }
}

fn set(users: &LocalUsers, name: &UserName, password: NewPassword) -> anyhow::Result<()> {
    let given = password.password_stdin.then(read_password).transpose()?;
    let password = given.clone().unwrap_or_else(generate_password);
    if given.is_none() {
        // Before it is stored, so that it is not lost.
        let mut out = std::io::stdout().lock();
        writeln!(out, "{name} has the password {password}, which is not shown again").and_then(|()| out.flush())?;
    }
    users.set(name.clone(), PasswordHash::of(&password))?;
    if given.is_some() {
        print(&format!("{name} has the new password"));
    }
    Ok(())
}

fn read_password() -> anyhow::Result<String> {
    let mut line = String::new();
    let read = std::io::Read::take(std::io::stdin().lock(), MAX_INPUT).read_line(&mut line);
    read.context("read the password from standard input")?;
    let password = line.trim_end_matches(['\r', '\n']);
    ensure!(!password.is_empty(), "the password is empty");
    Ok(password.to_owned())
}

fn list(users: &Users, form: Form) {
    for (name, origin) in users.names() {
        let origin = origin.to_string();
        match form {
            Form::Json => print(&serde_json::json!({ "user": name.as_str(), "source": origin }).to_string()),
            Form::Text => print(&format!("{name:<24} {origin}")),
        }
    }
}
