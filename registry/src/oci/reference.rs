//! The last part of a manifest's URL: `<tag-or-digest>`.

use std::fmt;

use super::{Digest, Tag};

/// How a request names a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// By tag, which may move.
    Tag(Tag),
    /// By digest.
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
