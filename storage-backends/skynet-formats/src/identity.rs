//! How a Skyberth portal proves who it is: it signs a nonce with the key of its data directory.
//!
//! The key goes where the directory goes, and a new directory has a new one. So an address that answers with another
//! key leads to other content.

use data_encoding::HEXLOWER;
use ed25519_dalek::{Signer, SigningKey};
use serde::{Deserialize, Serialize};

use super::public_key::{InvalidSignature, PublicKey};

/// Bytes of a nonce.
pub const NONCE_LENGTH: usize = 32;

/// Bytes of the seed of a key.
pub const SEED_LENGTH: usize = 32;

/// Comes before the nonce in what is signed, so that no signature made for this is valid for anything else.
const DOMAIN: &[u8] = b"skyberth portal identity 1\n";

/// The private key of a portal.
pub struct IdentityKey(SigningKey);

impl std::fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IdentityKey({})", self.public())
    }
}

impl IdentityKey {
    /// The key of a random seed.
    pub fn from_seed(seed: &[u8; SEED_LENGTH]) -> Self {
        IdentityKey(SigningKey::from_bytes(seed))
    }

    /// Its public part, by which others know the portal.
    pub fn public(&self) -> PublicKey {
        self.0.verifying_key().into()
    }

    /// Proves that this key is here now.
    pub fn prove(&self, nonce: &[u8; NONCE_LENGTH]) -> IdentityProof {
        let signature = self.0.sign(&signed(nonce)).to_bytes();
        IdentityProof { publickey: self.public(), signature: HEXLOWER.encode(&signature) }
    }
}

/// The answer to a nonce, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityProof {
    publickey: PublicKey,
    /// 128 hex digits.
    signature: String,
}

impl IdentityProof {
    /// The key, if it signed this nonce.
    pub fn verify(&self, nonce: &[u8; NONCE_LENGTH]) -> Result<PublicKey, InvalidSignature> {
        let signature = HEXLOWER.decode(self.signature.as_bytes()).map_err(|_| InvalidSignature)?;
        let signature = signature.as_slice().try_into().map_err(|_| InvalidSignature)?;
        self.publickey.verify(&signed(nonce), signature)?;
        Ok(self.publickey)
    }
}

/// The nonce in a request, as 64 hex digits; `None` for anything else.
pub fn parse_nonce(text: &str) -> Option<[u8; NONCE_LENGTH]> {
    if text.len() != 2 * NONCE_LENGTH {
        return None;
    }
    HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

/// The text of a nonce in a request.
pub fn nonce_text(nonce: &[u8; NONCE_LENGTH]) -> String {
    HEXLOWER.encode(nonce)
}

fn signed(nonce: &[u8; NONCE_LENGTH]) -> Vec<u8> {
    [DOMAIN, nonce].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_of_one_nonce_and_one_key() {
        let (key, other) = (IdentityKey::from_seed(&[1; 32]), IdentityKey::from_seed(&[2; 32]));
        let proof = key.prove(&[7; 32]);
        let json = serde_json::to_string(&proof).unwrap();
        let read: IdentityProof = serde_json::from_str(&json).unwrap();
        assert_eq!(read.verify(&[7; 32]), Ok(key.public()));
        assert_eq!(read.verify(&[8; 32]), Err(InvalidSignature), "a proof of before");
        let stolen = IdentityProof { publickey: other.public(), ..proof.clone() };
        assert_eq!(stolen.verify(&[7; 32]), Err(InvalidSignature), "another key");
        for bad in ["", "00", &proof.signature[2..], &proof.signature.to_uppercase()] {
            let damaged = IdentityProof { signature: bad.to_owned(), ..proof.clone() };
            assert_eq!(damaged.verify(&[7; 32]), Err(InvalidSignature), "{bad}");
        }
    }

    #[test]
    fn nonces_have_one_text() {
        let nonce = std::array::from_fn(|at| at as u8);
        let text = nonce_text(&nonce);
        assert_eq!(parse_nonce(&text), Some(nonce));
        for bad in ["", &text[2..], &text.to_uppercase(), &format!("{text}00"), &"x".repeat(64)] {
            assert_eq!(parse_nonce(bad), None, "{bad}");
        }
    }
}
