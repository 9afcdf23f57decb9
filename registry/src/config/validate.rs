//! The faults of a configuration, each with the path of its key.

use std::fmt;

use reqwest::Url;

use super::{ByteSize, Source, TimeSpan};

/// The largest count that any setting accepts. Larger ones are mistakes, and semaphores fail above their own limit.
pub(super) const MAX_COUNT: usize = 1_000_000;

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

    /// Adds a fault unless the value can be the number of permits, sessions or results.
    pub(super) fn count(&mut self, key: &str, value: usize) {
        if !(1..=MAX_COUNT).contains(&value) {
            self.add(key, format!("must be at least 1, and at most {MAX_COUNT}"));
        }
    }

    pub(super) fn not_zero(&mut self, key: &str, value: TimeSpan) {
        if value.is_zero() {
            self.add(key, "must be longer than 0s");
        }
    }

    /// Adds a fault unless the text is empty, or an `http` or `https` URL that can be followed by a path.
    pub(super) fn url(&mut self, key: &str, url: &str) {
        let Some(why) = url_fault(url).filter(|_| !url.is_empty()) else { return };
        let section = key.split('.').next().unwrap_or(key);
        let host = if section == "server" { "registry" } else { section };
        self.add(key, format!("{why}; write for example https://{host}.example"));
    }

    pub(super) fn size_within(&mut self, key: &str, value: ByteSize, least: ByteSize, most: ByteSize) {
        if value < least || value > most {
            self.add(key, format!("{value} is not between {least} and {most}"));
        }
    }
}

/// Why a text is not a URL that can be followed by a path. The text is not repeated, since it may contain a password.
fn url_fault(text: &str) -> Option<String> {
    let in_url = |byte: u8| byte.is_ascii_graphic() && !b"?#\"<>\\".contains(&byte);
    let is_http = text.starts_with("http://") || text.starts_with("https://");
    Some(match Url::parse(text) {
        _ if !is_http => "must begin with http:// or https://".to_owned(),
        Err(error) => format!("is not a URL: {error}"),
        _ if text.contains('@') => "must not contain a user or password".to_owned(),
        _ if text.contains(":///") || !text.bytes().all(in_url) => {
            "must be a host, perhaps with a port and a path".to_owned()
        }
        _ if text.ends_with('/') => "must not end with a slash".to_owned(),
        Ok(_) => return None,
    })
}
