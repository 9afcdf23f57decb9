//! Large contents made and compared as they stream, so that the judge never holds one.

use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};

use crate::site::noise;

const BLOCK: usize = 64 << 10;

/// Bytes that only this label gives: one block again and again, with its number in front so that no two are alike.
#[derive(Clone, Debug)]
pub struct Noise {
    block: Vec<u8>,
    number: u64,
    at: usize,
    left: u64,
}

impl Noise {
    pub fn new(label: &str, length: u64) -> Self {
        let mut made = Noise { block: noise(label, BLOCK), number: 0, at: 0, left: length };
        made.stamp();
        made
    }

    fn stamp(&mut self) {
        self.block[..8].copy_from_slice(&self.number.to_le_bytes());
    }

    /// Their sha256 digest, by reading them once.
    pub fn digest(mut self) -> String {
        use std::fmt::Write as _;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; BLOCK];
        while let Ok(read @ 1..) = self.read(&mut buffer) {
            hasher.update(&buffer[..read]);
        }
        hasher.finalize().iter().fold("sha256:".to_owned(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(BLOCK - self.at).min(usize::try_from(self.left).unwrap_or(usize::MAX));
        buffer[..length].copy_from_slice(&self.block[self.at..self.at + length]);
        self.at += length;
        self.left -= length as u64;
        if self.at == BLOCK {
            self.at = 0;
            self.number += 1;
            self.stamp();
        }
        Ok(length)
    }
}

/// Takes bytes and refuses the first that is not the next of the noise.
#[derive(Debug)]
pub struct Comparison {
    expected: Noise,
    buffer: Vec<u8>,
}

impl Comparison {
    pub fn with(expected: Noise) -> Self {
        Comparison { expected, buffer: vec![0; BLOCK] }
    }

    /// True if all of it has come.
    pub fn is_complete(&self) -> bool {
        self.expected.left == 0
    }
}

impl Write for Comparison {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let wanted = bytes.len().min(BLOCK);
        let read = self.expected.read(&mut self.buffer[..wanted])?;
        if read == 0 || self.buffer[..read] != bytes[..read] {
            return Err(io::Error::other("other bytes than were pushed"));
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
        assert_eq!(Noise::new("a", length).digest(), crate::site::sha256(&all));
        let mut same = Comparison::with(Noise::new("a", length));
        same.write_all(&all).unwrap();
        assert!(same.is_complete());
        all[BLOCK + 3] ^= 1;
        assert!(Comparison::with(Noise::new("a", length)).write_all(&all).is_err());
        assert!(Comparison::with(Noise::new("a", 5)).write_all(&[0; 100]).is_err());
    }
}
