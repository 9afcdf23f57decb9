//! Opens the users of a node, and makes the first one where nobody could log in.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;

use super::print;
use crate::access::{
    Access, Everybody, LocalUsers, PasswordHash, Repositories, Sources, TokenSettings, UserName, decode_key,
    generate_password, parse_words,
};
use crate::catalog::Catalog;
use crate::config::{Backend, Challenge, Config};
use crate::data_dir;

/// The name of the first user.
const FIRST: &str = "admin";

/// All sources of users. `data` is the data directory.
pub(super) fn sources(config: &Config, data: &Path) -> anyhow::Result<Sources> {
    Ok(Sources {
        settings: parse_words(config.auth.users.expose()).context("auth.users")?,
        htpasswd: config.auth.htpasswd.clone(),
        local: LocalUsers::in_directory(data_dir::access(data)),
        policy: policy(config),
    })
}

/// Reads the users of a node that starts, and makes the first user if it needs one. `host` is shown to log in at. Blocks.
pub(super) fn open(config: &Config, data: &Path, host: &str, catalog: &Catalog) -> anyhow::Result<Arc<Access>> {
    let (sources, tokens) = (sources(config, data)?, tokens(config, data));
    let catalog = catalog.clone();
    let repositories = Repositories::by(move |name| catalog.repository(name));
    let access = Access::open(sources, repositories, config.auth.anonymous.rights(), config.is_public(), tokens)?;
    if access.needs_first_user() {
        make_first_user(access.local_users(), host)?;
    }
    Ok(Arc::new(access))
}

/// What callers without a login may do, once the node has these settings.
pub(super) fn everybody(config: &Config, sources: &Sources) -> anyhow::Result<Everybody> {
    let users = sources.read()?;
    let setting = config.auth.anonymous.rights();
    Ok(setting.unwrap_or_else(|| sources.default_of_everybody(config.is_public(), &users)))
}

/// The file of the policy, if there is one.
pub(super) fn policy(config: &Config) -> Option<PathBuf> {
    let path = &config.auth.policy;
    (!path.as_os_str().is_empty()).then(|| path.clone())
}

/// The settings of the issuer of tokens; `None` if clients are to log in by Basic authentication only.
fn tokens(config: &Config, data: &Path) -> Option<TokenSettings> {
    let service = config.server.url.split_once("://").map_or("skyberth", |(_, host)| host);
    (config.auth.challenge == Challenge::Bearer).then(|| TokenSettings {
        lifetime: config.auth.token_lifetime.duration(),
        service: service.to_owned(),
        key: decode_key(config.auth.token_key.expose()),
        directory: data_dir::access(data),
    })
}

/// Prints the password before its hash is stored: a crash in between makes another one, and none is lost.
fn make_first_user(users: &LocalUsers, host: &str) -> anyhow::Result<()> {
    let (name, password): (UserName, String) = (FIRST.parse()?, generate_password());
    let mut out = std::io::stdout().lock();
    let shown = writeln!(out, "first user:     {name}, with the password {password}, which is not shown again")
        .and_then(|()| writeln!(out, "log in with:    docker login --username {name} --password {password} {host}"))
        .and_then(|()| out.flush());
    shown.context("print the password of the first user")?;
    users.set(name, PasswordHash::of(&password))?;
    Ok(())
}

/// The host that clients reach the node at, for the commands that it prints.
pub(super) fn host(config: &Config, address: SocketAddr) -> String {
    match config.server.url.split_once("://") {
        Some((_, host)) => host.to_owned(),
        None => local_host(address),
    }
}

/// The address of the listener, as programs on this machine can use it.
pub(super) fn local_host(address: SocketAddr) -> String {
    if address.ip().is_unspecified() { format!("localhost:{}", address.port()) } else { address.to_string() }
}

/// Prints what callers without a login may do.
pub(super) fn greet(config: &Config, access: &Access) {
    let everybody = access.everybody();
    print(&format!("without login:  {}", everybody.words()));
    let is_reachable = config.server.plain_addresses().iter().any(|address| !address.ip().is_loopback());
    let is_open = is_reachable && config.server.trusted_proxies.is_empty();
    if access.asks_for_logins() && is_open && !config.server.url.starts_with("https://") {
        tracing::warn!("passwords reach this node unencrypted, unless a proxy in front of it adds TLS");
    }
    if config.storage.private && config.storage.backend != Backend::Fs {
        tracing::warn!("storage.private: at portals, all that know the address of private content can read it");
    }
    if everybody >= Everybody::Push && config.is_public() {
        tracing::warn!(may = everybody.words(), "callers without a login may change a node that others can reach");
    }
}
