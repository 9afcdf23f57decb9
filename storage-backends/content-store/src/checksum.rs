//! The checksum of our own records on disk: the first 8 bytes of their BLAKE3 hash.

/// Bytes of a [`checksum`].
pub const CHECKSUM_LENGTH: usize = 8;

/// Distinguishes a whole record from a torn or damaged one. It does not protect against an attacker, who can compute it
/// too.
pub fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_LENGTH] {
    let mut short = [0; CHECKSUM_LENGTH];
    short.copy_from_slice(&blake3::hash(bytes).as_bytes()[..CHECKSUM_LENGTH]);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_start_of_the_published_blake3_vector() {
        assert_eq!(checksum(b""), [0xaf, 0x13, 0x49, 0xb9, 0xf5, 0xf9, 0xa1, 0xa6]);
    }
}
