//! The environment of servers under test: settings of the command line, and portals to store to.

use std::path::Path;

use anyhow::Context;

use crate::server::{Server, ServerOptions};

/// The setting that makes a registry store to portals.
pub const BACKEND: (&str, &str) = ("SKYBERTH_STORAGE_BACKEND", "skynet");
pub const PORTALS: &str = "SKYBERTH_STORAGE_SKYNET_PORTALS";
/// The failure domains of the portals. Without it, portals on loopback are on the registry's own machine.
pub const DOMAINS: &str = "SKYBERTH_STORAGE_SKYNET_DOMAINS";
pub const COPIES: &str = "SKYBERTH_STORAGE_SKYNET_COPIES";

/// Options of checks that start registries.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SurroundingsArgs {
    /// A setting of the started servers, `KEY=VALUE`. May be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    env: Vec<(String, String)>,
    /// Start this many portals. The servers store each piece of content to two of them.
    #[arg(long, default_value_t = 0)]
    portals: usize,
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not KEY=VALUE")),
    }
}

/// Running portals, and the settings of the servers that use them.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// They run as long as this value lives.
    _portals: Vec<Server>,
    pub settings: Vec<(String, String)>,
}

impl SurroundingsArgs {
    /// Starts the portals with data below `folder`.
    pub fn start(&self, binary: &Path, folder: &Path) -> anyhow::Result<Surroundings> {
        let mut settings = Vec::new();
        let portals: Vec<Server> =
            (0..self.portals).map(|number| portal(binary, folder, number, &[])).collect::<anyhow::Result<_>>()?;
        if !portals.is_empty() {
            let urls: Vec<String> = portals.iter().map(|one| format!("http://{}", one.target().authority())).collect();
            settings = storing_to(&urls, 2.min(urls.len()));
        }
        settings.extend_from_slice(&self.env);
        Ok(Surroundings { _portals: portals, settings })
    }
}

/// Starts a portal with data below `folder`.
pub fn portal(binary: &Path, folder: &Path, number: usize, settings: &[(String, String)]) -> anyhow::Result<Server> {
    let options = ServerOptions::new(binary, &folder.join(format!("portal-{number}")))?.portal();
    options.envs(settings).start().with_context(|| format!("start portal {number}"))
}

/// The settings of a registry that stores to these portals.
pub fn storing_to(urls: &[String], copies: usize) -> Vec<(String, String)> {
    let (key, value) = BACKEND;
    // They stand for portals on other machines.
    let domains: Vec<String> = (1..=urls.len()).map(|number| format!("machine {number}")).collect();
    [(key, value.to_owned()), (PORTALS, urls.join(",")), (DOMAINS, domains.join(",")), (COPIES, copies.to_string())]
        .map(|(key, value)| (key.to_owned(), value))
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_has_a_key_and_any_value() {
        assert_eq!(setting("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
        assert_eq!(setting("A="), Ok(("A".to_owned(), String::new())));
        assert!(setting("A").is_err() && setting("=b").is_err());
    }

    #[test]
    fn a_registry_is_told_all_portals() {
        let settings = storing_to(&["http://a:1".to_owned(), "http://b:2".to_owned()], 2);
        assert_eq!(settings[1], (PORTALS.to_owned(), "http://a:1,http://b:2".to_owned()));
        assert_eq!(settings[2], (DOMAINS.to_owned(), "machine 1,machine 2".to_owned()));
        assert_eq!(settings[3].1, "2");
    }
}
