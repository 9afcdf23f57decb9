//! The list of faults of one configuration, each with the path of its key.

use std::fmt;

use super::{ByteSize, Source, TimeSpan};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Path of the key, such as `server.listen`.
    pub key: String,
    /// Where the value was given, if that is known.
    pub source: Option<Source>,
    /// What is wrong, with what would be right.
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

/// All that is wrong, in the order of finding.
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

    pub(super) fn size_within(&mut self, key: &str, value: ByteSize, least: ByteSize, most: ByteSize) {
        if value < least || value > most {
            self.add(key, format!("{value} is not between {least} and {most}"));
        }
    }
}
