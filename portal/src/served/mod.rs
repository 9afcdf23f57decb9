//! The part of a skyfile that a request gets, without HTTP, by skyd's rules (`SkyfileMetadata::ServePath`, `ForPath`).

mod path;
mod selection;

pub(crate) use path::serve_path;
pub(crate) use selection::{Piece, Selection, cut};

use skynet_formats::metadata::{Metadata, Subfile};

#[cfg(test)]
mod tests {
    use super::{Metadata, Subfile};

    /// A directory of files of 1, 2, 3 and so on bytes, one after the other.
    pub(super) fn directory(names: &[&str]) -> Metadata {
        let mut metadata = Metadata { filename: "dir".to_owned(), ..Metadata::default() };
        for (name, len) in names.iter().zip(1..) {
            let file = Subfile { filename: (*name).to_owned(), offset: metadata.length, len, ..Subfile::default() };
            metadata.subfiles.insert((*name).to_owned(), file);
            metadata.length += len;
        }
        metadata
    }
}
