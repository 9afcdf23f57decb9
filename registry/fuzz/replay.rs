//! Replays the corpora of one crate: each file as it is, cut off, and with changed bits.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Changed copies of each file.
const CUTS: usize = 3;
const FLIPS: usize = 5;

/// Runs every target of the crate in `folder` on `corpus/NAME/`. A target without corpus fails, and a corpus without
/// target, too.
pub(super) fn replay(folder: &str, targets: &[super::FuzzTarget]) {
    let corpora = Path::new(folder).join("corpus");
    let mut names: Vec<&str> = targets.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    let folders = listed(&corpora);
    let found: Vec<&str> = folders.iter().filter_map(|folder| folder.file_name()?.to_str()).collect();
    assert_eq!(found, names, "corpora and targets of {folder}");
    for (name, target) in targets {
        for file in listed(&corpora.join(name)) {
            let bytes = fs::read(&file).unwrap();
            run(&file, *target, &bytes);
            for variant in variants(&bytes) {
                run(&file, *target, &variant);
            }
        }
    }
}

fn listed(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths.sort_unstable();
    paths
}

/// The target states its own fault; this adds the input.
fn run(file: &Path, target: fn(&[u8]), bytes: &[u8]) {
    let done = catch_unwind(AssertUnwindSafe(|| target(bytes)));
    assert!(done.is_ok(), "from {}: {}", file.display(), bytes.escape_ascii());
}

/// The variants are the same in every run, since they follow from the bytes.
fn variants(bytes: &[u8]) -> Vec<Vec<u8>> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let seed = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    let mut state = seed | 1;
    let mut below = |end: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % end as u64) as usize
    };
    let mut variants: Vec<Vec<u8>> = (0..CUTS).map(|_| bytes[..below(bytes.len())].to_vec()).collect();
    variants.extend((0..FLIPS).map(|_| {
        let mut changed = bytes.to_vec();
        let bit = below(8 * bytes.len());
        changed[bit / 8] ^= 1 << (bit % 8);
        changed
    }));
    variants
}
