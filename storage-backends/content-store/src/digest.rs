//! Digests: `<algorithm>:<encoded>`, the name of every piece of content (image-spec, descriptor.md#digests).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest accepted digest in bytes; sha512 needs 135.
const MAX_LENGTH: usize = 255;

/// A supported algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// The algorithm that every registry must support.
    Sha256,
    /// Registered; 128 hex digits.
    Sha512,
    /// Registered; 256 bits of output.
    Blake3,
}

impl Algorithm {
    /// All of them, for walking the store.
    pub const ALL: [Algorithm; 3] = [Algorithm::Sha256, Algorithm::Sha512, Algorithm::Blake3];

    /// The name before the colon.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
            Algorithm::Blake3 => "blake3",
        }
    }

    /// The number of hex digits after the colon.
    pub fn hex_length(self) -> usize {
        match self {
            Algorithm::Sha256 | Algorithm::Blake3 => 64,
            Algorithm::Sha512 => 128,
        }
    }

    /// The algorithm of that name, if it is supported.
    pub fn from_name(name: &str) -> Option<Self> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// A grammatical digest. Its algorithm may be unsupported, because manifests may name such content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(Box<str>);

/// The text is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// It does not follow the grammar.
    #[error("not a digest: <algorithm>:<encoded>")]
    Malformed,
    /// The algorithm is registered, but its lower-case hex does not follow.
    #[error("not a {} digest: {} lower-case hex digits", .0.name(), .0.hex_length())]
    WrongEncoding(Algorithm),
}

impl Digest {
    /// Makes the digest of a finished hash.
    pub fn from_hash(algorithm: Algorithm, hash: &[u8]) -> Self {
        use fmt::Write as _;
        let mut text = String::with_capacity(8 + 2 * hash.len());
        text.push_str(algorithm.name());
        text.push(':');
        for byte in hash {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Digest(text.into())
    }

    /// The whole text, `<algorithm>:<encoded>`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text before the colon.
    pub fn algorithm_name(&self) -> &str {
        self.0.split_once(':').map_or("", |(name, _)| name)
    }

    /// The text after the colon.
    pub fn encoded(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, encoded)| encoded)
    }

    /// The name of a file about this content, `<algorithm>-<encoded>`. It is a part of skyfiles, so it never changes.
    pub fn file_name(&self) -> String {
        self.0.replacen(':', "-", 1)
    }

    /// The digest that has this [`file_name`](Digest::file_name), if its algorithm is supported.
    pub fn from_file_name(name: &str) -> Option<Self> {
        let (algorithm, encoded) = name.split_once('-')?;
        let digest: Digest = format!("{algorithm}:{encoded}").parse().ok()?;
        digest.algorithm().map(|_| digest)
    }

    /// The algorithm, if it is supported.
    pub fn algorithm(&self) -> Option<Algorithm> {
        Algorithm::from_name(self.algorithm_name())
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, encoded) = text.split_once(':').ok_or(DigestError::Malformed)?;
        if text.len() > MAX_LENGTH || !is_algorithm(name) || !is_encoded(encoded) {
            return Err(DigestError::Malformed);
        }
        match Algorithm::from_name(name) {
            Some(algorithm) if !is_hex(encoded, algorithm.hex_length()) => Err(DigestError::WrongEncoding(algorithm)),
            _ => Ok(Digest(text.into())),
        }
    }
}

/// `component *( [+._-] component )`, a component being `[a-z0-9]+`.
fn is_algorithm(name: &str) -> bool {
    name.split(['+', '.', '_', '-'])
        .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
}

/// `[a-zA-Z0-9=_-]+`
fn is_encoded(encoded: &str) -> bool {
    !encoded.is_empty() && encoded.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'=' | b'_' | b'-'))
}

fn is_hex(encoded: &str, length: usize) -> bool {
    encoded.len() == length && encoded.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EMPTY_SHA256: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn registered_algorithms_want_their_own_hex() {
        assert!(EMPTY_SHA256.parse::<Digest>().is_ok());
        let upper = EMPTY_SHA256.to_uppercase().replace("SHA256", "sha256");
        for bad in [&EMPTY_SHA256[..70], &upper, "sha512:00", "blake3:xyz"] {
            assert!(matches!(bad.parse::<Digest>(), Err(DigestError::WrongEncoding(_))), "{bad}");
        }
    }

    #[test]
    fn foreign_algorithms_pass_if_grammatical() {
        let digest: Digest = "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8".parse().unwrap();
        assert_eq!(digest.algorithm(), None);
    }

    #[test]
    fn file_names_lead_back_to_digests_of_supported_algorithms() {
        let digest: Digest = EMPTY_SHA256.parse().unwrap();
        assert_eq!(digest.file_name(), EMPTY_SHA256.replace(':', "-"));
        assert_eq!(Digest::from_file_name(&digest.file_name()), Some(digest));
        for other in [EMPTY_SHA256, "sha256", "sha256-00", "md5-aabb", "a-b-cc"] {
            assert_eq!(Digest::from_file_name(other), None, "{other}");
        }
    }

    #[test]
    fn malformed_digests_are_refused() {
        for bad in ["", ":", "sha256", "sha256:", ":abc", "Sha256:aa", "a..b:aa", "x:../..", "x:a/b", "x:a\0"] {
            assert_eq!(bad.parse::<Digest>(), Err(DigestError::Malformed), "{bad}");
        }
    }

    fn algorithms() -> impl Strategy<Value = Algorithm> {
        prop::sample::select(Algorithm::ALL.to_vec())
    }

    proptest! {
        #[test]
        fn a_hash_prints_and_parses_to_itself(algorithm in algorithms(), hash in prop::collection::vec(any::<u8>(), 64)) {
            let digest = Digest::from_hash(algorithm, &hash[..algorithm.hex_length() / 2]);
            prop_assert_eq!(digest.algorithm(), Some(algorithm));
            prop_assert_eq!(digest.encoded().len(), algorithm.hex_length());
            prop_assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
        }

        #[test]
        fn a_known_algorithm_takes_its_own_length_of_hex_only(algorithm in algorithms(), encoded in "[0-9a-f]{60,130}|[0-9a-fA-F]{64}") {
            let right = encoded.len() == algorithm.hex_length() && !encoded.bytes().any(|byte| byte.is_ascii_uppercase());
            prop_assert_eq!(format!("{}:{encoded}", algorithm.name()).parse::<Digest>().is_ok(), right);
        }

        #[test]
        fn foreign_digests_of_the_grammar_print_as_they_were_written(text in "[a-z0-9]{1,5}([+._-][a-z0-9]{1,5}){0,3}:[a-zA-Z0-9=_-]{1,80}") {
            let known = Algorithm::from_name(text.split(':').next().unwrap()).is_some();
            match text.parse::<Digest>() {
                Ok(digest) => prop_assert_eq!(digest.to_string(), text),
                Err(error) => prop_assert!(known, "{}: {}", text, error),
            }
        }

        #[test]
        fn what_is_taken_is_safe_as_a_file_name(text in "[a-z0-9+._:/%=-]{0,20}|.{0,80}") {
            if let Ok(digest) = text.parse::<Digest>() {
                prop_assert_eq!(format!("{}:{}", digest.algorithm_name(), digest.encoded()), text.as_str());
                prop_assert!(text.len() <= MAX_LENGTH && text.is_ascii());
                prop_assert!(!digest.algorithm_name().starts_with('.') && !text.contains(['/', '\\', '\0', '%']));
            }
        }
    }
}
