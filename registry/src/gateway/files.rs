//! Small files that are replaced as a whole, in subdirectories named by their first two characters.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use content_store::{make_directory, replace_file, sync_directory};

/// Suffix of a file that is being written. No finished file has it.
const IN_THE_MAKING: &str = ".tmp";

/// Creates a directory with a subdirectory for each first two hex digits. All but the directory's own name is durable.
pub(super) fn make_sharded(directory: &Path) -> io::Result<()> {
    make_directory(directory)?;
    for shard in 0..=u8::MAX {
        make_directory(&directory.join(format!("{shard:02x}")))?;
    }
    sync_directory(directory)
}

/// Replaces a file. It is durable once it and its directory are synced. A crash before that may leave the new file, no
/// file, or an empty file.
pub(super) fn write(path: &Path, parts: &[&[u8]]) -> io::Result<File> {
    let new = in_the_making(path);
    let mut file = File::create(&new)?;
    parts.iter().try_for_each(|part| file.write_all(part))?;
    fs::rename(new, path)?;
    Ok(file)
}

/// Replaces a file durably. A crash before the end leaves the old file.
pub(super) fn replace(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    replace_file(parts, &in_the_making(path), path)
}

/// All files of a sharded directory, one shard after the other.
pub(super) fn each(directory: &Path) -> io::Result<impl Iterator<Item = io::Result<PathBuf>> + use<>> {
    let shards = fs::read_dir(directory)?;
    Ok(shards.flat_map(|shard| match shard.and_then(|shard| fs::read_dir(shard.path())) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) => vec![Err(error)],
    }))
}

fn in_the_making(path: &Path) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(IN_THE_MAKING);
    name.into()
}
