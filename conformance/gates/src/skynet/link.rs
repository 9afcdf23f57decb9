//! Skylinks for the judge: both texts, their parts, and the `ETag` of the content at one.

use anyhow::{Context, ensure};
use data_encoding::{BASE32HEX_NOPAD, BASE64URL_NOPAD, HEXLOWER};

/// 34 bytes: a bitfield, and a root or an entry's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link([u8; 34]);

impl Link {
    /// Parses the 46 characters of base64url.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        ensure!(text.len() == 46, "{text:?} has not 46 characters");
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).with_context(|| format!("{text:?} is no base64url"))?;
        Link::of(&bytes)
    }

    pub fn of(bytes: &[u8]) -> anyhow::Result<Self> {
        Ok(Link(bytes.try_into().with_context(|| format!("{} bytes are no skylink", bytes.len()))?))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn bitfield(&self) -> u16 {
        u16::from_le_bytes([self.0[0], self.0[1]])
    }

    /// The root, in hex.
    pub fn root(&self) -> String {
        HEXLOWER.encode(&self.0[2..])
    }

    /// The 55 characters that fit into a host name.
    pub fn base32(&self) -> String {
        BASE32HEX_NOPAD.encode(&self.0).to_lowercase()
    }

    /// The path of the portal's short form, followed by `rest` (empty or with its slash).
    pub fn path(&self, rest: &str) -> String {
        format!("/{self}{rest}")
    }

    /// A skylink of the same form with a root that no portal has.
    pub fn unknown(&self) -> Link {
        let mut bytes = self.0;
        bytes[2..].reverse();
        bytes[33] ^= 0x55;
        Link(bytes)
    }

    /// The `ETag`, with its quotes, of the content at `path` (`/` for the whole) in a format (empty for none).
    pub fn etag(&self, path: &str, format: &str) -> String {
        let mut hash = blake2b_simd::Params::new().hash_length(32).to_state();
        for part in [self.to_string().as_str(), path, format, "1"] {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        format!("\"{}\"", hash.finalize().to_hex())
    }
}

impl std::fmt::Display for Link {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&BASE64URL_NOPAD.encode(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_texts_are_of_the_same_bytes() {
        let link = Link::parse("XABvi7JtJbQSMAcDwnUnmp2FKDPjg8_tTTFP4BwMSxVdEg").unwrap();
        assert_eq!(link.base32(), "bg06v2tidkir84hg0s1s4t97jaeoaa1jse1svrad657u070c9calq4g");
        assert!(Link::parse("short").is_err());
    }

    #[test]
    fn the_etag_is_that_of_skyd() {
        let link = Link::parse("AACa5S94r4CHMshi4MCclYYoqW3IwMIpRXEcaBdUBpR4DA").unwrap();
        let want = "\"2993f086074e6d2c18dbb3e40d39e79004675689c2ccff2af08f9b2820925638\"";
        assert_eq!(link.etag("/", ""), want);
    }
}
