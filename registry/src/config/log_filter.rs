//! `log.level`: selects log lines by level and module.

use std::fmt;

/// Our own crates. Others write no `debug` lines unless the filter names them: theirs are about connections and frames,
/// and there are many.
const OURS: [&str; 7] = ["skyberth", "portal", "serving", "backends", "content_store", "skynet_formats", "tls_roots"];

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// Why a text is not a valid filter. Without this error, an invalid filter would silence the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLogFilter {
    /// A part is neither a level nor a directive.
    #[error(
        "`{part}` is not a level{hint}; write error, warn, info, debug or trace, or directives such as info,skyberth::server=debug"
    )]
    NotALevel {
        /// The part of the filter.
        part: String,
        /// The level that was probably meant.
        hint: &'static str,
    },
    /// The module of a directive is not a module path.
    #[error("`{0}` is not a module; write for example skyberth::server=debug")]
    NotAModule(String),
    /// A part between commas is empty.
    #[error("a level is empty; write for example info")]
    Empty,
}

/// A valid `log.level`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter {
    /// The level of modules without a directive.
    level: String,
    /// Directives: a module and its level.
    directives: Vec<(String, String)>,
}

impl std::str::FromStr for LogFilter {
    type Err = InvalidLogFilter;

    fn from_str(text: &str) -> Result<Self, InvalidLogFilter> {
        let mut filter = LogFilter { level: "info".to_owned(), directives: Vec::new() };
        for part in text.split(',').map(str::trim) {
            match part.split_once('=') {
                _ if part.is_empty() => return Err(InvalidLogFilter::Empty),
                None => filter.level = level(part)?,
                Some((module, _)) if !is_module(module) => return Err(InvalidLogFilter::NotAModule(module.to_owned())),
                Some((module, of)) => filter.directives.push((module.to_owned(), level(of)?)),
            }
        }
        Ok(filter)
    }
}

/// Parses a level, ignoring case.
fn level(text: &str) -> Result<String, InvalidLogFilter> {
    let lower = text.to_ascii_lowercase();
    if LEVELS.contains(&lower.as_str()) {
        return Ok(lower);
    }
    let hint = match lower.as_str() {
        "warning" => " (it is called warn)",
        "err" | "fatal" | "critical" => " (it is called error)",
        "verbose" => " (it is called debug)",
        _ => "",
    };
    Err(InvalidLogFilter::NotALevel { part: text.to_owned(), hint })
}

fn is_module(text: &str) -> bool {
    let in_module = |byte: u8| byte.is_ascii_alphanumeric() || b"_:".contains(&byte);
    !text.is_empty() && text.bytes().all(in_module)
}

impl fmt::Display for LogFilter {
    /// Writes the filter as directives. Other crates are limited to warnings, since some log a lot.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others = if matches!(self.level.as_str(), "error" | "off") { &self.level } else { "warn" };
        f.write_str(others)?;
        let ours = OURS.iter().map(|name| (*name, self.level.as_str()));
        let named = self.directives.iter().map(|(module, level)| (module.as_str(), level.as_str()));
        ours.chain(named).try_for_each(|(module, level)| write!(f, ",{module}={level}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> Result<LogFilter, InvalidLogFilter> {
        text.parse()
    }

    #[test]
    fn a_word_that_is_no_level_is_refused_and_silences_nothing() {
        for (text, said) in [
            ("warning", "called warn"),
            ("verbose", "called debug"),
            ("loud", "`loud` is not a level;"),
            ("info,skyberth", "`skyberth` is not a level"),
            ("info,skyberth=loud", "`loud` is not a level"),
            ("3", "`3` is not a level"),
            ("===", "is not a module"),
            ("a b=info", "is not a module"),
            ("", "empty"),
            ("info,", "empty"),
        ] {
            let error = filter(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
        assert_eq!(filter("WARN"), filter("warn"));
    }

    #[test]
    fn others_talk_at_debug_only_if_they_are_named() {
        let shown = |text: &str| filter(text).unwrap().to_string();
        assert!(shown("debug").starts_with("warn,skyberth=debug,") && !shown("debug").contains("hyper"));
        assert!(shown("debug,hyper=debug").ends_with(",hyper=debug"));
        assert!(shown("error").starts_with("error,skyberth=error,"));
        assert!(shown("skyberth::server=debug").contains("skyberth=info,"), "a module alone silences nothing else");
    }

    /// A crate missing from the list would log nothing at `info`.
    #[test]
    fn all_our_crates_are_known() {
        let workspace = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")).unwrap();
        let workspace: toml::Table = workspace.parse().unwrap();
        for member in workspace["workspace"]["members"].as_array().unwrap() {
            let member = member.as_str().unwrap();
            let manifest = format!("{}/../{member}/Cargo.toml", env!("CARGO_MANIFEST_DIR"));
            let manifest: toml::Table = std::fs::read_to_string(manifest).unwrap().parse().unwrap();
            let name = manifest["package"]["name"].as_str().unwrap().replace('-', "_");
            assert!(member.starts_with("conformance") || OURS.contains(&name.as_str()), "{name} is missing");
        }
    }
}
