//! The labels of metrics: fixed words, so that no client can make new series.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};

/// Why a connection was answered or cut by the server itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the derive writes variant names as label values, which are lower case")]
pub enum Refusal {
    /// A TLS handshake came to the plain port.
    tls,
    /// The first bytes of a connection did not come in time.
    silent,
    /// The peer stopped reading.
    stalled,
    /// Nothing was asked for too long.
    idle,
}

/// Label of a refused connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusalLabel {
    /// Why.
    pub reason: Refusal,
}

/// What a collection removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the derive writes variant names as label values, which are lower case")]
pub enum Garbage {
    /// A blob without references.
    blob,
    /// An abandoned upload session.
    upload,
}

/// Label of collected objects.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct GarbageLabel {
    /// What kind.
    pub kind: Garbage,
}
