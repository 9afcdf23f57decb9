//! Targets for fuzzing: a configuration file, and the environment.

use crate::config::{Config, ConfigError, Flags, Loaded};
use crate::fuzzing::in_scratch;

/// The text of a file.
pub(crate) fn file(bytes: &[u8]) {
    in_scratch(|directory| {
        let path = directory.join("skyberth.toml");
        std::fs::write(&path, bytes).expect("a scratch file");
        judged(Config::load(Some(&path), std::iter::empty(), Flags::default()));
    });
}

/// A line `NAME=value` for each variable.
pub(crate) fn environment(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let pairs: Vec<_> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    judged(Config::load(None, pairs.into_iter(), Flags::default()));
}

/// Every key has a value and a source; a refusal says something.
fn judged(loaded: Result<Loaded, ConfigError>) {
    match loaded {
        Ok(loaded) => assert_eq!(loaded.settings().len(), loaded.sources.len()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
