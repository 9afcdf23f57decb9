//! The keys that sign tokens: in the data directory, or given by the settings.
//!
//! The node makes a new key each month. The key is published at once, and signs from an hour later on, so that others that
//! verify tokens can fetch it before. An old key verifies until the last token that it signed has ended. A crash leaves the
//! old file or the new one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use content_store::replace_file;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde::{Deserialize, Serialize};

use super::file::{SourceError, read_file};
use super::jwt::public_key;

const DAY: u64 = 24 * 3600;
/// Age, in seconds, at which a key gets a successor.
const NEW_KEY_AFTER: u64 = 30 * DAY;
/// Age, in seconds, from which on a key signs, unless it is the only one.
const SIGNS_AFTER: u64 = 3600;
/// How long, in seconds, a key verifies after its successor began to sign. No token lives longer.
pub(super) const VERIFIES_FOR: u64 = DAY;

/// A key with its id.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) id: String,
    pub(super) seed: [u8; 32],
    pub(super) public: [u8; 32],
    /// When it was made, in seconds since the Unix epoch.
    made: u64,
}

impl Key {
    fn new(seed: [u8; 32], made: u64) -> Self {
        let public = public_key(&seed);
        let id = BASE64URL_NOPAD.encode(&blake3::hash(&public).as_bytes()[..12]);
        Key { id, seed, public, made }
    }
}

/// The keys in use.
#[derive(Clone)]
pub(super) struct KeyRing {
    /// The oldest first.
    keys: Vec<Key>,
    /// The secret of refresh tokens and fingerprints of credentials. It never changes.
    pub(super) secret: [u8; 32],
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyRing({})", self.keys.len())
    }
}

/// The file, with secrets in base64.
#[derive(Serialize, Deserialize)]
struct KeyFile {
    secret: String,
    keys: Vec<KeyEntry>,
}

#[derive(Serialize, Deserialize)]
struct KeyEntry {
    seed: String,
    made: u64,
}

impl KeyRing {
    /// The ring of one given key, from which everything else is derived.
    pub(super) fn given(seed: [u8; 32]) -> Self {
        let secret = blake3::derive_key("skyberth 2026 refresh tokens and credential fingerprints", &seed);
        KeyRing { keys: vec![Key::new(seed, 0)], secret }
    }

    /// Reads the ring in this directory, with new keys if it is time for them.
    pub(super) fn open(directory: &Path, now: u64) -> Result<Self, SourceError> {
        let path = directory.join("token-keys");
        let old = match read_file(&path) {
            Ok(text) => Some(KeyRing::decode(&text).ok_or_else(|| damaged(&path))?),
            Err(SourceError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let ring = old.clone().unwrap_or_else(|| KeyRing { keys: Vec::new(), secret: crate::ids::random() });
        let ring = ring.renewed(now);
        if old.is_none_or(|old| old.ids() != ring.ids()) {
            ring.write(directory, &path)?;
        }
        Ok(ring)
    }

    /// The ring with a new key if it is time for one, and without those that verify nothing any more.
    fn renewed(mut self, now: u64) -> Self {
        // A clock that was set back makes keys of the future, which count as new.
        if self.keys.last().is_none_or(|newest| now.saturating_sub(newest.made) >= NEW_KEY_AFTER) {
            self.keys.push(Key::new(crate::ids::random(), now));
        }
        let signing = self.signing(now).made;
        let has_ended = |key: &Key| key.made < signing && now.saturating_sub(signing + SIGNS_AFTER) >= VERIFIES_FOR;
        self.keys.retain(|key| !has_ended(key));
        self
    }

    /// The key that signs now: the newest of those that are old enough, else the oldest.
    pub(super) fn signing(&self, now: u64) -> &Key {
        let ripe = self.keys.iter().rev().find(|key| now.saturating_sub(key.made) >= SIGNS_AFTER);
        ripe.unwrap_or(&self.keys[0])
    }

    /// The key with this id.
    pub(super) fn find(&self, id: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == id)
    }

    /// The public keys, as a JWK set (RFC 7517, RFC 8037).
    pub(super) fn published(&self) -> serde_json::Value {
        let of = |key: &Key| {
            let x = BASE64URL_NOPAD.encode(&key.public);
            serde_json::json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": key.id, "x": x })
        };
        serde_json::json!({ "keys": self.keys.iter().map(of).collect::<Vec<_>>() })
    }

    fn ids(&self) -> Vec<&str> {
        self.keys.iter().map(|key| key.id.as_str()).collect()
    }

    fn decode(text: &str) -> Option<Self> {
        let file: KeyFile = serde_json::from_str(text).ok()?;
        let keys = file.keys.iter().map(|entry| Some(Key::new(decode_key(&entry.seed)?, entry.made)));
        let keys: Vec<Key> = keys.collect::<Option<_>>()?;
        (!keys.is_empty()).then_some(KeyRing { keys, secret: decode_key(&file.secret)? })
    }

    fn write(&self, directory: &Path, path: &Path) -> Result<(), SourceError> {
        let at = |error| SourceError::Io { path: path.to_owned(), error };
        let entry = |key: &Key| KeyEntry { seed: BASE64.encode(&key.seed), made: key.made };
        let file = KeyFile { secret: BASE64.encode(&self.secret), keys: self.keys.iter().map(entry).collect() };
        let text = serde_json::to_vec(&file).map_err(|error| at(error.into()))?;
        fs::create_dir_all(directory).map_err(at)?;
        replace_file(&[&text], &directory.join("token-keys.tmp"), path).map_err(at)
    }
}

/// A key of 32 bytes in base64.
pub fn decode_key(text: &str) -> Option<[u8; 32]> {
    BASE64.decode(text.as_bytes()).ok()?.try_into().ok()
}

fn damaged(path: &Path) -> SourceError {
    let error = io::Error::new(
        io::ErrorKind::InvalidData,
        "the keys of tokens are damaged; without the file, new ones are made",
    );
    SourceError::Io { path: PathBuf::from(path), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_published_before_it_signs_and_an_old_one_verifies_for_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let at = |now| KeyRing::open(folder.path(), now).unwrap();
        let first = at(1000).signing(1000).id.clone();
        assert_eq!(at(1000 + NEW_KEY_AFTER - 1).ids(), [first.as_str()]);
        let made = 1000 + NEW_KEY_AFTER;
        let both = at(made);
        assert_eq!((both.ids().len(), &both.signing(made).id), (2, &first));
        assert_eq!(both.published()["keys"].as_array().unwrap().len(), 2);
        let signs = made + SIGNS_AFTER;
        let second = at(signs).signing(signs).id.clone();
        assert_ne!(first, second);
        assert!(at(signs + VERIFIES_FOR - 1).find(&first).is_some());
        let later = at(signs + VERIFIES_FOR);
        assert_eq!(later.ids(), [second.as_str()]);
        assert_eq!(later.secret, both.secret);
    }

    #[test]
    fn keys_are_kept_and_damaged_ones_stop_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token-keys");
        let ring = KeyRing::open(folder.path(), 7).unwrap();
        assert_eq!(KeyRing::open(folder.path(), 8).unwrap().ids(), ring.ids());
        // A clock that was set back must not make a key at every start.
        assert_eq!(KeyRing::open(folder.path(), 0).unwrap().ids(), ring.ids());
        fs::write(&path, "{}").unwrap();
        assert!(KeyRing::open(folder.path(), 9).is_err());
        fs::remove_file(&path).unwrap();
        assert_ne!(KeyRing::open(folder.path(), 9).unwrap().ids(), ring.ids());
        assert_eq!(format!("{ring:?}"), "KeyRing(1)");
    }

    #[test]
    fn nodes_with_one_given_key_are_alike() {
        let seed = decode_key("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
        let (one, other) = (KeyRing::given(seed), KeyRing::given(seed));
        assert_eq!((one.ids(), one.secret), (other.ids(), other.secret));
        assert_ne!(one.secret, seed);
        for bad in ["", "AAEC", "not base64", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gIQ=="] {
            assert_eq!(decode_key(bad), None, "{bad}");
        }
    }
}
