//! Damage to files, byte by byte.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use harness::random::Random;

/// Flips one bit. Content files are read-only, but that does not protect from rot.
pub fn flip(path: &Path, bit: usize) -> anyhow::Result<()> {
    change(path, bit / 8, |byte| byte ^ (1 << (bit % 8)))
}

fn change(path: &Path, at: usize, with: impl Fn(u8) -> u8) -> anyhow::Result<()> {
    let mode = std::fs::metadata(path)?.permissions();
    make_writable(path)?;
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at as u64).with_context(|| format!("byte {at} of {}", path.display()))?;
    file.write_all_at(&[with(byte[0])], at as u64)?;
    Ok(std::fs::set_permissions(path, mode)?)
}

pub fn zero(path: &Path, from: usize, to: usize) -> anyhow::Result<()> {
    let file = std::fs::OpenOptions::new().write(true).open(path)?;
    Ok(file.write_all_at(&vec![0; to - from], from as u64)?)
}

/// Cuts a file to `length` bytes.
pub fn cut(path: &Path, length: u64) -> anyhow::Result<()> {
    make_writable(path)?;
    Ok(std::fs::OpenOptions::new().write(true).open(path)?.set_len(length)?)
}

fn make_writable(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?)
}

/// All nonempty files below a directory with their lengths, in order.
pub fn files(folder: &Path) -> anyhow::Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if metadata.len() > 0 {
                found.push((entry.path(), metadata.len()));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// A random bit of these files. A third of the choices ignore lengths, or small files would never be hit.
pub fn any_bit(random: &mut Random, files: &[(PathBuf, u64)]) -> (PathBuf, usize) {
    let total: u64 = files.iter().map(|(_, length)| length).sum();
    let mut at = random.next() % total.max(1);
    if random.chance(33) {
        let (path, length) = random.pick(files);
        return (path.clone(), random.below(*length as usize * 8));
    }
    for (path, length) in files {
        if at < *length {
            return (path.clone(), at as usize * 8 + random.below(8));
        }
        at -= length;
    }
    (files[0].0.clone(), 0)
}
