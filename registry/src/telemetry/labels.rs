//! The labels of metrics: fixed words, so that no client can make new series.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

/// The operation of a request, such as `blob_get`: a fixed word, so that no client can make new series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Operation(pub &'static str);

impl EncodeLabelValue for Operation {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.0, encoder)
    }
}

/// Request methods worth telling apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Method(&'static str);

impl From<&http::Method> for Method {
    fn from(method: &http::Method) -> Self {
        let known = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"];
        Method(known.into_iter().find(|known| *known == method.as_str()).unwrap_or("other"))
    }
}

impl EncodeLabelValue for Method {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.0, encoder)
    }
}

/// The first digit of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StatusClass(&'static str);

impl From<http::StatusCode> for StatusClass {
    fn from(status: http::StatusCode) -> Self {
        StatusClass(match status.as_u16() / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        })
    }
}

impl EncodeLabelValue for StatusClass {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.0, encoder)
    }
}

/// Labels of a finished request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// What was asked.
    pub operation: Operation,
    /// How it was asked.
    pub method: Method,
    /// How it ended.
    pub status: StatusClass,
}

/// Label of a duration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OperationLabel {
    /// What was asked.
    pub operation: Operation,
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_cannot_make_new_series() {
        let method = http::Method::from_bytes(b"X-ANYTHING").unwrap();
        assert_eq!(Method::from(&method), Method("other"));
        assert_eq!(StatusClass::from(http::StatusCode::from_u16(999).unwrap()), StatusClass("5xx"));
    }
}
