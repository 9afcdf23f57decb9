//! Writes tar archives (ustar), with identical bytes for identical entries.

use std::io::{self, Read, Write};

const BLOCK: usize = 512;

/// Appends one regular file of `size` bytes from `content`.
pub fn append(out: &mut dyn Write, name: &str, size: u64, content: &mut dyn Read) -> io::Result<()> {
    out.write_all(&header(name, size))?;
    let copied = io::copy(&mut content.take(size), out)?;
    if copied != size {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{name}: {copied} of {size} bytes")));
    }
    let padding = (BLOCK - (size % BLOCK as u64) as usize) % BLOCK;
    out.write_all(&[0; BLOCK][..padding])
}

/// Ends the archive.
pub fn finish(out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&[0; 2 * BLOCK])
}

fn header(name: &str, size: u64) -> [u8; BLOCK] {
    assert!(name.len() <= 100 && size < 1 << 33, "ustar holds names of 100 bytes and sizes below 8 GiB");
    let mut block = [0u8; BLOCK];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}\0"));
    put(136, "00000000000\0");
    put(148, "        "); // the checksum counts itself as spaces
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tar_reads_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.tar");
        let mut file = std::fs::File::create(&path).unwrap();
        append(&mut file, "a/hello", 5, &mut &b"hello"[..]).unwrap();
        append(&mut file, "empty", 0, &mut io::empty()).unwrap();
        finish(&mut file).unwrap();
        let listed = std::process::Command::new("tar").arg("-xOf").arg(&path).arg("a/hello").output().unwrap();
        assert_eq!(listed.stdout, b"hello");
        assert!(append(&mut file, "short", 6, &mut &b"hello"[..]).is_err());
    }
}
