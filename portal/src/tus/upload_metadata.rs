//! `Upload-Metadata`: the client's description of its upload (TUS 1.0, creation).

use data_encoding::BASE64;
use skynet_formats::go_encoding::base64;

/// Longest header in bytes: room for the `skyfilemetadata` of a directory with several hundred files.
pub(crate) const UPLOAD_METADATA_LIMIT: usize = 64 * 1024;

/// Unique keys in their order, with their decoded values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UploadMetadata(Vec<(String, Vec<u8>)>);

/// The header does not follow TUS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UploadMetadataError {
    #[error("Upload-Metadata is longer than {UPLOAD_METADATA_LIMIT} bytes")]
    TooLong,
    #[error("a key in Upload-Metadata is empty or not of visible ASCII")]
    Key,
    #[error("the value of {0:?} in Upload-Metadata is not base64")]
    Value(String),
    #[error("Upload-Metadata has {0:?} twice")]
    Repeated(String),
}

impl UploadMetadata {
    /// Parses the header. Other servers skip invalid parts; here a slip shall not cost a file its name.
    pub(crate) fn parse(header: &str) -> Result<Self, UploadMetadataError> {
        if header.len() > UPLOAD_METADATA_LIMIT {
            return Err(UploadMetadataError::TooLong);
        }
        let mut pairs: Vec<(String, Vec<u8>)> = Vec::new();
        if header.trim().is_empty() {
            return Ok(UploadMetadata(pairs));
        }
        for pair in header.split(',') {
            // The space before an empty value is optional.
            let (key, value) = pair.trim().split_once(' ').unwrap_or((pair.trim(), ""));
            if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(UploadMetadataError::Key);
            }
            let value = base64(value.as_bytes()).ok_or_else(|| UploadMetadataError::Value(shorten(key).to_owned()))?;
            if pairs.iter().any(|(earlier, _)| earlier == key) {
                return Err(UploadMetadataError::Repeated(shorten(key).to_owned()));
            }
            pairs.push((key.to_owned(), value));
        }
        Ok(UploadMetadata(pairs))
    }

    /// The header for this metadata; empty if there is none.
    pub(crate) fn to_header(&self) -> String {
        let pairs: Vec<String> = self
            .0
            .iter()
            .map(|(key, value)| match value.is_empty() {
                true => key.clone(),
                false => format!("{key} {}", BASE64.encode(value)),
            })
            .collect();
        pairs.join(",")
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&[u8]> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_slice())
    }

    /// The metadata with another value for a key.
    #[must_use]
    pub(crate) fn with(mut self, key: &str, value: &str) -> Self {
        self.0.retain(|(name, _)| name != key);
        self.0.push((key.to_owned(), value.as_bytes().to_vec()));
        self
    }
}

/// The first characters of a foreign key, for a message.
fn shorten(key: &str) -> &str {
    key.get(..40).unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_skynet_js_sends_is_read() {
        let header = "filename d29ybGRfZG9taW5hdGlvbl9wbGFuLnBkZg==,filetype ";
        let metadata = UploadMetadata::parse(header).unwrap();
        assert_eq!(metadata.get("filename"), Some(&b"world_domination_plan.pdf"[..]));
        assert_eq!(metadata.get("filetype"), Some(&b""[..]));
        assert_eq!(metadata.get("Skylink"), None);
        assert_eq!(UploadMetadata::parse("").unwrap().to_header(), "");
        assert_eq!(
            UploadMetadata::parse("is_confidential, filename YQ==").unwrap().to_header(),
            "is_confidential,filename YQ=="
        );
        assert_eq!(UploadMetadata::parse("filename YR==").unwrap().to_header(), "filename YQ==", "as Go decodes it");
    }

    #[test]
    fn what_other_servers_pass_over_is_refused() {
        use UploadMetadataError::{Key, Repeated, TooLong, Value};
        for (header, error) in [
            ("filename a", Value("filename".to_owned())),
            ("filename YQ", Value("filename".to_owned())),
            ("filename  YQ==", Value("filename".to_owned())),
            ("filename YQ== YQ==", Value("filename".to_owned())),
            ("a YQ==,,b YQ==", Key),
            (",", Key),
            ("\u{e4} YQ==", Key),
            ("a YQ==,a Yg==", Repeated("a".to_owned())),
            (&"a".repeat(UPLOAD_METADATA_LIMIT + 1), TooLong),
        ] {
            assert_eq!(UploadMetadata::parse(header), Err(error), "{:?}", shorten(header));
        }
    }

    #[test]
    fn a_value_that_the_client_gave_is_replaced() {
        let metadata = UploadMetadata::parse("Skylink YQ==,filename YQ==").unwrap().with("Skylink", "b");
        assert_eq!(metadata.to_header(), "filename YQ==,Skylink Yg==");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            pairs in prop::collection::btree_map("[!-+\\--~]{1,8}", prop::collection::vec(any::<u8>(), 0..20), 0..5),
        ) {
            let metadata = UploadMetadata(pairs.into_iter().collect());
            prop_assert_eq!(UploadMetadata::parse(&metadata.to_header()), Ok(metadata));
        }

        #[test]
        fn no_header_panics(header in "[a-c ,=]{0,30}|.{0,30}") {
            if let Ok(metadata) = UploadMetadata::parse(&header) {
                prop_assert_eq!(UploadMetadata::parse(&metadata.to_header()), Ok(metadata));
            }
        }
    }
}
