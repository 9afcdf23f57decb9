//! The last part of a manifest's URL: `<tag-or-digest>`.

use std::fmt;

use super::{Digest, Tag};

/// What a manifest is asked for by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// By a name that may move.
    Tag(Tag),
    /// By content.
    Digest(Digest),
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Tag(tag) => tag.fmt(f),
            Reference::Digest(digest) => digest.fmt(f),
        }
    }
}
