//! The local part of a skyfile.

use std::io;

use super::Skyfile;

/// The health in terms of a network of hosts: this portal is one host, with one copy of its content.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Health {
    /// Pieces of a chunk with content, and pieces computed from them; both 0 without a fanout.
    pub(crate) data_pieces: u8,
    pub(crate) parity_pieces: u8,
    /// For each chunk the local part of its content; 1 means all.
    pub(crate) fanout: Vec<f64>,
}

impl Health {
    /// Checks each sector. Blocks.
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
