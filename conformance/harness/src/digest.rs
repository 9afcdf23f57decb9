//! Digests of bytes in memory, and of bytes that pass a reader or writer.

use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256, Sha512};

/// The digest algorithms registered in the image specification.
pub const ALGORITHMS: [&str; 3] = ["sha256", "sha512", "blake3"];

/// The digest of `bytes` as `<algorithm>:<hex>`.
pub fn digest(algorithm: &str, bytes: &[u8]) -> String {
    let encoded = match algorithm {
        "sha256" => hex(&Sha256::digest(bytes)),
        "sha512" => hex(&Sha512::digest(bytes)),
        "blake3" => blake3::hash(bytes).to_hex().to_string(),
        other => format!("unknown algorithm {other}"),
    };
    format!("{algorithm}:{encoded}")
}

pub fn sha256(bytes: &[u8]) -> String {
    digest("sha256", bytes)
}

pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// The digest of a reader's bytes.
pub fn sha256_of(mut reader: impl Read) -> anyhow::Result<String> {
    let mut hashing = Hashing::sink();
    io::copy(&mut reader, &mut hashing)?;
    Ok(hashing.digest().0)
}

/// Counts and hashes the bytes written to it.
pub struct Hashing<W> {
    pub inner: W,
    hasher: Sha256,
    length: u64,
}

impl Hashing<io::Sink> {
    /// A writer that only hashes.
    pub fn sink() -> Self {
        Hashing::new(io::sink())
    }
}

impl<W> Hashing<W> {
    pub fn new(inner: W) -> Self {
        Hashing { inner, hasher: Sha256::new(), length: 0 }
    }

    /// The digest and the number of bytes.
    pub fn digest(self) -> (String, u64) {
        (format!("sha256:{}", hex(&self.hasher.finalize())), self.length)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.hasher.update(&buffer[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_nothing_are_the_known_ones() {
        let known = [
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
            "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
        ];
        for (algorithm, want) in ALGORITHMS.into_iter().zip(known) {
            assert_eq!(digest(algorithm, b""), want);
        }
    }
}
