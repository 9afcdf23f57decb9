//! The Ed25519 public key that owns registry entries.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64, HEXLOWER, HEXLOWER_PERMISSIVE};
use ed25519_dalek::{Signature, Verifier, VerifyingKey};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use super::byte_string::Bytes;

/// Bytes of a [`PublicKey`].
pub const PUBLIC_KEY_LENGTH: usize = 32;

/// The only algorithm: Sia's consensus accepts others, and accepts every signature under them.
const ALGORITHM: &str = "ed25519";

/// An Ed25519 public key; as text `ed25519:` and 64 hex digits. Any 32 bytes are accepted. If they are not a point of
/// the curve, no signature verifies.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey([u8; PUBLIC_KEY_LENGTH]);

/// The text is not a public key.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum InvalidPublicKey {
    /// There is no colon, or another word before it.
    #[error("a public key begins with \"ed25519:\"")]
    Algorithm,
    /// The key does not have 32 bytes.
    #[error("an ed25519 public key has 32 bytes: 64 hex digits")]
    Key,
}

/// The signature is not by this key for this message.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("invalid signature")]
pub struct InvalidSignature;

impl PublicKey {
    /// A key with these bytes.
    pub const fn from_bytes(bytes: [u8; PUBLIC_KEY_LENGTH]) -> Self {
        PublicKey(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; PUBLIC_KEY_LENGTH] {
        &self.0
    }

    /// Accepts exactly the signatures that Go's `ed25519.Verify`, and so skyd, accepts. Otherwise an entry stored by
    /// one portal and refused by another could not spread. S must be below the group order (a signature has no second
    /// form), R is compared as bytes, and there is no cofactor. Keys of small order verify as in Go: the owner of one
    /// shares it with every writer, and harms no other key. `verify_strict` would refuse them. tweetnacl, in the
    /// JavaScript SDKs, also accepts an S past the order; skyd does not, and neither does this.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), InvalidSignature> {
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| InvalidSignature)?;
        key.verify(message, &Signature::from_bytes(signature)).map_err(|_| InvalidSignature)
    }

    fn from_slice(bytes: &[u8]) -> Result<Self, InvalidPublicKey> {
        bytes.try_into().map(PublicKey).map_err(|_| InvalidPublicKey::Key)
    }
}

impl From<VerifyingKey> for PublicKey {
    fn from(key: VerifyingKey) -> Self {
        PublicKey(key.to_bytes())
    }
}

impl FromStr for PublicKey {
    type Err = InvalidPublicKey;

    fn from_str(text: &str) -> Result<Self, InvalidPublicKey> {
        let (algorithm, key) = text.split_once(':').ok_or(InvalidPublicKey::Algorithm)?;
        if algorithm != ALGORITHM {
            return Err(InvalidPublicKey::Algorithm);
        }
        // Before decoding: the text may be of any length.
        if key.len() != 2 * PUBLIC_KEY_LENGTH {
            return Err(InvalidPublicKey::Key);
        }
        let bytes = HEXLOWER_PERMISSIVE.decode(key.as_bytes()).map_err(|_| InvalidPublicKey::Key)?;
        PublicKey::from_slice(&bytes)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ALGORITHM}:{}", HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// Writes skyd's form, in answers and proofs alike: `{"algorithm":"ed25519","key":"<base64>"}`.
impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("PublicKey", 2)?;
        object.serialize_field("algorithm", ALGORITHM)?;
        object.serialize_field("key", &BASE64.encode(&self.0))?;
        object.end()
    }
}

/// Accepts the forms that skyd accepts: the object with the key in base64 or as an array of bytes, or the text.
struct Forms;

#[derive(Deserialize)]
struct Object {
    algorithm: String,
    key: Bytes,
}

impl<'de> Visitor<'de> for Forms {
    type Value = PublicKey;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a public key: {\"algorithm\":\"ed25519\",\"key\":...} or \"ed25519:<hex>\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<PublicKey, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PublicKey, A::Error> {
        let object = Object::deserialize(MapAccessDeserializer::new(map))?;
        if object.algorithm != ALGORITHM {
            return Err(de::Error::custom(InvalidPublicKey::Algorithm));
        }
        PublicKey::from_slice(object.key.as_ref()).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Forms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer, SigningKey};
    use proptest::prelude::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        HEXLOWER.decode(hex.as_bytes()).unwrap().try_into().unwrap()
    }

    const MESSAGE: [u8; 32] = {
        let mut message = [0; 32];
        let mut at = 0;
        while at < 32 {
            message[at] = 255 - at as u8;
            at += 1;
        }
        message
    };

    #[test]
    fn keys_are_read_in_every_form_of_skyd() {
        let text = "ed25519:a1790331b8b41a94644d01a7b482564e7049047812364bcabc32d399ad23f7e2";
        let key: PublicKey = text.parse().unwrap();
        assert_eq!(key.to_string(), text);
        assert_eq!(text.to_uppercase().replace("ED", "ed").parse(), Ok(key), "skyd reads capitals too");
        let base64 = r#"{"algorithm":"ed25519","key":"oXkDMbi0GpRkTQGntIJWTnBJBHgSNkvKvDLTma0j9+I="}"#;
        let array = format!(r#"{{"algorithm":"ed25519","key":{}}}"#, serde_json::to_string(key.as_bytes()).unwrap());
        for json in [base64, &array, &format!("{text:?}")] {
            assert_eq!(serde_json::from_str::<PublicKey>(json).unwrap(), key, "{json}");
        }
        assert_eq!(serde_json::to_string(&key).unwrap(), base64);
    }

    #[test]
    fn what_is_no_key() {
        let hex = "00".repeat(32);
        for (text, error) in [
            ("", InvalidPublicKey::Algorithm),
            (&*hex, InvalidPublicKey::Algorithm),
            (&format!("entropy:{hex}"), InvalidPublicKey::Algorithm),
            ("ed25519:", InvalidPublicKey::Key),
            (&format!("ed25519:{hex}00"), InvalidPublicKey::Key),
            (&format!("ed25519:{hex}:00"), InvalidPublicKey::Key),
            (&format!("ed25519:{}g", &hex[1..]), InvalidPublicKey::Key),
        ] {
            assert_eq!(text.parse::<PublicKey>(), Err(error), "{text:?}");
        }
        for json in [
            "null",
            "{}",
            r#"{"algorithm":"ed25519"}"#,
            r#"{"algorithm":"ed25519","key":"AAAA"}"#,
            r#"{"algorithm":"ed25519","key":[256]}"#,
            r#"{"algorithm":"x","key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}"#,
        ] {
            assert!(serde_json::from_str::<PublicKey>(json).is_err(), "{json}");
        }
    }

    /// The verdicts are those of Go's `crypto/ed25519`, asked with these very bytes.
    #[test]
    fn signatures_are_judged_as_go_judges_them() {
        const IDENTITY: &str = "0100000000000000000000000000000000000000000000000000000000000000";
        const IDENTITY_PLUS_P: &str = "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f";
        const IDENTITY_NEGATIVE: &str = "0100000000000000000000000000000000000000000000000000000000000080";
        const KEY: &str = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8";
        const R: &str = "14a27374b4e03fd642d77ecaf9b9d46e9e427d757314de98e72cbaf7586b245b";
        const S: &str = "feb02cce7054e43dab892e577b803ef3e73583db92856ee46e48f081eb35fa03";
        const S_PLUS_ORDER: &str = "eb84222b8bb7f695812626fa597a1d08e83583db92856ee46e48f081eb35fa13";
        let zero = "00".repeat(32);
        for (what, key, r, s, accepted) in [
            ("sound", KEY, R, S, true),
            ("a second form of the same signature", KEY, R, S_PLUS_ORDER, false),
            ("a key of small order", IDENTITY, IDENTITY, &*zero, true),
            ("a key that is not reduced", IDENTITY_PLUS_P, IDENTITY, &zero, true),
            ("a key of minus nothing", IDENTITY_NEGATIVE, IDENTITY, &zero, true),
            ("an R that is not reduced", IDENTITY, IDENTITY_PLUS_P, &zero, false),
            ("an R of minus nothing", IDENTITY, IDENTITY_NEGATIVE, &zero, false),
            ("a key off the curve", &format!("02{}", &zero[2..]), IDENTITY, &zero, false),
        ] {
            let verdict = PublicKey(bytes(key)).verify(&MESSAGE, &bytes(&format!("{r}{s}")));
            assert_eq!(verdict.is_ok(), accepted, "{what}");
        }
    }

    #[test]
    fn signing_gives_the_bytes_of_go() {
        let key = SigningKey::from_bytes(&std::array::from_fn(|at| at as u8));
        let signature = HEXLOWER.encode(&key.sign(&MESSAGE).to_bytes());
        assert_eq!(
            signature,
            "14a27374b4e03fd642d77ecaf9b9d46e9e427d757314de98e72cbaf7586b245b\
             feb02cce7054e43dab892e577b803ef3e73583db92856ee46e48f081eb35fa03"
        );
    }

    proptest! {
        #[test]
        fn text_and_json_come_back(bytes: [u8; 32]) {
            let key = PublicKey(bytes);
            prop_assert_eq!(key.to_string().parse(), Ok(key));
            prop_assert_eq!(serde_json::from_str::<PublicKey>(&serde_json::to_string(&key).unwrap()).unwrap(), key);
        }

        #[test]
        fn no_text_panics(text in "(ed25519:)?.{0,70}", key: [u8; 32], r: [u8; 32], s: [u8; 32]) {
            let _ = text.parse::<PublicKey>();
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(&r);
            signature[32..].copy_from_slice(&s);
            prop_assert!(PublicKey(key).verify(b"message", &signature).is_err());
        }
    }
}
