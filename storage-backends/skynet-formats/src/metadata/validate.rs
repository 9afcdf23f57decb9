//! The rules of skyd for metadata, and the rule that subfiles tile the content.

use std::collections::BTreeMap;

use super::{Metadata, Subfile};

/// Statuses that may have an error page.
const ERROR_STATUSES: std::ops::RangeInclusive<u16> = 400..=599;

/// The bytes are not metadata, or the metadata is inconsistent.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// The JSON is not skyfile metadata.
    #[error("malformed skyfile metadata")]
    Malformed(#[source] serde_json::Error),
    /// A file name that is empty, absolute, or has empty, `.` or `..` parts.
    #[error("invalid file name {0:?}")]
    InvalidPath(String),
    /// A subfile's key differs from its own name.
    #[error("the subfile {0:?} has another name in itself")]
    SubfileName(String),
    /// Lengths or offsets of subfiles do not add up to the length.
    #[error("the subfiles do not make up the {0} bytes of the file")]
    Lengths(u64),
    /// There is a default path, although it is disabled.
    #[error("defaultpath and disabledefaultpath exclude each other")]
    DefaultPathDisabled,
    /// No subfile at the root has that path.
    #[error("invalid default path {0:?}")]
    DefaultPath(String),
    /// Try-files and a default path exclude each other.
    #[error("tryfiles exclude defaultpath and disabledefaultpath")]
    TryFilesWithDefaultPath,
    /// The try-file is empty, an absolute path without subfile, or a second absolute one.
    #[error("invalid tryfile {0:?}")]
    TryFile(String),
    /// The status is not in 400 to 599.
    #[error("an error page for the status {0}")]
    ErrorStatus(u16),
    /// Not the absolute path of a subfile.
    #[error("invalid error page {0:?}")]
    ErrorPage(String),
}

impl Metadata {
    /// Checks all rules of skyd, and that subfiles lie in the content without overlap.
    pub fn validate(&self) -> Result<(), MetadataError> {
        validate_path(&self.filename)?;
        for (name, subfile) in &self.subfiles {
            if *name != subfile.filename {
                return Err(MetadataError::SubfileName(name.clone()));
            }
            validate_path(name)?;
        }
        self.validate_lengths()?;
        self.validate_default_path()?;
        self.validate_try_files()?;
        self.validate_error_pages()
    }

    /// The content's length. Early files have it in their subfiles only.
    pub fn content_length(&self) -> u64 {
        match self.length {
            0 => self.subfiles.values().fold(0, |sum, subfile| sum.saturating_add(subfile.len)),
            length => length,
        }
    }

    fn validate_lengths(&self) -> Result<(), MetadataError> {
        let length = self.content_length();
        let mut parts: Vec<&Subfile> = self.subfiles.values().collect();
        parts.sort_by_key(|subfile| (subfile.offset, subfile.len));
        // An empty subfile may be anywhere in the content; skyd gives it the offset of the next one.
        let end = parts.iter().try_fold(0_u64, |end, subfile| match subfile.len {
            0 => (subfile.offset <= length).then_some(end),
            len => (subfile.offset == end).then(|| end.checked_add(len)).flatten(),
        });
        let complete = self.subfiles.is_empty() || end == Some(length);
        if complete { Ok(()) } else { Err(MetadataError::Lengths(self.length)) }
    }

    fn validate_default_path(&self) -> Result<(), MetadataError> {
        let path = &self.default_path;
        if path.is_empty() {
            return Ok(());
        }
        if self.disable_default_path {
            return Err(MetadataError::DefaultPathDisabled);
        }
        let name = path.strip_prefix('/').unwrap_or(path);
        if name.contains('/') || !self.subfiles.contains_key(name) {
            return Err(MetadataError::DefaultPath(path.clone()));
        }
        Ok(())
    }

    fn validate_try_files(&self) -> Result<(), MetadataError> {
        if self.try_files.is_empty() {
            return Ok(());
        }
        if self.disable_default_path || !self.default_path.is_empty() {
            return Err(MetadataError::TryFilesWithDefaultPath);
        }
        let mut absolute = 0;
        for path in &self.try_files {
            absolute += usize::from(path.starts_with('/'));
            let known = !path.starts_with('/') || is_absolute_subfile(&self.subfiles, path);
            if path.is_empty() || !known || absolute > 1 {
                return Err(MetadataError::TryFile(path.clone()));
            }
        }
        Ok(())
    }

    fn validate_error_pages(&self) -> Result<(), MetadataError> {
        for (status, path) in &self.error_pages {
            if !ERROR_STATUSES.contains(status) {
                return Err(MetadataError::ErrorStatus(*status));
            }
            if !is_absolute_subfile(&self.subfiles, path) {
                return Err(MetadataError::ErrorPage(path.clone()));
            }
        }
        Ok(())
    }
}

fn is_absolute_subfile(subfiles: &BTreeMap<String, Subfile>, path: &str) -> bool {
    path.strip_prefix('/').is_some_and(|name| subfiles.contains_key(name))
}

/// Checks that the path is relative and its parts are names.
fn validate_path(path: &str) -> Result<(), MetadataError> {
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(MetadataError::InvalidPath(path.to_owned()));
    }
    Ok(())
}
