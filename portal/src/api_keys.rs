//! The API keys that authorize writes.

use std::fmt;

use blake2b_simd::{Hash, blake2b};

/// A set of keys, stored only as hashes. If it is empty, every client may add, and programs on the same machine may
/// remove.
#[derive(Clone, Default)]
pub struct ApiKeys(Vec<Hash>);

impl ApiKeys {
    /// A set of these keys, given in plain text.
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        ApiKeys(keys.into_iter().map(|key| blake2b(key.as_bytes())).collect())
    }

    /// True if no key is required.
    pub(crate) fn are_open(&self) -> bool {
        self.0.is_empty()
    }

    /// The place of the key in the list; `None` if it is not in the set. The time it takes does not reveal which key
    /// matched, or how much of it.
    pub(crate) fn place(&self, key: &str) -> Option<usize> {
        let hash = blake2b(key.as_bytes());
        // Hashes compare in constant time, and every hash is compared.
        let same = self.0.iter().enumerate().filter(|(_, known)| **known == hash);
        same.fold(None, |_, (place, _)| Some(place))
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
        assert_eq!((keys.place("first"), keys.place("second")), (Some(0), Some(1)));
        for other in ["", "firs", "first "] {
            assert_eq!(keys.place(other), None, "{other:?}");
        }
        assert_eq!(format!("{keys:?}"), "ApiKeys(2)");
        assert!(ApiKeys::default().are_open() && !keys.are_open());
    }
}
