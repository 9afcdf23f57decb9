//! A running hash of any supported algorithm, whose state can outlive the process if the algorithm allows it.

use sha2::digest::common::hazmat::SerializableState;
use sha2::{Digest as _, Sha256, Sha512};

use crate::digest::{Algorithm, Digest};

/// First byte of an exported state, the number of its layout. sha2 keeps its layout within `0.11.x` only, so another
/// minor version needs another number here. With an unknown number, the reader hashes the bytes again.
const SHA2_0_11: u8 = 1;

/// Hashes bytes as they arrive. A clone continues independently.
#[derive(Clone, Debug)]
pub struct Hasher(State);

#[derive(Clone, Debug)]
enum State {
    Sha256(Sha256),
    Sha512(Sha512),
    // Almost 2 KiB, the others are near 100 and 200 bytes.
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    /// A hasher of the empty input.
    pub fn new(algorithm: Algorithm) -> Self {
        Hasher(match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
            Algorithm::Blake3 => State::Blake3(Box::new(blake3::Hasher::new())),
        })
    }

    /// The algorithm of the hash.
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            State::Sha256(_) => Algorithm::Sha256,
            State::Sha512(_) => Algorithm::Sha512,
            State::Blake3(_) => Algorithm::Blake3,
        }
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(hash) => hash.update(bytes),
            State::Sha512(hash) => hash.update(bytes),
            State::Blake3(hash) => {
                hash.update(bytes);
            }
        }
    }

    /// The digest of all bytes added.
    pub fn finish(self) -> Digest {
        let algorithm = self.algorithm();
        match self.0 {
            State::Sha256(hash) => Digest::from_hash(algorithm, &hash.finalize()),
            State::Sha512(hash) => Digest::from_hash(algorithm, &hash.finalize()),
            State::Blake3(hash) => Digest::from_hash(algorithm, hash.finalize().as_bytes()),
        }
    }

    /// The running state as bytes for [`Hasher::import`]; `None` for blake3, which cannot be exported. The state
    /// reveals the end of the input, so treat it like the content itself.
    pub fn export(&self) -> Option<Vec<u8>> {
        let state: Vec<u8> = match &self.0 {
            State::Sha256(hash) => hash.serialize().to_vec(),
            State::Sha512(hash) => hash.serialize().to_vec(),
            State::Blake3(_) => return None,
        };
        Some([&[SHA2_0_11][..], &state].concat())
    }

    /// Resumes from an exported state of `length` bytes; `None` if it is of another algorithm, of an unknown layout, or
    /// of another number of bytes. That number becomes part of the digest, and an impossible one would overflow.
    pub fn import(algorithm: Algorithm, exported: &[u8], length: u64) -> Option<Self> {
        let (&SHA2_0_11, state) = exported.split_first()? else { return None };
        if counted(algorithm, state)? != u128::from(length) {
            return None;
        }
        let state = match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::deserialize(state.try_into().ok()?).ok()?),
            Algorithm::Sha512 => State::Sha512(Sha512::deserialize(state.try_into().ok()?).ok()?),
            Algorithm::Blake3 => return None,
        };
        Some(Hasher(state))
    }
}

/// The number of hashed bytes in a state: behind the hash are the number of whole blocks, and the length of the rest.
fn counted(algorithm: Algorithm, state: &[u8]) -> Option<u128> {
    let (blocks, size, rest) = match algorithm {
        Algorithm::Sha256 => {
            let (blocks, rest) = state.get(32..)?.split_first_chunk()?;
            (u128::from(u64::from_le_bytes(*blocks)), 64, rest)
        }
        Algorithm::Sha512 => {
            let (blocks, rest) = state.get(64..)?.split_first_chunk()?;
            (u128::from_le_bytes(*blocks), 128, rest)
        }
        Algorithm::Blake3 => return None,
    };
    blocks.checked_mul(size)?.checked_add(u128::from(*rest.first()?))
}

impl Digest {
    /// The digest of these bytes.
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_vectors_of_abc_come_out() {
        let expected = [
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            "blake3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
        ];
        for (algorithm, text) in Algorithm::ALL.into_iter().zip(expected) {
            assert_eq!(Digest::of(algorithm, b"abc").as_str(), text);
        }
    }

    #[test]
    fn an_exported_state_goes_on_at_any_position_in_a_block() {
        let bytes: Vec<u8> = (0..1000_u32).map(|n| n as u8).collect();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            for cut in 0..300 {
                let mut first = Hasher::new(algorithm);
                first.update(&bytes[..cut]);
                let mut second = Hasher::import(algorithm, &first.export().unwrap(), cut as u64).unwrap();
                second.update(&bytes[cut..]);
                assert_eq!(second.finish(), Digest::of(algorithm, &bytes), "{algorithm:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn states_of_another_algorithm_layout_or_length_are_refused() {
        let state = Hasher::new(Algorithm::Sha256).export().unwrap();
        assert_eq!(state.len(), 105);
        let other_layout = [&[2], &state[1..]].concat();
        for bad in [&[][..], &state[..104], &other_layout, &[state.clone(), vec![0]].concat()] {
            assert!(Hasher::import(Algorithm::Sha256, bad, 0).is_none());
        }
        assert!(Hasher::import(Algorithm::Sha512, &state, 0).is_none());
        assert!(Hasher::import(Algorithm::Blake3, &state, 0).is_none());
        assert!(Hasher::new(Algorithm::Blake3).export().is_none());
    }

    /// A number of blocks above all that can be hashed overflowed in the last step.
    #[test]
    fn a_state_of_another_number_of_bytes_is_refused() {
        for (algorithm, blocks) in [(Algorithm::Sha256, 33..41), (Algorithm::Sha512, 65..81)] {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(&[7; 1000]);
            let state = hasher.export().unwrap();
            assert!(Hasher::import(algorithm, &state, 1000).is_some());
            for other in [0, 999, 1001, u64::MAX] {
                assert!(Hasher::import(algorithm, &state, other).is_none());
            }
            let mut impossible = state;
            impossible[blocks].fill(0xff);
            for length in [1000, u64::MAX] {
                assert!(Hasher::import(algorithm, &impossible, length).is_none());
            }
        }
    }
}
