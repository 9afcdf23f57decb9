//! The keys that let a client write.

use std::fmt;

use blake2b_simd::{Hash, blake2b};

/// A set of keys, of which only hashes are kept. Empty: whoever asks may add, and programs on the same machine remove.
#[derive(Clone, Default)]
pub struct ApiKeys(Vec<Hash>);

impl ApiKeys {
    /// Takes the keys as they are sent.
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        ApiKeys(keys.into_iter().map(|key| blake2b(key.as_bytes())).collect())
    }

    /// Whether no key is asked for.
    pub(crate) fn are_open(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is one of them. The time it takes tells neither which one nor how much of it is right.
    pub(crate) fn contain(&self, key: &str) -> bool {
        let hash = blake2b(key.as_bytes());
        // Hashes compare in constant time, and all of them are compared.
        self.0.iter().filter(|known| **known == hash).count() > 0
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKeys({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_keys_are_keys() {
        let keys = ApiKeys::new(["first", "second"]);
        assert!(keys.contain("first") && keys.contain("second"));
        assert!(!keys.contain("") && !keys.contain("firs") && !keys.contain("first "));
        assert_eq!(format!("{keys:?}"), "ApiKeys(2)");
        assert!(ApiKeys::default().are_open() && !keys.are_open());
    }
}
