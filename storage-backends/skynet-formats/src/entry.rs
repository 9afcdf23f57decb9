//! Entries of the Skynet registry: data that a writer signs under one datakey of its key.

mod json;
mod supersede;
#[cfg(test)]
pub(super) mod tests;

use std::fmt;

use blake2b_simd::State;
use data_encoding::HEXLOWER;
use ed25519_dalek::{Signer, SigningKey};
use thiserror::Error;

pub use json::{EntryAnswer, EntryPost};
pub use supersede::{Refusal, supersedes};

use super::blake2b::hash;
use super::datakey::DataKey;
use super::public_key::{InvalidSignature, PublicKey};

/// Most bytes of data in an entry: the rest of the 256 bytes that a Sia host kept for one.
pub const ENTRY_DATA_LIMIT: usize = 113;

/// Bytes of a [`Signature`].
pub const SIGNATURE_LENGTH: usize = 64;

/// Bytes of the hash of a host's key, at the beginning of an entry's data meant for that host.
pub const HOST_KEY_HASH_LENGTH: usize = 20;

/// An Ed25519 signature.
pub type Signature = [u8; SIGNATURE_LENGTH];

/// The meaning of an entry's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryType {
    /// Type 1: any data. All SDKs write this type.
    Plain = 1,
    /// Type 2: the data begins with the hash of a host's key, so that this host recognizes an entry meant for it.
    HostKey = 2,
}

/// The name of an entry: the hash of its public key and its datakey. A v2 skylink carries it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId([u8; 32]);

/// An unsigned entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    kind: EntryType,
    datakey: DataKey,
    data: Vec<u8>,
    revision: u64,
}

/// An entry with a verified signature. No other signed entry can be constructed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedEntry {
    public_key: PublicKey,
    entry: Entry,
    signature: Signature,
}

/// Reasons why something is not an entry.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum EntryError {
    /// The data is longer than an entry allows. The words are skyd's.
    #[error("Registry data is too big: {0} > {ENTRY_DATA_LIMIT}")]
    TooMuchData(usize),
    /// The entry is of type 2 and too short for the hash of a key.
    #[error("entry data is malformed")]
    NoHostKey,
    /// Neither type 1 nor type 2.
    #[error("unknown entry type")]
    UnknownType(u8),
    /// The signature is not by the named key, or not for these contents.
    #[error(transparent)]
    Signature(#[from] InvalidSignature),
}

impl TryFrom<u8> for EntryType {
    type Error = EntryError;

    fn try_from(number: u8) -> Result<Self, EntryError> {
        match number {
            1 => Ok(EntryType::Plain),
            2 => Ok(EntryType::HostKey),
            other => Err(EntryError::UnknownType(other)),
        }
    }
}

impl EntryId {
    /// The id of the entry at a key and a datakey. The key is encoded as in Sia: a 16-byte word for the algorithm, the
    /// length, the bytes.
    pub fn of(public_key: &PublicKey, datakey: &DataKey) -> Self {
        EntryId(hash(|state| {
            state.update(b"ed25519\0\0\0\0\0\0\0\0\0").update(&32_u64.to_le_bytes());
            state.update(public_key.as_bytes()).update(datakey.as_bytes());
        }))
    }

    /// An id with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        EntryId(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntryId({self})")
    }
}

impl Entry {
    /// An entry with that content. Every revision is allowed, also the highest number, which only an entry with more
    /// work can follow.
    pub fn new(kind: EntryType, datakey: DataKey, data: Vec<u8>, revision: u64) -> Result<Self, EntryError> {
        if data.len() > ENTRY_DATA_LIMIT {
            return Err(EntryError::TooMuchData(data.len()));
        }
        if kind == EntryType::HostKey && data.len() < HOST_KEY_HASH_LENGTH {
            return Err(EntryError::NoHostKey);
        }
        Ok(Entry { kind, datakey, data, revision })
    }

    /// The type of its data.
    pub fn kind(&self) -> EntryType {
        self.kind
    }

    /// Its datakey.
    pub fn datakey(&self) -> &DataKey {
        &self.datakey
    }

    /// All of its data, including the host's key.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Its revision.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The hash that is signed. Entries of type 1 are older than types, so their hash does not cover the type.
    pub fn message(&self) -> [u8; 32] {
        hash(|state| {
            self.feed(state, &self.data);
            if self.kind != EntryType::Plain {
                // Sia encodes all integers in 8 bytes, including a type.
                state.update(&(self.kind as u64).to_le_bytes());
            }
        })
    }

    fn feed(&self, state: &mut State, data: &[u8]) {
        state.update(self.datakey.as_bytes());
        state.update(&(data.len() as u64).to_le_bytes()).update(data);
        state.update(&self.revision.to_le_bytes());
    }

    /// Signs the entry.
    pub fn sign(self, key: &SigningKey) -> SignedEntry {
        let signature = key.sign(&self.message()).to_bytes();
        SignedEntry { public_key: key.verifying_key().into(), entry: self, signature }
    }

    /// Combines the entry with a received signature, if that is valid for this key.
    pub fn signed(self, public_key: PublicKey, signature: Signature) -> Result<SignedEntry, EntryError> {
        public_key.verify(&self.message(), &signature)?;
        Ok(SignedEntry { public_key, entry: self, signature })
    }
}

impl SignedEntry {
    /// The key that signed it.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The signed entry.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The signature.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The id of the entry.
    pub fn id(&self) -> EntryId {
        EntryId::of(&self.public_key, &self.entry.datakey)
    }
}
