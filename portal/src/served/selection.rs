//! From the path served to bytes: a subfile, a directory, or the whole skyfile.

use std::borrow::Cow;

use super::{Metadata, Subfile};

/// A range of a skyfile's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The offset of the first byte.
    pub(crate) first: u64,
    /// The number of bytes.
    pub(crate) length: u64,
}

/// The content at a path.
#[derive(Clone, Debug)]
pub(crate) struct Selection<'a> {
    /// The path, or the skyfile's own name at the root.
    pub(crate) name: String,
    /// The subfiles in the order of their bytes; empty if the skyfile has none.
    pub(crate) files: Vec<&'a Subfile>,
    /// True if the path is that of a subfile.
    pub(crate) is_file: bool,
    /// The ranges of bytes; adjacent ones are joined.
    pub(crate) pieces: Vec<Piece>,
}

/// A file of an archive, and its ranges.
pub(crate) type Archived<'a> = (Cow<'a, Subfile>, Vec<Piece>);

/// Reasons why nothing can be served at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SelectError {
    /// There is neither a subfile nor a directory.
    #[error("no such path")]
    NotFound,
    /// The metadata, written by any client, describes impossible subfiles.
    #[error("the metadata names bytes that the skyfile does not have")]
    OutOfBounds,
}

impl<'a> Selection<'a> {
    /// The content at `path` in a skyfile of `size` bytes; `/` is all of it.
    pub(crate) fn new(metadata: &'a Metadata, size: u64, path: &str) -> Result<Self, SelectError> {
        if path == "/" {
            let pieces = if size == 0 { Vec::new() } else { vec![Piece { first: 0, length: size }] };
            let files = in_order(metadata.subfiles.values());
            return Ok(Selection { name: metadata.filename.clone(), files, is_file: false, pieces });
        }
        let name = path.strip_prefix('/').unwrap_or(path);
        let exact = metadata.subfiles.get(name);
        let files = exact.map_or_else(|| below(metadata, name), |file| vec![file]);
        if files.is_empty() {
            return Err(SelectError::NotFound);
        }
        let pieces = pieces(&files, size)?;
        Ok(Selection { name: path.to_owned(), files, is_file: exact.is_some(), pieces })
    }

    /// Length of the selection in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.length).sum()
    }

    /// The media type declared by the uploader; only a single subfile has one.
    pub(crate) fn declared_type(&self) -> Option<&str> {
        match self.files.as_slice() {
            [file] if !file.content_type.is_empty() => Some(&file.content_type),
            _ => None,
        }
    }

    /// True for a directory, which is sent as an archive unless another format is requested.
    pub(crate) fn is_directory(&self) -> bool {
        match self.files.as_slice() {
            [] => false,
            [file] => !self.is_file && file.filename != self.name,
            _ => true,
        }
    }

    /// The files of an archive, each with its ranges. A skyfile without subfiles is one file.
    pub(crate) fn archived(&self, size: u64) -> Result<Vec<Archived<'a>>, SelectError> {
        if self.files.is_empty() {
            let file = Subfile { filename: self.name.clone(), len: self.size(), ..Subfile::default() };
            return Ok(vec![(Cow::Owned(file), self.pieces.clone())]);
        }
        pieces(&self.files, size)?;
        let file = |file: &&'a Subfile| (Cow::Borrowed(*file), piece(file).into_iter().collect());
        Ok(self.files.iter().map(file).collect())
    }
}

/// `length` bytes of these ranges, from their byte `first` on.
pub(crate) fn cut(pieces: &[Piece], first: u64, length: u64) -> Vec<Piece> {
    let (mut skip, mut left) = (first, length);
    let mut cut = Vec::new();
    for piece in pieces {
        if skip >= piece.length {
            skip -= piece.length;
            continue;
        }
        let length = left.min(piece.length - skip);
        if length == 0 {
            break;
        }
        cut.push(Piece { first: piece.first + skip, length });
        (skip, left) = (0, left - length);
    }
    cut
}

/// The files of a directory and its subdirectories.
fn below<'a>(metadata: &'a Metadata, directory: &str) -> Vec<&'a Subfile> {
    let prefix = format!("{}/", directory.strip_suffix('/').unwrap_or(directory));
    let from_there = metadata.subfiles.range(prefix.clone()..);
    in_order(from_there.take_while(|(name, _)| name.starts_with(&prefix)).map(|(_, file)| file))
}

fn in_order<'a>(files: impl Iterator<Item = &'a Subfile>) -> Vec<&'a Subfile> {
    let mut files: Vec<&Subfile> = files.collect();
    // An empty file has the offset of the next one.
    files.sort_by_key(|file| (file.offset, file.len));
    files
}

fn piece(file: &Subfile) -> Option<Piece> {
    (file.len > 0).then_some(Piece { first: file.offset, length: file.len })
}

/// The ranges of files, in order. Overlapping files are refused: they would let a small skyfile become an endless
/// download.
fn pieces(files: &[&Subfile], size: u64) -> Result<Vec<Piece>, SelectError> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut end = 0;
    for next in files.iter().filter_map(|file| piece(file)) {
        let next_end = next.first.checked_add(next.length).filter(|end| *end <= size);
        let next_end = next_end.ok_or(SelectError::OutOfBounds)?;
        match pieces.last_mut() {
            Some(_) if next.first < end => return Err(SelectError::OutOfBounds),
            Some(last) if next.first == end => last.length += next.length,
            _ => pieces.push(next),
        }
        end = next_end;
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::super::tests::directory;
    use super::*;
    use proptest::prelude::*;

    /// Bytes 1, 2, 3, 4 and 5 of a skyfile of 15, in this order.
    fn five() -> Metadata {
        directory(&["foo/file1.txt", "foo/file2.txt", "file3.txt", "bar/file4.txt", "bar/baz/file5.txt"])
    }

    fn select<'a>(metadata: &'a Metadata, path: &str) -> Result<Selection<'a>, SelectError> {
        Selection::new(metadata, 15, path)
    }

    fn names<'a>(selection: &Selection<'a>) -> Vec<&'a str> {
        selection.files.iter().map(|file| file.filename.as_str()).collect()
    }

    #[test]
    fn a_path_names_a_file_or_a_directory() {
        let five = five();
        let file = select(&five, "/foo/file2.txt").unwrap();
        assert!(file.is_file && !file.is_directory());
        assert_eq!(file.pieces, [Piece { first: 1, length: 2 }]);
        assert_eq!(file.name, "/foo/file2.txt");
        for path in ["/foo", "/foo/"] {
            let foo = select(&five, path).unwrap();
            assert_eq!(names(&foo), ["foo/file1.txt", "foo/file2.txt"]);
            assert!(foo.is_directory() && !foo.is_file);
            assert_eq!(foo.pieces, [Piece { first: 0, length: 3 }]);
        }
        let lone = select(&five, "/bar/baz/").unwrap();
        assert_eq!(names(&lone), ["bar/baz/file5.txt"]);
        assert!(lone.is_directory());
        for path in ["/nonexistent", "/fo", "/file", "/b", "/bar/ba", "//", "/foo/file1.txt/x"] {
            assert_eq!(select(&five, path).unwrap_err(), SelectError::NotFound, "{path}");
        }
    }

    #[test]
    fn a_file_without_subfiles_has_no_paths() {
        let metadata = Metadata { filename: "raw".to_owned(), length: 15, ..Metadata::default() };
        assert_eq!(select(&metadata, "/raw").unwrap_err(), SelectError::NotFound);
        let root = select(&metadata, "/").unwrap();
        assert!(!root.is_directory());
        assert_eq!(root.archived(15).unwrap()[0].0.filename, "raw");
    }

    #[test]
    fn a_directory_whose_files_lie_apart_has_only_their_bytes() {
        let mut metadata = directory(&["a/1", "b/2", "a/3"]);
        let a = Selection::new(&metadata, 6, "/a").unwrap();
        assert_eq!(a.pieces, [Piece { first: 0, length: 1 }, Piece { first: 3, length: 3 }]);
        assert_eq!(cut(&a.pieces, 0, 2), [Piece { first: 0, length: 1 }, Piece { first: 3, length: 1 }]);
        assert_eq!(cut(&a.pieces, 2, 9), [Piece { first: 4, length: 2 }]);
        metadata.subfiles.get_mut("a/3").unwrap().offset = 0;
        assert_eq!(Selection::new(&metadata, 6, "/a").unwrap_err(), SelectError::OutOfBounds);
    }

    #[test]
    fn what_lies_outside_of_the_skyfile_is_refused() {
        for (offset, len) in [(14, 2), (15, 1), (u64::MAX, 2), (0, u64::MAX)] {
            let mut metadata = directory(&["a"]);
            let file = metadata.subfiles.get_mut("a").unwrap();
            (file.offset, file.len) = (offset, len);
            assert_eq!(select(&metadata, "/a").unwrap_err(), SelectError::OutOfBounds, "{offset} {len}");
            assert_eq!(select(&metadata, "/").unwrap().archived(15).unwrap_err(), SelectError::OutOfBounds);
        }
    }

    proptest! {
        #[test]
        fn pieces_lie_in_the_skyfile(
            files in prop::collection::vec(("[ab/]{0,5}", 0_u64..20, 0_u64..8), 0..5),
            path in "/[ab/]{0,4}", size in 0_u64..20, first in 0_u64..25, length in 0_u64..25,
        ) {
            let mut metadata = Metadata::default();
            for (filename, offset, len) in files {
                let file = Subfile { filename: filename.clone(), offset, len, ..Subfile::default() };
                metadata.subfiles.insert(filename, file);
            }
            if let Ok(selection) = Selection::new(&metadata, size, &path) {
                let all: Vec<u64> = selection.pieces.iter().flat_map(|p| p.first..p.first + p.length).collect();
                prop_assert!(all.iter().all(|at| *at < size));
                prop_assert_eq!(all.len() as u64, selection.size());
                let cut: Vec<u64> = cut(&selection.pieces, first, length).iter().flat_map(|p| p.first..p.first + p.length).collect();
                let wanted: Vec<u64> = all.iter().copied().skip(first as usize).take(length as usize).collect();
                prop_assert_eq!(cut, wanted);
                if let Ok(archived) = selection.archived(size) {
                    let total: u64 = archived.iter().map(|(file, _)| file.len).sum();
                    prop_assert!(total <= size);
                }
            }
        }
    }
}
