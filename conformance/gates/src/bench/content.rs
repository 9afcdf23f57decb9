//! The bytes to push: large blobs of one repeated block, and small images, each different.

use harness::noise::noise;
use harness::site::{hex, sha256};
use sha2::{Digest as _, Sha256};

/// The block repeated in a large blob, which is also the size of a chunk in chunked pushes.
pub(super) const BLOCK: usize = 16 * 1024 * 1024;

/// Pieces of a body without announced length, as Go's clients send it.
const PIECE: usize = 32 * 1024;

/// The size of a small layer and of a small blob.
pub(super) const SMALL: usize = 4 * 1024;

/// A large blob.
#[derive(Debug)]
pub(super) struct LargeBlob {
    pub(super) block: Vec<u8>,
    pub(super) blocks: usize,
    pub(super) digest: String,
    /// One block in the chunked transfer coding.
    pub(super) coded: Vec<u8>,
}

/// One image of a config, a layer and a manifest.
#[derive(Debug)]
pub(super) struct SmallImage {
    pub(super) config: Vec<u8>,
    pub(super) layer: Vec<u8>,
    pub(super) manifest: Vec<u8>,
}

impl LargeBlob {
    /// A blob of `blocks` blocks, unique to its seed.
    pub(super) fn new(seed: u64, blocks: usize) -> Self {
        let block = noise(&seed.to_string(), BLOCK);
        let mut hash = Sha256::new();
        (0..blocks).for_each(|_| hash.update(&block));
        let digest = format!("sha256:{}", hex(&hash.finalize()));
        let mut coded = Vec::with_capacity(BLOCK + BLOCK / PIECE * 8);
        for piece in block.chunks(PIECE) {
            coded.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            coded.extend_from_slice(piece);
            coded.extend_from_slice(b"\r\n");
        }
        LargeBlob { block, blocks, digest, coded }
    }

    pub(super) fn length(&self) -> u64 {
        (self.block.len() * self.blocks) as u64
    }

    /// True if `piece` is the content at `offset`.
    pub(super) fn matches(&self, offset: u64, mut piece: &[u8]) -> bool {
        let mut at = (offset % BLOCK as u64) as usize;
        while !piece.is_empty() {
            let length = piece.len().min(BLOCK - at);
            let (head, tail) = piece.split_at(length);
            if head != &self.block[at..at + length] {
                return false;
            }
            (piece, at) = (tail, 0);
        }
        true
    }
}

impl SmallImage {
    pub(super) fn new(seed: u64) -> Self {
        let layer = noise(&seed.to_string(), SMALL);
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{"Labels":{{"seed":"{seed}"}}}},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
            sha256(&layer)
        )
        .into_bytes();
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": sha256(&config),
                "size": config.len(),
            },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": sha256(&layer),
                "size": layer.len(),
            }],
        });
        SmallImage { config, layer, manifest: manifest.to_string().into_bytes() }
    }
}

/// `sha256:` and the hash.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_compared_across_its_blocks() {
        let blob = LargeBlob::new(7, 2);
        let whole = [blob.block.clone(), blob.block.clone()].concat();
        assert_eq!(blob.digest, sha256(&whole));
        assert!(blob.matches(BLOCK as u64 - 5, &whole[BLOCK - 5..BLOCK + 9]));
        assert!(!blob.matches(1, &whole[..64]));
        assert_ne!(SmallImage::new(1).manifest, SmallImage::new(2).manifest);
    }
}
