//! Sectors built by the judge: the Merkle root, the layout, and the skylink of a small file.

use anyhow::ensure;

use super::entry::blake2b;
use super::link::Link;

const LEAF: usize = 64;

/// The root over leaves of 64 bytes. Their number must be a power of two.
pub fn root(sector: &[u8]) -> [u8; 32] {
    let mut nodes: Vec<[u8; 32]> = sector.chunks(LEAF).map(|leaf| blake2b(&[&[0], leaf])).collect();
    while nodes.len() > 1 {
        nodes = nodes.chunks(2).map(|pair| blake2b(&[&[1], &pair[0], &pair[1]])).collect();
    }
    nodes[0]
}

/// `bytes`, padded with zeros to a sector.
pub fn padded(bytes: &[u8], sector: u64) -> Vec<u8> {
    let mut padded = bytes.to_vec();
    padded.resize(sector as usize, 0);
    padded
}

/// The first bytes of a base sector.
pub fn layout(length: u64, metadata: u64, fanout: u64, pieces: (u8, u8)) -> Vec<u8> {
    let mut layout = vec![1];
    for size in [length, metadata, fanout] {
        layout.extend_from_slice(&size.to_le_bytes());
    }
    layout.extend_from_slice(&[pieces.0, pieces.1, 0, 0, 0, 0, 0, 0, 0, 1]);
    layout.resize(99, 0);
    layout
}

/// The bitfield of a v1 skylink of this many bytes at offset 0.
pub fn bitfield(length: u64) -> anyhow::Result<u16> {
    ensure!((1..=4 << 20).contains(&length), "{length} bytes do not fit a skylink");
    let mode = (0_u16..8).find(|mode| length <= 32_768 << mode).unwrap_or_default();
    let code = if mode == 0 { (length - 1) / 4096 } else { (length - (16_384 << mode) - 1) / (2048 << mode) };
    // From the lowest bit: the version less one in two bits, `mode` ones and a zero, the code of the size.
    let ones = (1_u16 << mode) - 1;
    Ok((ones << 2) | ((code as u16) << (mode + 3)))
}

/// The skylink of a base sector whose first `used` bytes matter.
pub fn link(sector: &[u8], used: usize) -> anyhow::Result<Link> {
    let bitfield = bitfield(used as u64)?.to_le_bytes();
    Link::of(&[bitfield.as_slice(), &root(sector)].concat())
}

/// The header before the base sector in a restore.
pub fn backup_header(link: &Link) -> Vec<u8> {
    let mut header = Vec::new();
    for text in ["Skyfile Backup\n", "v1.5.5\n", &link.to_string()] {
        header.extend_from_slice(&(text.len() as u64).to_le_bytes());
        header.extend_from_slice(text.as_bytes());
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_sector_has_its_known_root() {
        let want = "50ed59cecd5ed3ca9e65cec0797202091dbba45272dafa3faa4e27064eedd52c";
        assert_eq!(data_encoding::HEXLOWER.encode(&root(&vec![0; 4 << 20])), want);
    }

    #[test]
    fn bitfields_are_the_known_ones() {
        let known = [(1, 0), (4097, 8), (32_768, 56), (32_769, 4), (65_537, 12), (3_407_873, 5628), (4_194_304, 7676)];
        for (length, want) in known {
            assert_eq!(bitfield(length).unwrap(), want, "of {length}");
        }
        assert!(bitfield(0).is_err() && bitfield((4 << 20) + 1).is_err());
    }

    #[test]
    fn a_small_file_has_the_skylink_that_a_portal_gave() {
        let content = r#"{"_data":{"example":"This is some example JSON data."},"_v":2}"#;
        let metadata = r#"{"filename":"testdatakey","length":62,"subfiles":{"testdatakey":{"filename":"testdatakey","len":62}},"tryfiles":["index.html"]}"#;
        let start = layout(content.len() as u64, metadata.len() as u64, 0, (0, 0));
        let used = [start.as_slice(), metadata.as_bytes(), content.as_bytes()].concat();
        let link = link(&padded(&used, 4 << 20), used.len()).unwrap();
        assert_eq!(link.to_string(), "AAA_uTgxYiKcqpGMLNe2V52fLc3FivZBZStLVqMSeHnGtQ");
    }
}
