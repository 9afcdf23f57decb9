//! How much of a skyfile is here.

use std::io;

use super::Skyfile;

/// In the terms of a network of hosts: this portal is one that has one copy of what it has.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Health {
    /// Pieces of a chunk that hold content, and those computed from them; both 0 without a fanout.
    pub(crate) data_pieces: u8,
    pub(crate) parity_pieces: u8,
    /// For each chunk the part of its content that is here, 1 for all.
    pub(crate) fanout: Vec<f64>,
}

impl Health {
    /// Looks for each sector. Blocks.
    pub(super) fn of(skyfile: &Skyfile) -> io::Result<Self> {
        let sectors = skyfile.sectors();
        let mut fanout = Vec::new();
        for chunk in skyfile.chunks() {
            let mut here = 0;
            for root in &chunk {
                here += u32::from(sectors.contains(root)?);
            }
            fanout.push(f64::from(here) / chunk.len() as f64);
        }
        let layout = skyfile.layout();
        let (data_pieces, parity_pieces) =
            if fanout.is_empty() { (0, 0) } else { (layout.data_pieces, layout.parity_pieces) };
        Ok(Health { data_pieces, parity_pieces, fanout })
    }
}
