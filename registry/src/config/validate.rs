//! The faults of a configuration, each with the path of its key.

use std::fmt;

use super::{ByteSize, Source, TimeSpan};

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Path of the key, such as `server.listen`.
    pub key: String,
    /// The source of the value, if known.
    pub source: Option<Source>,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{} ({source}): {}", self.key, self.message),
            None => write!(f, "{}: {}", self.key, self.message),
        }
    }
}

/// All faults, in the order found.
#[derive(Debug, Default)]
pub(super) struct Faults(pub(super) Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, key: &str, message: impl Into<String>) {
        self.0.push(Fault { key: key.to_owned(), source: None, message: message.into() });
    }

    pub(super) fn at_least_one(&mut self, key: &str, value: usize) {
        if value == 0 {
            self.add(key, "must be at least 1");
        }
    }

    pub(super) fn not_zero(&mut self, key: &str, value: TimeSpan) {
        if value.is_zero() {
            self.add(key, "must be longer than 0s");
        }
    }

    /// Adds a fault unless the text is empty, or an `http` or `https` URL that can be followed by a path.
    pub(super) fn url(&mut self, key: &str, url: &str) {
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        let in_url = |byte: u8| byte.is_ascii_graphic() && !b"?#@\"<>\\".contains(&byte);
        let is_url = rest.is_some_and(|rest| !rest.starts_with('/') && !rest.is_empty() && rest.bytes().all(in_url));
        if !url.is_empty() && (!is_url || url.ends_with('/')) {
            let section = key.split('.').next().unwrap_or(key);
            let host = if section == "server" { "registry" } else { section };
            self.add(key, format!("write a URL without a slash at its end, such as https://{host}.example"));
        }
    }

    pub(super) fn size_within(&mut self, key: &str, value: ByteSize, least: ByteSize, most: ByteSize) {
        if value < least || value > most {
            self.add(key, format!("{value} is not between {least} and {most}"));
        }
    }
}
