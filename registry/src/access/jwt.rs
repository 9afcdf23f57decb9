//! Signs and verifies tokens: JWTs with `EdDSA` over Ed25519, and no other algorithm.
//!
//! The library parses and checks the form of a token. Its cryptography is passed in here, since it would bring one of its own
//! beside that of the rest of the program.

use std::sync::Once;

use ed25519_dalek::{SecretKey, Signature, SignatureError, Signer, SigningKey, Verifier, VerifyingKey};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Most bytes of a token.
const LONGEST: usize = 16 * 1024;

struct OwnSigner(SigningKey);

impl Signer<Vec<u8>> for OwnSigner {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        let signature: Signature = self.0.try_sign(message)?;
        Ok(signature.to_bytes().to_vec())
    }
}

impl JwtSigner for OwnSigner {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

struct OwnVerifier(VerifyingKey);

impl Verifier<Vec<u8>> for OwnVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), SignatureError> {
        self.0.verify_strict(message, &Signature::from_slice(signature)?)
    }
}

impl JwtVerifier for OwnVerifier {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| {
        let seed: SecretKey = key.as_bytes().try_into().map_err(|_| only_eddsa())?;
        match algorithm {
            Algorithm::EdDSA => Ok(Box::new(OwnSigner(SigningKey::from_bytes(&seed)))),
            _ => Err(only_eddsa()),
        }
    },
    verifier_factory: |algorithm, key| {
        let public: [u8; 32] = key.try_get_as_bytes()?.try_into().map_err(|_| only_eddsa())?;
        let public = VerifyingKey::from_bytes(&public).map_err(|_| only_eddsa())?;
        match algorithm {
            Algorithm::EdDSA => Ok(Box::new(OwnVerifier(public))),
            _ => Err(only_eddsa()),
        }
    },
    key_utils: KeyUtils::new_unimplemented(),
};

fn only_eddsa() -> Error {
    ErrorKind::InvalidAlgorithm.into()
}

fn install() {
    static ONCE: Once = Once::new();
    // It fails only if it was installed before.
    ONCE.call_once(|| {
        let _ = PROVIDER.install_default();
    });
}

/// The public key of a seed.
pub(super) fn public_key(seed: &[u8; 32]) -> [u8; 32] {
    SigningKey::from_bytes(seed).verifying_key().to_bytes()
}

/// Signs claims with the key of this id.
pub(super) fn sign<C: Serialize>(claims: &C, id: &str, seed: &[u8; 32]) -> Result<String, Error> {
    install();
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some(id.to_owned());
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_ed_der(seed))
}

/// The id of the key that a token says to be signed with.
pub(super) fn key_id(token: &str) -> Option<String> {
    if token.len() > LONGEST {
        return None;
    }
    jsonwebtoken::decode_header(token).ok().filter(|header| header.alg == Algorithm::EdDSA)?.kid
}

/// The claims of a token that this key has signed. The caller checks what they say, the times too.
pub(super) fn verify<C: DeserializeOwned + Clone>(token: &str, public: &[u8; 32]) -> Option<C> {
    install();
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    jsonwebtoken::decode(token, &DecodingKey::from_ed_der(public), &validation).ok().map(|token| token.claims)
}
