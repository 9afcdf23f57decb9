//! Entries of the Skynet registry: what a writer signs under one datakey of its key.

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

/// Most bytes of data in an entry: what is left of the 256 that a Sia host kept for one.
pub const ENTRY_DATA_LIMIT: usize = 113;

/// Bytes of a [`Signature`].
pub const SIGNATURE_LENGTH: usize = 64;

/// So many bytes of the hash of a host's key begin the data of an entry meant for that host.
pub const HOST_KEY_HASH_LENGTH: usize = 20;

/// An Ed25519 signature.
pub type Signature = [u8; SIGNATURE_LENGTH];

/// What an entry's data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryType {
    /// Type 1: anything. What all SDKs write.
    Plain = 1,
    /// Type 2: begins with the hash of a host's key, so that this host may tell that the entry was meant for it.
    HostKey = 2,
}

/// The name of an entry: the hash of its public key and its datakey. A v2 skylink carries it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId([u8; 32]);

/// An entry that nobody has signed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    kind: EntryType,
    datakey: DataKey,
    data: Vec<u8>,
    revision: u64,
}

/// An entry whose signature was verified: there is no other way to have one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedEntry {
    public_key: PublicKey,
    entry: Entry,
    signature: Signature,
}

/// Why something is no entry.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum EntryError {
    /// More data than an entry holds. In skyd's words.
    #[error("Registry data is too big: {0} > {ENTRY_DATA_LIMIT}")]
    TooMuchData(usize),
    /// Of type 2 and too short for the hash of a key.
    #[error("entry data is malformed")]
    NoHostKey,
    /// Neither type 1 nor type 2.
    #[error("unknown entry type")]
    UnknownType(u8),
    /// Not signed by the key that it names, or not with these contents.
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
    /// The id of the entry at a key and a datakey. The key goes in as Sia encodes one: a 16-byte word for the algorithm,
    /// the length, the bytes.
    pub fn of(public_key: &PublicKey, datakey: &DataKey) -> Self {
        EntryId(hash(|state| {
            state.update(b"ed25519\0\0\0\0\0\0\0\0\0").update(&32_u64.to_le_bytes());
            state.update(public_key.as_bytes()).update(datakey.as_bytes());
        }))
    }

    /// These very bytes.
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
    /// An entry of that content. Every revision is one, the highest number of all included: nothing follows it but an
    /// entry with more work.
    pub fn new(kind: EntryType, datakey: DataKey, data: Vec<u8>, revision: u64) -> Result<Self, EntryError> {
        if data.len() > ENTRY_DATA_LIMIT {
            return Err(EntryError::TooMuchData(data.len()));
        }
        if kind == EntryType::HostKey && data.len() < HOST_KEY_HASH_LENGTH {
            return Err(EntryError::NoHostKey);
        }
        Ok(Entry { kind, datakey, data, revision })
    }

    /// What its data is.
    pub fn kind(&self) -> EntryType {
        self.kind
    }

    /// Which of its key's entries it is.
    pub fn datakey(&self) -> &DataKey {
        &self.datakey
    }

    /// All of its data, the host's key included.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Its revision.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The hash that is signed. Entries of type 1 are older than types, so theirs says nothing of it.
    pub fn message(&self) -> [u8; 32] {
        hash(|state| {
            self.feed(state, &self.data);
            if self.kind != EntryType::Plain {
                // Sia encodes all integers in 8 bytes, a type too.
                state.update(&(self.kind as u64).to_le_bytes());
            }
        })
    }

    fn feed(&self, state: &mut State, data: &[u8]) {
        state.update(self.datakey.as_bytes());
        state.update(&(data.len() as u64).to_le_bytes()).update(data);
        state.update(&self.revision.to_le_bytes());
    }

    /// Signs it.
    pub fn sign(self, key: &SigningKey) -> SignedEntry {
        let signature = key.sign(&self.message()).to_bytes();
        SignedEntry { public_key: key.verifying_key().into(), entry: self, signature }
    }

    /// Takes the signature that came with it, if it is one of this key.
    pub fn signed(self, public_key: PublicKey, signature: Signature) -> Result<SignedEntry, EntryError> {
        public_key.verify(&self.message(), &signature)?;
        Ok(SignedEntry { public_key, entry: self, signature })
    }
}

impl SignedEntry {
    /// Who signed it.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// What was signed.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The signature.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Its name.
    pub fn id(&self) -> EntryId {
        EntryId::of(&self.public_key, &self.entry.datakey)
    }
}
