//! `Upload-Concat`: uploads that are parts of another upload (TUS 1.0, concatenation).

use content_store::UploadId;

/// Most parts of one upload.
pub(crate) const PARTS_LIMIT: usize = 1024;

/// The relation of an upload to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Concatenation {
    /// A single upload.
    None,
    /// A part of a later upload.
    Partial,
    /// A final upload, made of these parts in this order.
    Final(Vec<UploadId>),
}

/// The header does not follow TUS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConcatenationError {
    #[error("Upload-Concat is neither \"partial\" nor \"final;\" with a list of uploads")]
    Malformed,
    #[error("Upload-Concat names an upload that cannot exist")]
    NoUpload,
    #[error("Upload-Concat names an upload twice")]
    Repeated,
    #[error("Upload-Concat names more than {PARTS_LIMIT} uploads")]
    TooMany,
}

impl Concatenation {
    /// Parses the header. Parts are named by URLs, absolute or not. Only the last segment counts, since clients reach a
    /// portal under several names.
    pub(crate) fn parse(header: Option<&str>) -> Result<Self, ConcatenationError> {
        let header = match header {
            None => return Ok(Concatenation::None),
            Some("partial") => return Ok(Concatenation::Partial),
            Some(header) => header.strip_prefix("final;").ok_or(ConcatenationError::Malformed)?,
        };
        let mut parts: Vec<UploadId> = Vec::new();
        for url in header.split(' ').filter(|url| !url.is_empty()) {
            let url = url.strip_suffix('/').unwrap_or(url);
            let id = url.rsplit('/').next().unwrap_or(url).parse().map_err(|_| ConcatenationError::NoUpload)?;
            // Each part is used only once.
            if parts.contains(&id) {
                return Err(ConcatenationError::Repeated);
            }
            if parts.len() == PARTS_LIMIT {
                return Err(ConcatenationError::TooMany);
            }
            parts.push(id);
        }
        if parts.is_empty() { Err(ConcatenationError::Malformed) } else { Ok(Concatenation::Final(parts)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(byte: u8) -> UploadId {
        UploadId::from_random([byte; 16])
    }

    #[test]
    fn parts_are_named_by_any_url() {
        let [a, b, c] = [id(1), id(2), id(3)];
        let header = format!("final;/skynet/tus/{a} https://portal.example/skynet/tus/{b}/  {c}");
        assert_eq!(Concatenation::parse(Some(&header)), Ok(Concatenation::Final(vec![a, b, c])));
        assert_eq!(Concatenation::parse(Some("partial")), Ok(Concatenation::Partial));
        assert_eq!(Concatenation::parse(None), Ok(Concatenation::None));
    }

    #[test]
    fn anything_else_is_refused() {
        use ConcatenationError::{Malformed, NoUpload, Repeated, TooMany};
        let twice = format!("final;/{0} /{0}", id(1));
        let many: Vec<String> = (0..=PARTS_LIMIT as u128).map(|n| format!("{n:032x}")).collect();
        let many = format!("final;{}", many.join(" "));
        for (header, error) in [
            ("", Malformed),
            ("Partial", Malformed),
            ("final", Malformed),
            ("final;", Malformed),
            ("final;  ", Malformed),
            ("final;/skynet/tus/..", NoUpload),
            ("final;/skynet/tus/", NoUpload),
            (&twice, Repeated),
            (&many, TooMany),
        ] {
            assert_eq!(Concatenation::parse(Some(header)), Err(error), "{:?}", &header[..header.len().min(80)]);
        }
    }

    proptest! {
        #[test]
        fn no_header_panics(header in "(final;)?[0-9a-f/ ;]{0,80}|.{0,40}") {
            if let Ok(Concatenation::Final(parts)) = Concatenation::parse(Some(&header)) {
                prop_assert!(parts.len() * 32 <= header.len());
            }
        }
    }
}
