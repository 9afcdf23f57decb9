//! Content determined by a few numbers, with its digests.

use harness::random::Random;
use harness::site::digest;
use serde::{Deserialize, Serialize};

/// Contents from this seed on are used by every group of repositories, lower ones by only one group.
pub const SHARED: u32 = 1 << 20;

/// The algorithms that the registry supports, the usual one first.
pub const ALGORITHMS: [&str; 3] = ["sha256", "sha512", "blake3"];

/// The body of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    /// Bytes `from..to` of the stream of this seed: `[seed, from, to]`.
    Seeded(u32, u32, u32),
    /// Exactly these bytes.
    Text(String),
    /// Bytes received over the network.
    #[cfg(test)]
    #[serde(skip)]
    Raw(Vec<u8>),
}

impl Content {
    /// The whole content of a seed, which also decides its length: mostly small, sometimes empty.
    pub fn whole(seed: u32) -> Self {
        const LENGTHS: [u32; 8] = [0, 1, 2, 17, 100, 999, 4096, 9000];
        Content::Seeded(seed, 0, LENGTHS[(seed as usize + seed as usize / 8) % LENGTHS.len()])
    }

    pub fn len(&self) -> usize {
        match self {
            Content::Seeded(_, from, to) => (to - from) as usize,
            Content::Text(text) => text.len(),
            #[cfg(test)]
            Content::Raw(bytes) => bytes.len(),
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Content::Seeded(seed, from, to) => {
                let mut random = Random::new(u64::from(*seed) << 17);
                let mut out = Vec::with_capacity(*to as usize + 8);
                while out.len() < *to as usize {
                    out.extend_from_slice(&random.next().to_le_bytes());
                }
                out.truncate(*to as usize);
                out.split_off((*from).min(*to) as usize)
            }
            Content::Text(text) => text.clone().into_bytes(),
            #[cfg(test)]
            Content::Raw(bytes) => bytes.clone(),
        }
    }

    /// The digest under an algorithm of [`ALGORITHMS`].
    pub fn digest(&self, algorithm: &str) -> String {
        digest(algorithm, &self.bytes())
    }

    /// True if other groups may have it too: all empty contents are equal, and there are only 256 contents of one byte.
    pub fn is_shared(&self) -> bool {
        self.len() <= 1 || matches!(self, Content::Seeded(seed, ..) if *seed >= SHARED)
    }
}

/// How a text parses as a digest (rows 15 to 17 of the edge table).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grammar {
    Known(&'static str),
    /// Well-formed, with an algorithm that the registry does not support.
    Unknown,
    Malformed,
}

pub fn grammar(text: &str) -> Grammar {
    let Some((algorithm, encoded)) = text.split_once(':') else { return Grammar::Malformed };
    let hex = |n| encoded.len() == n && encoded.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let lengths = [("sha256", 64), ("sha512", 128), ("blake3", 64)];
    if let Some((name, n)) = lengths.into_iter().find(|(name, _)| *name == algorithm) {
        return if hex(n) { Grammar::Known(name) } else { Grammar::Malformed };
    }
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let valid = !algorithm.is_empty()
        && algorithm.bytes().all(word)
        && !encoded.is_empty()
        && encoded.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'=' | b'_' | b'-'));
    if valid { Grammar::Unknown } else { Grammar::Malformed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_may_be_another_groups_too() {
        let bytes: std::collections::BTreeSet<Vec<u8>> =
            (0..300).map(|seed| Content::Seeded(seed, 0, 1).bytes()).collect();
        assert!(bytes.len() < 300);
        assert!(Content::Seeded(1, 0, 1).is_shared() && !Content::Seeded(1, 0, 17).is_shared());
    }

    #[test]
    fn parts_of_a_content_make_the_whole() {
        let whole = Content::Seeded(5, 0, 100).bytes();
        let parts = [Content::Seeded(5, 0, 33).bytes(), Content::Seeded(5, 33, 100).bytes()].concat();
        assert_eq!(whole, parts);
        assert_eq!(whole.len(), 100);
    }

    #[test]
    fn grammar_tells_unknown_from_malformed() {
        assert_eq!(grammar(&digest("sha512", b"")), Grammar::Known("sha512"));
        assert_eq!(grammar("sha384:00ff"), Grammar::Unknown);
        for text in ["sha256:abc", "sha256", &digest("sha256", b"").to_uppercase(), ":", "sha256:"] {
            assert_eq!(grammar(text), Grammar::Malformed, "{text}");
        }
    }
}
