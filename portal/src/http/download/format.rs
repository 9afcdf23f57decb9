//! `format`: the form in which the content at a path is sent.

/// A format as named by a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// No format given: files unchanged, directories as [`Format::Zip`].
    Unspecified,
    /// All files concatenated, with nothing between them.
    Concat,
    /// A ZIP archive.
    Zip,
    /// A TAR archive, not compressed.
    Tar,
    /// A compressed TAR archive.
    TarGz,
}

impl Format {
    /// Parses a format in upper or lower case; `None` if it is unknown.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "" => Format::Unspecified,
            "concat" => Format::Concat,
            "zip" => Format::Zip,
            "tar" => Format::Tar,
            "targz" => Format::TarGz,
            _ => return None,
        })
    }

    /// The name of the format in entity tags.
    pub(super) fn name(self) -> &'static str {
        match self {
            Format::Unspecified => "",
            Format::Concat => "concat",
            Format::Zip => "zip",
            Format::Tar => "tar",
            Format::TarGz => "targz",
        }
    }

    /// The extension of an archive's name.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Format::Unspecified | Format::Concat => "",
            Format::Zip => ".zip",
            Format::Tar => ".tar",
            Format::TarGz => ".tar.gz",
        }
    }
}
