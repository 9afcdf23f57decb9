//! `GET /v2/_oci/ext/discover`: which extensions there are (extensions/_oci.md).

use serde_json::json;

use crate::http::request::Answer;

/// `_catalog` and the discovery itself.
pub(in crate::http) fn discover() -> Answer {
    let extensions = json!({
        "extensions": [
            {
                "name": "_oci",
                "description": "extension discovery",
                "url": "https://github.com/opencontainers/distribution-spec/blob/main/extensions/_oci.md",
                "endpoints": ["_oci/ext/discover"],
            },
            {
                "name": "_catalog",
                "description": "list of repositories, with n and last",
                "url": "https://distribution.github.io/distribution/spec/api/#listing-repositories",
                "endpoints": ["_catalog"],
            },
        ]
    });
    Ok(super::json("application/json", &extensions))
}
