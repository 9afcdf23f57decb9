//! The source of each row of the table, and its level.

use Level::{Must, Policy, Should};

/// How strongly a row is required.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Required by a specification of every registry with the feature.
    Must,
    /// Recommended by a specification, or relied on by its clients.
    Should,
    /// Skyberth's own choice where specifications leave one.
    Policy,
}

impl std::fmt::Display for Level {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Must => "MUST",
            Should => "SHOULD",
            Policy => "own policy",
        })
    }
}

/// Number, level and source. A name without RFC is a section of the distribution specification v1.1.1, or of its later
/// additions.
#[rustfmt::skip]
pub const SOURCES: &[(&str, Level, &str)] = &[
    ("1", Must, "RFC 9110 11.6.1; RFC 7617 2; token specification"), ("2", Policy, "Determining Support"),
    ("3", Should, "RFC 9110 11.4; token specification"), ("4", Must, "token specification"),
    ("5", Should, "RFC 9110 15.5.4"), ("6", Policy, "token specification"),
    ("7", Must, "Pulling manifests: name"), ("8", Should, "Pulling manifests: name"), ("9", Policy, "Pulling manifests: name"),
    ("10", Policy, "RFC 3986 2.2"), ("11", Should, "RFC 3986 6.2.2"), ("12", Must, "Pulling manifests: name"),
    ("13", Must, "Pulling manifests: name"), ("14", Must, "Pulling manifests: name"), ("15", Should, "image-spec: Digests"),
    ("16", Should, "image-spec: Digests"), ("17", Policy, "image-spec: Registered Algorithms"),
    ("18", Must, "Listing Referrers"), ("19", Must, "Pulling manifests: tag"), ("20", Must, "Pulling manifests: tag"),
    ("21", Must, "Pulling manifests: tag"), ("22", Must, "Pulling manifests"), ("23", Must, "Pulling manifests; Pulling blobs; Pushing manifests"),
    ("24", Should, "Pulling manifests; RFC 9110 12.5.1"), ("25", Policy, "RFC 9110 13.1.2"), ("26", Should, "RFC 9110 9.3.2"),
    ("27", Must, "Pulling manifests"), ("28", Policy, "Pulling blobs"), ("29", Should, "Pulling blobs; RFC 9110 14.2"),
    ("30", Should, "RFC 9110 14.2, 15.5.17"), ("31", Should, "RFC 9110 14.1.2, 15.5.17"), ("32", Must, "RFC 9110 14.2"),
    ("33", Policy, "RFC 9110 14.2"), ("34", Must, "RFC 9110 13.1.5"), ("35", Must, "RFC 9110 14.2"),
    ("36", Policy, "Pulling blobs"), ("37", Policy, "RFC 9110 15.6.4"), ("38", Policy, "RFC 9112 8"),
    ("39", Policy, "RFC 9112 9.5"), ("40", Must, "Pushing blobs: POST then PUT"), ("41", Policy, "Pushing blobs: POST then PUT"),
    ("42", Policy, "Pushing blobs: Single POST"), ("43", Policy, "Pushing blobs: Single POST"),
    ("44", Policy, "after v1.1.1: Pushing a blob in chunks"), ("45", Must, "Mounting a blob from another repository"),
    ("46", Should, "Mounting a blob from another repository"), ("47", Should, "Mounting a blob from another repository"),
    ("48", Should, "Mounting a blob from another repository"), ("49", Policy, "Mounting a blob from another repository"),
    ("50", Policy, "Mounting a blob from another repository"), ("51", Must, "Pushing a blob in chunks"),
    ("52", Must, "Pushing a blob in chunks"), ("53", Policy, "Pushing a blob in chunks"), ("54", Policy, "Pushing a blob in chunks"),
    ("55", Policy, "Pushing a blob in chunks"), ("56", Policy, "Pushing a blob in chunks"), ("57", Policy, "Pushing a blob in chunks"),
    ("58", Policy, "Pushing a blob in chunks"), ("59", Must, "Pushing a blob in chunks"), ("60", Policy, "Pushing a blob in chunks"),
    ("61", Policy, "Pushing a blob in chunks"), ("62", Should, "Pushing a blob in chunks"), ("63", Policy, "Pushing a blob in chunks"),
    ("64", Must, "Pushing a blob in chunks"), ("65", Policy, "after v1.1.1: Cancel a blob upload"), ("66", Policy, "Pushing a blob in chunks"),
    ("67", Must, "Pushing blobs; image-spec: Digests"), ("68", Must, "Pushing a blob in chunks"), ("69", Policy, "Pushing a blob in chunks"),
    ("70", Policy, "image-spec: Registered Algorithms"), ("71", Policy, "RFC 9110 9.2.2"), ("72", Must, "Pushing blobs; image-spec: Digests"),
    ("73", Must, "Pushing blobs"), ("74", Must, "Pushing blobs"), ("75", Must, "RFC 9112 6.3, 8"),
    ("76", Policy, "Error Codes"), ("77", Policy, "RFC 4918 11.5"), ("78", Policy, "Pushing a blob in chunks"),
    ("79", Policy, "Pushing a blob in chunks"), ("80", Must, "RFC 9110 10.1.1"), ("81", Policy, "RFC 9112 9.6"),
    ("82", Should, "Pushing manifests"), ("83", Should, "Pushing manifests"), ("84", Should, "Pushing manifests"),
    ("85", Must, "Pushing manifests"), ("86", Should, "image-spec: Image Manifest"), ("87", Should, "Pushing manifests; image-spec: Image Manifest"),
    ("88", Should, "Pushing manifests"), ("89", Should, "image-spec: Image Manifest"), ("90", Policy, "Pushing manifests"),
    ("91", Must, "Push: MANIFEST_BLOB_UNKNOWN"), ("92", Should, "image-spec: Non-Distributable Layers"), ("93", Policy, "image-spec: Non-Distributable Layers"),
    ("94", Policy, "Pushing manifests"), ("95", Must, "Pushing manifests with subject"), ("96", Should, "image-spec: Descriptors"),
    ("97", Policy, "image-spec: Descriptors"), ("98", Should, "image-spec: Embedded Content"), ("99", Should, "Pushing manifests; image-spec: Image Index"),
    ("100", Must, "Pushing manifests"), ("101", Should, "RFC 9110 9.2.2"), ("102", Should, "Pushing manifests"),
    ("103", Policy, "RFC 9110 13.1.1"), ("104", Policy, "after v1.1.1: Pushing manifests"), ("105", Policy, "Pushing manifests: digest"),
    ("106", Must, "Deleting tags"), ("107", Must, "Deleting manifests"), ("108", Should, "Deleting manifests"),
    ("109", Policy, "Deleting manifests"), ("110", Must, "Content Management"), ("111", Policy, "Deleting blobs"),
    ("112", Should, "Deleting blobs"), ("113", Must, "Content Management"), ("114", Must, "Listing Tags"),
    ("115", Policy, "Listing Tags"), ("116", Must, "Listing Tags"), ("117", Must, "Listing Tags"), ("118", Should, "Listing Tags"),
    ("119", Should, "Listing Tags"), ("120", Should, "Listing Tags"), ("121", Should, "Listing Referrers"),
    ("122", Should, "Listing Referrers"), ("123", Must, "Listing Referrers"), ("124", Should, "after v1.1.1: Registry Proxying"),
    ("125", Policy, "RFC 9110 15.5.6"), ("126", Should, "RFC 9110 15.5.5"), ("127", Policy, "RFC 9110 15.5.15; RFC 6585 5"),
    ("128", Policy, "RFC 9112 9.5"), ("129", Must, "RFC 9112 6.1"), ("130", Policy, "RFC 6585 4"),
    ("131", Policy, "after v1.1.1: Registry Proxying"), ("132", Policy, "after v1.1.1: Registry Proxying"), ("133", Policy, "after v1.1.1: Registry Proxying"),
    ("134", Policy, "Pushing manifests"), ("135", Policy, "token specification"), ("136", Policy, "RFC 9110 15.6.4"),
    ("B1", Policy, "after v1.1.1: Pushing manifests"), ("B2", Policy, "extensions: _oci"), ("B3", Policy, "Pushing a blob in chunks"),
    ("B4", Policy, "Listing Referrers"), ("B5", Policy, "distribution: catalog"), ("B6", Policy, "Enabling the Referrers API"),
    ("B7", Policy, "RFC 9110 13.1.2"), ("B8", Must, "Pushing blobs"), ("B9", Policy, "distribution: API version"),
    ("B10", Must, "Pulling blobs"), ("B11", Policy, "distribution: catalog"), ("B12", Policy, "RFC 9110 15.5.14"),
    ("B13", Policy, "Pushing blobs"), ("B14", Policy, "RFC 3986 3.4"), ("B15", Policy, "RFC 9110 13.1.1"),
    ("B16", Must, "RFC 9110 8.6"), ("B17", Policy, "CVE-2021-41190"), ("B18", Policy, "RFC 9110 13.1.1"),
];

/// A row's level and source. A test of the table ensures that every row has them.
pub fn source(number: &str) -> (Level, &'static str) {
    let found = SOURCES.iter().find(|(known, ..)| *known == number);
    found.map_or((Policy, ""), |(_, level, source)| (*level, source))
}
