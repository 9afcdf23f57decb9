//! Range proofs against a golden one of Sia's, and against liars.

use proptest::prelude::*;

use super::*;
use crate::sector::sector_root;
use crate::sector::tests::noise;
use crate::sector_tree::SectorTree;

/// A proof made of no more than two blocks, each read once.
fn prove(size: SectorSize, sector: &[u8], range: Range<usize>) -> std::io::Result<Vec<u8>> {
    let tree = SectorTree::new(size, sector);
    assert_eq!(tree.root(), sector_root(size, sector));
    let mut read = Vec::new();
    let proof = tree.prove(&range, |block| {
        assert_eq!((block.len(), block.start % 4096), (4096, 0));
        read.push(block.start);
        Ok(sector.get(block.start..block.end.min(sector.len())).unwrap_or_default().to_vec())
    });
    assert!(read.len() <= 2, "{range:?} read {read:?}");
    proof
}

/// The sector of the golden proof: a splitmix64 stream.
fn splitmix_sector() -> Vec<u8> {
    let states = (1_u64..).map(|n| 0x0123_4567_89ab_cdef_u64.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let words = states.map(|mut z| {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    });
    words.take(SectorSize::STANDARD.bytes() / 8).flat_map(u64::to_le_bytes).collect()
}

/// Made by `BuildProof` of go.sia.tech/core rhp/v2 for leaves 24 to 42; published with `sia_core` 0.6.1.
const PROOF_24_42: [&str; 15] = [
    "9596ec473dc28ec9ed9f40aff5023d724447584e2229d64b252bad1882d346f3",
    "e28c4f2c253195bd718757a7d3f7015cef60f570b2dc19cad1508c219b1c0495",
    "13162b01bcbd53f56ee3090431c274b43194009ab037dd2f8fc6fcce69b85d2d",
    "e9bf7f6b9e17c0942e34d50b6851419fc64d7e8bde24b50334ac58c6d53d4f81",
    "4168077910d52f8694b0084d45a4b22db0f497984e95b29bb47a82c0e8b249bb",
    "a17f44317bd8647db096d6cc3080428de8cea4caf391cbcf8d39bc683970962f",
    "2c1262b5c876c9616e738f32948d5b0621dd4eb7058c760f0669d364bed69027",
    "28c7e0115673a315b1fa5b21a29d79e156fe1a627b0d8228f08cd0f7ca5e674d",
    "ff5657a7b775b6d95a43d66b7cdf0241e624f459f861176c3e5dacde9876d98d",
    "d01cf598e2582f186359ff260e48bce40f9279105c66077d59a456bdd2d0f4ec",
    "c07d4d530161f9adfe5eb862af5dd7edc4fa8eb0310fcb25ef7eb51ede7b1e3a",
    "206fea02d289dd4205cea7032693f9253d5bff89e6019157dedf8b6ddc057b95",
    "d1896e9cbb9b49f9d6d9b8ccf6c14fe6466edd7c39e1beb3973783e7595d4e15",
    "8b21c694a70ac9302bd5b5523c5efb34d69e09835b93bfd36da018d5f6f2ab42",
    "c8a63e994d8d16fdb1a169f1baea63b1e7aa5cd29dd418e2eaa5427b85761d6a",
];

#[test]
fn the_proof_of_a_range_in_the_middle_is_that_of_sia() {
    let sector = splitmix_sector();
    let proof = prove(SectorSize::STANDARD, &sector, 24 * 64..42 * 64).unwrap();
    let hashes = proof.as_chunks().0.iter().map(|hash| SectorRoot::from_bytes(*hash).to_string());
    assert_eq!(hashes.collect::<Vec<_>>(), PROOF_24_42);
}

#[test]
fn ranges_that_are_no_leaves_are_refused() {
    let size = SectorSize::new(4096).unwrap();
    let root = sector_root(size, &[]);
    for range in [0..0, 64..64, 1..65, 0..63, 0..4160, 4096..4160] {
        let refused = prove(size, &[], range.clone()).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput, "{range:?}");
        assert_eq!(proof_size(size, range), Err(RangeProofError::InvalidRange));
    }
    assert_eq!(verify(size, &root, usize::MAX - 63, &[0; 64], &[]), Err(RangeProofError::InvalidRange));
}

#[test]
fn the_whole_sector_needs_no_hashes() {
    let size = SectorSize::new(4096).unwrap();
    let sector = noise(4096);
    assert_eq!(prove(size, &sector, 0..4096).unwrap(), Vec::<u8>::new());
    assert_eq!(verify(size, &sector_root(size, &sector), 0, &sector, &[]), Ok(()));
}

proptest! {
    #[test]
    fn a_proof_convinces_and_one_flipped_bit_does_not(
        shift in 12_u32..=14, length in 0_usize..=16384, first in 0_usize..256, count in 1_usize..=256, flip: usize,
    ) {
        let size = SectorSize::new(1 << shift).unwrap();
        let first = first % size.leaves();
        let range = first * 64..(first + count).min(size.leaves()) * 64;
        let mut sector = noise(length.min(size.bytes()));
        let root = sector_root(size, &sector);
        let mut proof = prove(size, &sector, range.clone()).unwrap();
        prop_assert_eq!(proof_size(size, range.clone()), Ok(proof.len()));
        sector.resize(size.bytes(), 0);
        let mut bytes = sector[range.clone()].to_vec();
        prop_assert_eq!(verify(size, &root, range.start, &bytes, &proof), Ok(()));

        let longer = [&proof[..], &[0; 32]].concat();
        prop_assert_eq!(verify(size, &root, range.start, &bytes, &longer), Err(RangeProofError::WrongLength));
        let bit = flip % ((bytes.len() + proof.len()) * 8);
        match (bit / 8).checked_sub(bytes.len()) {
            None => bytes[bit / 8] ^= 1 << (bit % 8),
            Some(byte) => proof[byte] ^= 1 << (bit % 8),
        }
        prop_assert_eq!(verify(size, &root, range.start, &bytes, &proof), Err(RangeProofError::WrongRoot));
    }

    #[test]
    fn arbitrary_proofs_are_refused_without_a_panic(
        proof in prop::collection::vec(any::<u8>(), 0..300), offset: u16, length in 0_usize..500,
    ) {
        let size = SectorSize::new(4096).unwrap();
        let root = sector_root(size, &[1]);
        prop_assert!(verify(size, &root, usize::from(offset), &vec![7; length], &proof).is_err());
    }
}
