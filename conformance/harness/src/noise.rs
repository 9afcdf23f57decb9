//! Incompressible bytes determined by a label: in memory, or generated and compared as a stream.

use std::io::{self, Read, Write};

use crate::digest::sha256_of;

const BLOCK: usize = 64 << 10;

/// The bytes of one label as a stream, so that the judge need not keep them in memory.
#[derive(Clone, Debug)]
pub struct Noise {
    bytes: blake3::OutputReader,
    left: u64,
}

/// The first `length` bytes of this label.
pub fn noise(label: &str, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    Noise::stream(label).fill(&mut bytes);
    bytes
}

impl Noise {
    pub fn new(label: &str, length: u64) -> Self {
        Noise { bytes: Noise::stream(label), left: length }
    }

    fn stream(label: &str) -> blake3::OutputReader {
        blake3::Hasher::new().update(label.as_bytes()).finalize_xof()
    }

    /// The sha256 digest of the stream, read once.
    pub fn digest(self) -> String {
        sha256_of(self).expect("noise is always there")
    }
}

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.bytes.fill(&mut buffer[..length]);
        self.left -= length as u64;
        Ok(length)
    }
}

/// Compares written bytes with the noise, and fails at the first difference.
#[derive(Debug)]
pub struct Comparison {
    expected: Noise,
    buffer: Vec<u8>,
}

impl Comparison {
    pub fn with(expected: Noise) -> Self {
        Comparison { expected, buffer: vec![0; BLOCK] }
    }

    /// True if all bytes arrived.
    pub fn is_complete(&self) -> bool {
        self.expected.left == 0
    }
}

impl Write for Comparison {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let wanted = bytes.len().min(BLOCK);
        let read = self.expected.read(&mut self.buffer[..wanted])?;
        if read == 0 || self.buffer[..read] != bytes[..read] {
            return Err(io::Error::other("the bytes differ from those pushed"));
        }
        Ok(read)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_as_long_as_asked_and_compares_equal_only_to_itself() {
        let length = 3 * BLOCK as u64 + 17;
        let mut all = Vec::new();
        Noise::new("a", length).read_to_end(&mut all).unwrap();
        assert_eq!(all.len() as u64, length);
        assert_ne!(all[..BLOCK], all[BLOCK..2 * BLOCK]);
        assert!(noise("a", all.len()) == all && noise("b", all.len()) != all);
        assert_eq!(Noise::new("a", length).digest(), crate::digest::sha256(&all));
        let mut same = Comparison::with(Noise::new("a", length));
        same.write_all(&all).unwrap();
        assert!(same.is_complete());
        all[BLOCK + 3] ^= 1;
        assert!(Comparison::with(Noise::new("a", length)).write_all(&all).is_err());
        assert!(Comparison::with(Noise::new("a", 5)).write_all(&[0; 100]).is_err());
    }
}
