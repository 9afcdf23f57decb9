//! Loads the configuration from defaults, file, environment and flags, the last strongest, and keeps each value's
//! source.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::keys::{get, leaves, only, set};
use super::validate::Faults;
use super::{Config, ConfigError, Fault, Override, Source, environment, file};

/// The program that the flags belong to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Program {
    /// `skyberth serve`, and all commands on its data directory.
    #[default]
    Registry,
    /// `skyberth portal`.
    Portal,
}

/// Values set on the command line.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// The program whose address and directory they set.
    pub program: Program,
    /// `--listen ADDR`, as typed.
    pub listen: Option<String>,
    /// `--data DIR`.
    pub data: Option<PathBuf>,
    /// `--with-portal`.
    pub with_portal: bool,
}

impl Flags {
    fn overrides(self, faults: &mut Vec<Fault>) -> Vec<Override> {
        let (listen, data) = match self.program {
            Program::Registry => ("server.listen", "storage.data"),
            Program::Portal => ("portal.listen", "portal.data"),
        };
        let mut found = Vec::new();
        let mut add = |key: &str, value: Value, flag| {
            found.push(Override { key: key.to_owned(), value, source: Source::Flag(flag) });
        };
        if let Some(text) = self.listen {
            add(listen, Value::String(text), "--listen");
        }
        if self.with_portal {
            add("portal.attached", Value::Boolean(true), "--with-portal");
        }
        match self.data.map(|path| path.into_os_string().into_string()) {
            None => {}
            Some(Ok(text)) => add(data, Value::String(text), "--data"),
            Some(Err(path)) => faults.push(Fault {
                key: data.to_owned(),
                source: Some(Source::Flag("--data")),
                message: format!("{} is not UTF-8", path.display()),
            }),
        }
        found
    }
}

/// A valid configuration.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// Warnings for the operator, one sentence each.
    pub warnings: Vec<String>,
    /// The source of every key.
    pub sources: BTreeMap<String, Source>,
}

impl Config {
    /// Loads the configuration from all four sources. `variables` is the environment. Variables that are not UTF-8 must
    /// be left out, since `std::env::vars` panics on them.
    pub fn load(
        file: Option<&Path>,
        variables: impl Iterator<Item = (String, String)>,
        flags: Flags,
    ) -> Result<Loaded, ConfigError> {
        let defaults = Config::default().to_table();
        let program = flags.program;
        let (mut faults, mut warnings) = (Vec::new(), Vec::new());
        let mut overrides = match file {
            Some(path) => file::read(path, &defaults, &mut faults)?,
            None => Vec::new(),
        };
        overrides.extend(environment::read(variables, &defaults, &mut faults, &mut warnings));
        overrides.extend(flags.overrides(&mut faults));
        let (table, sources) = merge(&defaults, overrides, &mut faults);
        match Config::deserialize(table) {
            Ok(config) => {
                faults.extend(config.faults_with_sources(&sources));
                if faults.is_empty() {
                    if program == Program::Registry {
                        config.warn_without_effect(&sources, &mut warnings);
                    }
                    Ok(Loaded { config, warnings, sources })
                } else {
                    Err(ConfigError::Faults(faults))
                }
            }
            Err(error) => {
                // Each value was tried alone before, so this key's values are valid alone, but not together.
                faults.push(Fault { key: "configuration".to_owned(), source: None, message: error.to_string() });
                Err(ConfigError::Faults(faults))
            }
        }
    }

    /// The configuration as TOML. It contains every key, so it also serves as the list of known keys.
    pub(super) fn to_table(&self) -> Table {
        Table::try_from(self).expect("the configuration is made of text, numbers and booleans only")
    }

    fn faults_with_sources(&self, sources: &BTreeMap<String, Source>) -> Vec<Fault> {
        let mut faults = Faults::default();
        self.find_faults(&mut faults);
        let set = |source: &&Source| **source != Source::Default;
        let with_source = |fault: Fault| Fault { source: sources.get(&fault.key).filter(set).cloned(), ..fault };
        faults.0.into_iter().map(with_source).collect()
    }
}

/// Puts `overrides` over `defaults`, the last strongest. A value of the wrong type becomes a fault and is left out, so
/// that the remaining values can be checked.
fn merge(defaults: &Table, overrides: Vec<Override>, faults: &mut Vec<Fault>) -> (Table, BTreeMap<String, Source>) {
    let mut table = defaults.clone();
    let mut sources: BTreeMap<String, Source> =
        leaves(defaults).into_iter().map(|key| (key, Source::Default)).collect();
    for Override { key, value, source } in overrides {
        match Config::deserialize(only(&key, value.clone())) {
            Ok(_) => {
                set(&mut table, &key, value);
                sources.insert(key, source);
            }
            Err(error) => {
                let message = plain(error.message());
                faults.push(Fault { key, source: Some(source), message });
            }
        }
    }
    (table, sources)
}

/// Says in plain words what a value must be. The value itself is left out, since it may be a secret; errors of our own
/// types name it.
fn plain(message: &str) -> String {
    let Some((found, expected)) = message.rsplit_once(", expected ") else { return message.to_owned() };
    if let Some(word) = found.strip_prefix("unknown variant ") {
        return format!("{word} is unknown; write {}", expected.trim_start_matches("one of "));
    }
    let expected = match expected {
        "usize" | "u64" | "u32" => "a whole number from 0",
        "a boolean" => "true or false",
        "a string" => "text in quotes",
        "a sequence" => r#"a list, such as ["a", "b"]"#,
        other => other,
    };
    format!("must be {expected}")
}

impl Loaded {
    /// The whole configuration as TOML, each value with its source in a comment.
    pub fn effective(&self) -> String {
        let mut text = String::new();
        let mut section = String::new();
        for Setting { key, value, source } in self.settings() {
            let (parent, name) = key.rsplit_once('.').unwrap_or(("", &key));
            if parent != section {
                let gap = if text.is_empty() { "" } else { "\n" };
                text.extend([gap, "[", parent, "]\n"]);
                parent.clone_into(&mut section);
            }
            text.extend([name, " = ", &value.to_string(), "  # ", &source, "\n"]);
        }
        text
    }

    /// All keys with their values, section by section.
    pub fn settings(&self) -> Vec<Setting> {
        let table = self.config.to_table();
        // Sorted by section, since TOML would take all that follows `[storage.skynet]` as part of it.
        let mut keys: Vec<_> = self.sources.iter().collect();
        keys.sort_by_key(|(key, _)| key.rsplit_once('.').unwrap_or(("", key)).0);
        let setting = |(key, source): (&String, &Source)| {
            Some(Setting { key: key.clone(), value: get(&table, key)?.clone(), source: source.to_string() })
        };
        keys.into_iter().filter_map(setting).collect()
    }
}

/// A key of the configuration with its value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// Its path.
    pub key: String,
    /// The value in force.
    pub value: Value,
    /// The source of that value.
    pub source: String,
}
