//! BLAKE2b-256, the hash of Sia.

use blake2b_simd::{Params, State};

/// BLAKE2b-256 of the bytes that `feed` adds.
pub(crate) fn hash(feed: impl FnOnce(&mut State)) -> [u8; 32] {
    let mut state = Params::new().hash_length(32).to_state();
    feed(&mut state);
    state.finalize().as_bytes().try_into().expect("the length asked for is 32")
}
