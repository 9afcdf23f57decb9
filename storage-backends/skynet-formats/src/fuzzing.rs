//! Targets for fuzzing: the parsers of formats that portals and their clients send.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::base_sector::{BaseSector, Body, parse};
use crate::datakey::DataKey;
use crate::entry::{EntryAnswer, EntryPost, SignedEntry};
use crate::layout::Layout;
use crate::metadata::Metadata;
use crate::profile::{Profile, SectorSize};
use crate::proof::{proof_header, verify_proof};
use crate::public_key::PublicKey;
use crate::range_proof;
use crate::sector::{LEAF_SIZE, SectorRoot};
use crate::sector_tree::SectorTree;
use crate::skylink::{Skylink, Target};

#[cfg(test)]
#[path = "../../../registry/fuzz/replay.rs"]
mod replay;

/// A name and what it does with an input. A fault is a panic.
pub type FuzzTarget = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[FuzzTarget] = &[
    ("base-sector", base_sector),
    ("entry", entry),
    ("metadata", metadata),
    ("names", names),
    ("range-proof", range_proof),
    ("resolver-proof", resolver_proof),
];

/// The smallest sectors, so that inputs can be longer than one.
fn small() -> SectorSize {
    SectorSize::new(4096).expect("the smallest size")
}

fn base_sector(bytes: &[u8]) {
    for size in [small(), SectorSize::STANDARD] {
        let Ok(parts) = parse(bytes, size) else { continue };
        assert_eq!(parts.layout.encode()[..], bytes[..Layout::SIZE]);
        let body = match parts.body {
            Body::Content(content) => {
                assert_eq!(content.len() as u64, parts.layout.file_size);
                content.len()
            }
            Body::Fanout(roots) => {
                assert_eq!(roots.len() as u64, parts.layout.chunks(size) * parts.layout.chunk_roots());
                roots.len() * SectorRoot::SIZE
            }
        };
        let length = Layout::SIZE + body + parts.metadata.len();
        assert!(length <= bytes.len());
        if let Body::Content(content) = parts.body
            && size == small()
        {
            let made = BaseSector::small(size, parts.metadata, content).expect("it has fitted once");
            assert_eq!(made.bytes()[Layout::SIZE..], bytes[Layout::SIZE..length]);
        }
        metadata(parts.metadata);
    }
}

fn metadata(bytes: &[u8]) {
    let Ok(parsed) = Metadata::parse(bytes) else { return };
    let written = parsed.to_bytes();
    let again = Metadata::parse(&written).expect("metadata that was written here");
    assert_eq!(again, parsed);
    assert_eq!(again.to_bytes(), written);
    let end = parsed.subfiles.values().map(|file| file.offset.checked_add(file.len).expect("within the content")).max();
    assert!(end.is_none_or(|end| end <= parsed.content_length()));
}

fn entry(bytes: &[u8]) {
    if let Some(post) = same_json::<EntryPost>(bytes)
        && let Ok(signed) = SignedEntry::try_from(post)
    {
        assert_eq!(SignedEntry::try_from(EntryPost::from(&signed)).as_ref(), Ok(&signed));
        assert_eq!(SignedEntry::try_from(EntryAnswer::from(&signed)), Ok(signed));
    }
    if let Some(answer) = same_json::<EntryAnswer>(bytes)
        && let Ok(signed) = SignedEntry::try_from(answer)
    {
        assert_eq!(SignedEntry::try_from(EntryAnswer::from(&signed)), Ok(signed));
    }
}

/// Text of one of the types that have one form.
fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    same::<DataKey>(text);
    same::<Profile>(text);
    same::<PublicKey>(text);
    same::<SectorRoot>(text);
    same_json::<PublicKey>(bytes);
    let Ok(skylink) = Skylink::from_uri(text) else { return };
    for written in [skylink.to_string(), skylink.to_base32(), format!("sia://{skylink}")] {
        assert_eq!(Skylink::from_uri(&written), Ok(skylink));
    }
    assert_eq!(Skylink::from_bytes(&skylink.to_bytes()), Ok(skylink));
    match skylink.target() {
        Target::Sector { offset, fetch_size, root } => {
            assert!(fetch_size > 0 && offset + fetch_size <= SectorSize::STANDARD.bytes() as u64);
            assert_eq!(Skylink::v1(root, offset, fetch_size), Ok(skylink));
        }
        Target::Entry(id) => assert_eq!(Skylink::v2(id), skylink),
    }
}

/// A leaf, a number of leaves, and a sector. Another use of the same bytes is a range, and a proof of it.
fn range_proof(bytes: &[u8]) {
    let Some(([first, count], rest)) = bytes.split_first_chunk() else { return };
    let (start, length) = (usize::from(*first) * LEAF_SIZE, usize::from(*count) * LEAF_SIZE);
    let root = SectorRoot::from_bytes([*first; SectorRoot::SIZE]);
    let (content, proof) = rest.split_at(length.min(rest.len()));
    assert!(range_proof::verify(small(), &root, start, content, proof).is_err());

    let mut sector = rest[..rest.len().min(small().bytes())].to_vec();
    sector.resize(small().bytes(), 0);
    let tree = SectorTree::new(small(), &sector);
    let range = start..start + length;
    let Ok(proof) = tree.prove(&range, |block| Ok(sector[block].to_vec())) else {
        return assert!(range_proof::proof_size(small(), range).is_err());
    };
    assert_eq!(range_proof::proof_size(small(), range.clone()), Ok(proof.len()));
    let verify = |bytes: &[u8], proof: &[u8]| range_proof::verify(small(), &tree.root(), start, bytes, proof);
    assert_eq!(verify(&sector[range.clone()], &proof), Ok(()));
    sector[start] ^= 1;
    assert!(verify(&sector[range], &proof).is_err());
}

/// A skylink, a line break, and the proof of its target.
fn resolver_proof(bytes: &[u8]) {
    let Some((asked, header)) = std::str::from_utf8(bytes).ok().and_then(|text| text.split_once('\n')) else { return };
    let Ok(asked) = asked.parse() else { return };
    let Ok(resolved) = verify_proof(asked, header) else { return };
    assert!(matches!(resolved.skylink.target(), Target::Sector { .. }));
    let written = proof_header(&resolved.passed).unwrap_or_else(|| "[]".to_owned());
    assert_eq!(verify_proof(asked, &written).ok(), Some(resolved));
}

/// What is parsed has the same value after it was written.
fn same<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string().parse().ok(), Some(value));
    }
}

fn same_json<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let value = serde_json::from_slice::<T>(bytes).ok()?;
    let written = serde_json::to_vec(&value).expect("texts and numbers");
    assert_eq!(serde_json::from_slice(&written).ok().as_ref(), Some(&value));
    Some(value)
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_file_of_the_corpora_breaks_its_target() {
        super::replay::replay(env!("CARGO_MANIFEST_DIR"), super::TARGETS);
    }
}
