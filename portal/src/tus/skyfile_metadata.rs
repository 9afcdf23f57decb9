//! The skyfile metadata of a resumable upload, as skyd makes it (`skymodules/renter/tus.go` of v1.6.0).

use std::collections::BTreeMap;

use content_store::UploadId;
use skynet_formats::metadata::{Metadata, Subfile};

use super::TusError;
use super::upload_metadata::UploadMetadata;

/// The metadata for `length` bytes. It is the client's `skyfilemetadata`, byte for byte, or one subfile with `filename`
/// and `filetype`. An upload without a name gets one from its id, where skyd draws one at random.
pub(crate) fn skyfile_metadata(upload: &UploadMetadata, length: u64, id: &UploadId) -> Result<Vec<u8>, TusError> {
    if let Some(given) = upload.get("skyfilemetadata") {
        let said = Metadata::parse(given)?.content_length();
        // skyd does not compare them. A skylink with a wrong length in its metadata cannot be read to its end.
        if said != length {
            return Err(TusError::MetadataLength { metadata: said, length });
        }
        return Ok(given.to_vec());
    }
    let filename = text(upload, "filename")?.unwrap_or(id.as_str()).to_owned();
    let content_type = text(upload, "filetype")?.unwrap_or_default().to_owned();
    let subfile = Subfile { filename: filename.clone(), content_type, len: length, ..Subfile::default() };
    let metadata = Metadata {
        filename: filename.clone(),
        length,
        subfiles: BTreeMap::from([(filename, subfile)]),
        ..Metadata::default()
    };
    metadata.validate()?;
    Ok(metadata.to_bytes())
}

fn text<'a>(upload: &'a UploadMetadata, key: &'static str) -> Result<Option<&'a str>, TusError> {
    let value = upload.get(key).map(std::str::from_utf8).transpose();
    value.map_err(|_| TusError::NotUtf8(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::BASE64;

    fn made(pairs: &[(&str, &str)], length: u64) -> Result<String, TusError> {
        let header: Vec<String> =
            pairs.iter().map(|(key, value)| format!("{key} {}", BASE64.encode(value.as_bytes()))).collect();
        let upload = UploadMetadata::parse(&header.join(",")).unwrap();
        let bytes = skyfile_metadata(&upload, length, &UploadId::from_random([0xab; 16]))?;
        Ok(String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn one_subfile_with_its_type_and_no_tryfiles() {
        assert_eq!(
            made(&[("filename", "a b.txt"), ("filetype", "text/plain")], 3).unwrap(),
            r#"{"filename":"a b.txt","length":3,"subfiles":{"a b.txt":{"filename":"a b.txt","contenttype":"text/plain","len":3}}}"#
        );
        assert_eq!(
            made(&[("filename", "a"), ("filetype", "")], 0).unwrap(),
            r#"{"filename":"a","length":0,"subfiles":{"a":{"filename":"a"}}}"#
        );
        assert!(made(&[], 1).unwrap().starts_with(r#"{"filename":"abababababababababababababababab","length":1"#));
    }

    #[test]
    fn given_metadata_are_taken_to_the_byte_and_over_the_name() {
        let given = r#"{ "length":3, "filename":"sha256-00" }"#;
        assert_eq!(made(&[("filename", "other"), ("skyfilemetadata", given)], 3).unwrap(), given);
    }

    #[test]
    fn metadata_that_no_skyfile_can_have_are_refused() {
        assert!(matches!(made(&[("filename", "../a")], 1), Err(TusError::Metadata(_))));
        assert!(matches!(made(&[("filename", "")], 1), Err(TusError::Metadata(_))));
        assert!(matches!(made(&[("skyfilemetadata", "{")], 1), Err(TusError::Metadata(_))));
        let given = r#"{"filename":"a","length":3}"#;
        let error = made(&[("skyfilemetadata", given)], 4).unwrap_err();
        assert!(matches!(error, TusError::MetadataLength { metadata: 3, length: 4 }));
        let upload = UploadMetadata::parse("filename /w==").unwrap();
        let error = skyfile_metadata(&upload, 1, &UploadId::from_random([0; 16])).unwrap_err();
        assert!(matches!(error, TusError::NotUtf8("filename")));
    }
}
