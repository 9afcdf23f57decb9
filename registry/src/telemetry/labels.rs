//! The labels of metrics: fixed words, so that clients cannot create new series.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};

/// Why the server itself answered or closed a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the derive writes variant names as label values, which are lower case")]
pub enum Refusal {
    /// The client began a TLS handshake on a plain port.
    tls,
    /// The client spoke plain HTTP on a port with TLS.
    plain,
    /// The TLS handshake failed.
    handshake,
    /// A trusted proxy sent no valid header of the PROXY protocol.
    proxy,
    /// The first request did not come in time.
    silent,
    /// The peer stopped reading.
    stalled,
    /// No request for too long.
    idle,
    /// The peer has its share of connections already.
    share,
    /// Too slow while connections were short, or beyond their limit for too long.
    slow,
}

/// Label of a refused connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusalLabel {
    /// The reason.
    pub reason: Refusal,
}

/// The kinds of objects that a collection removes.
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
    /// The kind of object.
    pub kind: Garbage,
}
