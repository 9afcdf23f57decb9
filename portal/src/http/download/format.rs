//! `format`: how what is at a path goes out.

/// As a query names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Not given: files as they are, directories as [`Format::Zip`].
    Unspecified,
    /// One file after the other, without anything between them.
    Concat,
    /// An archive.
    Zip,
    /// An archive, not compressed.
    Tar,
    /// The same, compressed.
    TarGz,
}

impl Format {
    /// In any case; `None` for what is no format.
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

    /// As it enters entity tags.
    pub(super) fn name(self) -> &'static str {
        match self {
            Format::Unspecified => "",
            Format::Concat => "concat",
            Format::Zip => "zip",
            Format::Tar => "tar",
            Format::TarGz => "targz",
        }
    }

    /// What an archive's name ends with.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Format::Unspecified | Format::Concat => "",
            Format::Zip => ".zip",
            Format::Tar => ".tar",
            Format::TarGz => ".tar.gz",
        }
    }
}
