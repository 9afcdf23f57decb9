//! Who an endpoint is: proven by a key or a marker that it holds with the content, whatever its address.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};

/// The identity of an endpoint: a public key whose private key it holds, or a random marker stored with the content.
/// The text is in lower-case base32.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EndpointId([u8; EndpointId::SIZE]);

/// The text is no identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an identity has 52 characters of base32")]
pub struct InvalidEndpointId;

impl EndpointId {
    /// Its length in bytes.
    pub const SIZE: usize = 32;

    /// The identity of these bytes.
    pub const fn from_bytes(bytes: [u8; EndpointId::SIZE]) -> Self {
        EndpointId(bytes)
    }

    /// As bytes.
    pub const fn as_bytes(&self) -> &[u8; EndpointId::SIZE] {
        &self.0
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

impl fmt::Debug for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EndpointId({self})")
    }
}

impl FromStr for EndpointId {
    type Err = InvalidEndpointId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lower = text.bytes().all(|byte| !byte.is_ascii_uppercase());
        let bytes = BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).ok().filter(|_| lower);
        bytes.and_then(|bytes| bytes.try_into().ok()).map(EndpointId).ok_or(InvalidEndpointId)
    }
}

impl TryFrom<String> for EndpointId {
    type Error = InvalidEndpointId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<EndpointId> for String {
    fn from(id: EndpointId) -> String {
        id.to_string()
    }
}

/// What an endpoint that answers says about who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// It has proven just now that it is this one.
    Proven(EndpointId),
    /// It can prove nothing, so only samples of its copies tell whether it is still the same.
    Unprovable,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_have_one_text() {
        let id = EndpointId::from_bytes(std::array::from_fn(|at| at as u8 * 7));
        let text = id.to_string();
        assert_eq!((text.len(), text.parse()), (52, Ok(id)));
        assert_eq!(serde_json::from_str::<EndpointId>(&serde_json::to_string(&id).unwrap()).unwrap(), id);
        for bad in ["", "abc", &text.to_uppercase(), &text[1..], &format!("{text}a")] {
            assert_eq!(bad.parse::<EndpointId>(), Err(InvalidEndpointId), "{bad}");
        }
    }
}
