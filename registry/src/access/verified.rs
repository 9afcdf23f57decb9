//! The passwords that were verified, so that each costs an address a hash only once.
//!
//! A login counts for the address that made it alone. Others could guess it here, and no guess would be counted.
//!
//! The cache has neither names nor passwords, only hashes with a key that ends with the process. It belongs to one state of
//! the users: any change of them begins with an empty one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serving::Holder;

use super::identity::UserName;

/// Most logins in the cache. One more empties it.
const MOST: usize = 4096;

/// A name with a password, hashed with the cache's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// A number that depends on the key.
    pub(super) fn number(self) -> u64 {
        u64::from_le_bytes(self.0[..8].try_into().expect("a hash has more than 8 bytes"))
    }
}

/// The verified logins.
#[derive(Debug)]
pub(super) struct Verified {
    key: [u8; 32],
    logins: Mutex<HashMap<(Fingerprint, Holder), UserName>>,
}

impl Verified {
    pub(super) fn new() -> Self {
        Verified { key: crate::ids::random(), logins: Mutex::default() }
    }

    /// The fingerprint of these parts, which differs for other parts.
    pub(super) fn fingerprint(&self, parts: &[&str]) -> Fingerprint {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        Fingerprint(*hasher.finalize().as_bytes())
    }

    /// The user of a login that this client made before.
    pub(super) fn get(&self, login: &Fingerprint, holder: Holder) -> Option<UserName> {
        self.logins.lock().unwrap_or_else(PoisonError::into_inner).get(&(*login, holder)).cloned()
    }

    pub(super) fn add(&self, login: Fingerprint, holder: Holder, name: UserName) {
        let mut logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        if logins.len() >= MOST {
            logins.clear();
        }
        logins.insert((login, holder), name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_known_as_a_whole() {
        let (cache, name) = (Verified::new(), "bob".parse::<UserName>().unwrap());
        let login = cache.fingerprint(&["bob", "secret"]);
        assert_eq!(cache.get(&login, Holder::SHARED), None);
        cache.add(login, Holder::SHARED, name.clone());
        assert_eq!(cache.get(&cache.fingerprint(&["bob", "secret"]), Holder::SHARED), Some(name));
        for other in [["bobs", "ecret"], ["bob", "secre"], ["", "bobsecret"]] {
            assert_eq!(cache.get(&cache.fingerprint(&other), Holder::SHARED), None, "{other:?}");
        }
        assert_ne!(Verified::new().fingerprint(&["bob", "secret"]), login, "each has its own key");
    }

    #[test]
    fn the_cache_is_bounded() {
        let (cache, name) = (Verified::new(), "bob".parse::<UserName>().unwrap());
        for number in 0..=MOST {
            cache.add(cache.fingerprint(&[&number.to_string()]), Holder::SHARED, name.clone());
        }
        assert!(cache.logins.lock().unwrap().len() <= MOST);
    }
}
