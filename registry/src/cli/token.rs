//! `skyberth token`: personal tokens of users, and tokens of robots, in the data directory.
//!
//! A running node looks at the file of tokens on every request, so these commands need not ask it.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use clap::Subcommand;

use super::render::Form;
use super::user::open;
use super::{Json, Settings, access, audit, print};
use crate::access::{LocalUsers, NewToken, PersonalToken, Reach, ScopePattern, UserName, is_robot};
use crate::config::{Config, TimeSpan};
use crate::data_dir;
use crate::units;

#[derive(Subcommand)]
pub(super) enum TokenAction {
    /// Make a token, which takes the place of a password, and print it once.
    Create {
        /// The user that it stands for, or a robot: a name that begins with robot+, and needs no user.
        owner: UserName,
        /// Limit it to PATTERN:ACTIONS, such as team/**:pull,push. May be repeated. By default it may do all that its owner may.
        #[arg(long = "scope", value_name = "PATTERN:ACTIONS")]
        scopes: Vec<ScopePattern>,
        /// Time until it ends, such as 90d. 0: it never ends.
        #[arg(long, value_name = "TIME", default_value = "90d")]
        expires: TimeSpan,
        /// What it is for.
        #[arg(long, value_name = "TEXT", default_value = "")]
        note: String,
        #[command(flatten)]
        settings: Settings,
    },
    /// List tokens, without their secrets.
    List {
        /// Only those of this user or robot.
        owner: Option<UserName>,
        #[command(flatten)]
        json: Json,
        #[command(flatten)]
        settings: Settings,
    },
    /// Revoke a token. It ends with the next request.
    Revoke {
        /// The id, as `skyberth token list` shows it.
        id: String,
        #[command(flatten)]
        settings: Settings,
    },
}

/// Runs the command.
pub(super) fn run(action: TokenAction) -> anyhow::Result<()> {
    match action {
        TokenAction::Create { owner, scopes, expires, note, settings } => {
            let (config, local) = open(&settings)?;
            check_owner(&config, &owner)?;
            let now = now();
            let span = expires.duration().as_secs();
            let expires = (span > 0).then(|| now.saturating_add(span));
            let new = NewToken { owner: owner.clone(), scopes, expires, note };
            let id = local.make_token(new, now, |token| {
                let mut out = std::io::stdout().lock();
                writeln!(out, "{owner} has the token {token}, which is not shown again")?;
                out.flush()
            })?;
            audit::keep(&config.storage.data, "create token", None, Some(format!("{id} of {owner}")));
            let end = expires.map_or_else(|| "never ends".to_owned(), |time| format!("ends {}", units::time(time)));
            print(&format!("it has the id {id}, and {end}"));
            Ok(())
        }
        TokenAction::List { owner, json, settings } => {
            let config = settings.load_to_read()?.config;
            list(&LocalUsers::in_directory(data_dir::access(&config.storage.data)), owner.as_ref(), json.form())
        }
        TokenAction::Revoke { id, settings } => {
            let (config, local) = open(&settings)?;
            ensure!(local.revoke_token(&id)?, "there is no token {id}: `skyberth token list` shows all");
            audit::keep(&config.storage.data, "revoke token", None, Some(id.clone()));
            print(&format!("revoked {id}"));
            Ok(())
        }
    }
}

/// Fails unless the owner is a robot, or a user that exists.
fn check_owner(config: &Config, owner: &UserName) -> anyhow::Result<()> {
    let is_user = access::sources(config, &config.storage.data)?.read()?.origin(owner).is_some();
    ensure!(is_user || is_robot(owner), "there is no user {owner}; the name of a robot begins with robot+");
    Ok(())
}

fn list(local: &LocalUsers, owner: Option<&UserName>, form: Form) -> anyhow::Result<()> {
    let (tokens, uses, now) = (local.read_tokens()?, local.read_uses()?, now());
    for token in tokens.all().filter(|token| owner.is_none_or(|owner| token.owner == *owner)) {
        print(&line(token, uses.get(&token.id).copied(), now, form));
    }
    Ok(())
}

fn line(token: &PersonalToken, used: Option<u64>, now: u64, form: Form) -> String {
    let scopes = token.reach.as_ref().map_or_else(Vec::new, Reach::words);
    let at = |time: Option<u64>| time.map(units::time);
    match form {
        Form::Json => serde_json::json!({
            "id": token.id, "owner": token.owner.as_str(), "scopes": scopes, "note": token.note,
            "made": units::time(token.made), "expires": at(token.expires), "last_used": at(used),
            "expired": !token.is_valid_at(now),
        })
        .to_string(),
        Form::Text => {
            let scopes = if scopes.is_empty() { "all rights".to_owned() } else { scopes.join(" ") };
            let end = match token.expires {
                None => "never ends".to_owned(),
                Some(time) if time <= now => format!("ended {}", units::time(time)),
                Some(time) => format!("ends {}", units::time(time)),
            };
            let used = used.map_or_else(|| "never used".to_owned(), |time| format!("used {}", units::time(time)));
            let note = if token.note.is_empty() { String::new() } else { format!("  {}", token.note) };
            format!("{}  {:<24} {scopes}  {end}  {used}{note}", token.id, token.owner)
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
