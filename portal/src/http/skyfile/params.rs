//! The parameters of an upload, parsed and checked as in skyd's `parseUploadHeadersAndRequestParameters`.

use std::collections::BTreeMap;

use http::header::CONTENT_TYPE;
use skynet_formats::metadata::Metadata;

use crate::http::error::HttpError;
use crate::http::request::{Request, parse_bool};

/// The description of a file in a request, without its bytes.
#[derive(Debug)]
pub(super) struct UploadParams {
    /// The metadata parameters. Multipart uploads use all of them, raw ones only name and mode.
    pub(super) metadata: Metadata,
    /// Compute the skylink, but store nothing.
    pub(super) dry_run: bool,
    /// The boundary of a multipart body; raw bodies have none.
    pub(super) boundary: Option<String>,
}

impl UploadParams {
    pub(super) fn parse(request: &Request) -> Result<Self, HttpError> {
        let query = &request.query;
        let content_type = request.header(&CONTENT_TYPE).unwrap_or_default();
        let multipart = boundary(content_type)?;
        let mut metadata = Metadata {
            filename: query.get("filename").unwrap_or_default().to_owned(),
            mode: parse_mode(query.get("mode").unwrap_or_default())
                .ok_or_else(|| HttpError::bad_request("unable to parse 'mode' parameter: expected integer"))?,
            ..Metadata::default()
        };
        let dry_run = parse_bool(request, "dryrun")?;
        let force = parse_bool(request, "force")?;
        if dry_run && force {
            return Err(HttpError::bad_request("'dryRun' and 'force' can not be combined"));
        }
        refuse_what_needs_accounts(request)?;
        read_paths(request, &mut metadata)?;
        if multipart.is_none() {
            if metadata.disable_default_path || !metadata.default_path.is_empty() {
                let message = "DefaultPath and DisableDefaultPath can only be set on multipart uploads";
                return Err(HttpError::bad_request(message));
            }
            // A raw upload puts nothing else into the metadata.
            metadata.try_files.clear();
            metadata.error_pages.clear();
        }
        Ok(UploadParams { metadata, dry_run, boundary: multipart })
    }
}

/// Reads the parameters that map paths to files.
fn read_paths(request: &Request, metadata: &mut Metadata) -> Result<(), HttpError> {
    let query = &request.query;
    metadata.default_path = match query.get("defaultpath").unwrap_or_default() {
        "" => String::new(),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("/{path}"),
    };
    metadata.disable_default_path = parse_bool(request, "disabledefaultpath")?;
    let has_default = metadata.disable_default_path || !metadata.default_path.is_empty();
    metadata.try_files = match query.get("tryfiles") {
        // Absent and empty differ: absent means the default.
        None if has_default => Vec::new(),
        None => vec!["index.html".to_owned()],
        Some("") => Vec::new(),
        Some(text) => serde_json::from_str(text).map_err(|error| {
            HttpError::bad_request(format!("unable to parse 'tryfiles' parameter: invalid tryfiles value: {error}"))
        })?,
    };
    if has_default && !metadata.try_files.is_empty() {
        return Err(HttpError::bad_request("defaultpath and disabledefaultpath are not compatible with tryfiles"));
    }
    metadata.error_pages = match query.get("errorpages").unwrap_or_default() {
        "" => BTreeMap::new(),
        text => serde_json::from_str(text).map_err(|error| {
            HttpError::bad_request(format!("invalid 'errorpages' parameter: invalid errorpages value: {error}"))
        })?,
    };
    if metadata.disable_default_path && !metadata.default_path.is_empty() {
        return Err(HttpError::bad_request(
            "DefaultPath and DisableDefaultPath are mutually exclusive and cannot be set together: invalid default path \
             provided",
        ));
    }
    Ok(())
}

/// Refuses options that in skyd need keys or files that this portal does not have.
fn refuse_what_needs_accounts(request: &Request) -> Result<(), HttpError> {
    // SDKs send empty ones.
    let given = |name| request.query.get(name).is_some_and(|value| !value.is_empty());
    if given("skykeyname") || given("skykeyid") {
        return Err(HttpError::bad_request("this portal has no skykeys: encrypt before uploading"));
    }
    if given("convertpath") {
        return Err(HttpError::bad_request("this portal has no siafiles to convert"));
    }
    Ok(())
}

/// The boundary, if the body is multipart. A content type of any value is required.
fn boundary(content_type: &str) -> Result<Option<String>, HttpError> {
    let wrong = |why| HttpError::bad_request(format!("failed parsing 'Content-Type' header: mime: {why}"));
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if media_type.is_empty() {
        return Err(wrong("no media type"));
    }
    if !media_type.to_ascii_lowercase().starts_with("multipart/form-data") {
        return Ok(None);
    }
    let boundary = multer::parse_boundary(content_type).map_err(|_| {
        HttpError::bad_request("unable to create multipart reader: no multipart boundary param in Content-Type")
    })?;
    Ok(Some(boundary))
}

/// Parses an octal mode; empty text counts as no mode.
pub(super) fn parse_mode(text: &str) -> Option<u32> {
    if text.is_empty() { Some(0) } else { u32::from_str_radix(text, 8).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_type_must_be_there() {
        assert!(boundary("").is_err());
        assert!(boundary(" ; x=y").is_err());
        assert_eq!(boundary("application/octet-stream").unwrap(), None);
        assert_eq!(boundary("multipart/form-data; boundary=\"a b\"").unwrap().unwrap(), "a b");
        assert!(boundary("multipart/form-data").is_err());
    }

    #[test]
    fn modes_are_octal() {
        assert_eq!(parse_mode("644"), Some(0o644));
        assert_eq!(parse_mode(""), Some(0));
        assert_eq!(parse_mode("8"), None);
    }
}
