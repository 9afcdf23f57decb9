//! Sector roots against those of `sia_core` 0.6.1 and of skyd, however the bytes come.

use proptest::prelude::*;

use super::*;

const ZERO_SECTOR: &str = "50ed59cecd5ed3ca9e65cec0797202091dbba45272dafa3faa4e27064eedd52c";

fn standard_root(bytes: &[u8]) -> String {
    sector_root(SectorSize::STANDARD, bytes).to_string()
}

#[test]
fn a_sector_of_zeros() {
    assert_eq!(standard_root(&[]), ZERO_SECTOR);
    assert_eq!(standard_root(&[0; 5000]), ZERO_SECTOR);
    assert_eq!(standard_root(&vec![0; SectorSize::STANDARD.bytes()]), ZERO_SECTOR);
}

/// The first `length` bytes of the generator that the vectors were made with.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(next).collect()
}

#[test]
fn roots_of_sectors_with_one_byte_or_a_counter() {
    let mut sector = vec![0; SectorSize::STANDARD.bytes()];
    sector[0] = 1;
    assert_eq!(standard_root(&sector), "8c20a2c90a733a5139cc57e45755322e304451c3434b0c0a0aad87f2f89a44ab");
    sector[0] = 0;
    *sector.last_mut().unwrap() = 1;
    assert_eq!(standard_root(&sector), "d0ab6691d76750618452e920386e5f6f98fdd1219a70a06f06ef622ac6c6373c");
    for (index, byte) in sector.iter_mut().enumerate() {
        *byte = index as u8;
    }
    assert_eq!(standard_root(&sector), "84d0672b204f38469dbb818bcb3caa7391f7781cbf84bce0482b2fd2c2d50938");
}

#[test]
fn roots_of_sectors_that_are_filled_up_with_zeros() {
    for (length, root) in [
        (1, "c8cfcce33eb0881d91e12e69c7ca292f8b02f14e87a5fa0369e46e1f9d6a2923"),
        (63, "43afb047a32afdc63025ac4f0d3883e5b396a85a0583fa26bd71f0b024eee6f5"),
        (64, "4995ce0e7257a91b76ded21a194db5e6ef86d47f6243e73b6f687552728d761e"),
        (65, "400cebc5e7ff13cd745d8d2ce82e192a7ae0d1f10fc3dcfe8d794498b4c541e2"),
        (4095, "0024b89b4dd4047344c02624e833de868c86a3a82a3c00a2b196cddffa09e0a7"),
        (4096, "8cd92e1fda6c0398f103c97f1839ebc3ca1f1d3a48ea615903006f96c41c82b7"),
        (4097, "656cc8bcccb726f3fbfe5b360064ae7de1bb9ebd736989370cc17856bfd84206"),
        (100_000, "81250f7b6616367235bf19f6a016f6edea4cce9c1a4c7c9db0580a7b0ed62866"),
        (1_048_576, "db2604d2792a289b34a2e4cd6ff1ab39d1ac7907200343c6b4c447723593ab3f"),
        (3_000_000, "01b9dc72c6d23adf4979896677956111eed05ee8f887f06ca3fd1dd57eb35082"),
        (4_194_303, "67c325e2a6515971ebb57dbe30b961df163dafba712dc55bd955c79ed7c33758"),
        (4_194_304, "b71d7e393da55647dec2005b5fa5980fd6b66a298142daa96ddb342f3287caca"),
    ] {
        assert_eq!(standard_root(&noise(length)), root, "{length}");
    }
}

/// The tree by its definition, over a power of two of leaves.
fn root_by_definition(bytes: &[u8]) -> [u8; 32] {
    let (prefix, rest) = match bytes.len() {
        LEAF_SIZE => (LEAF, bytes.to_vec()),
        _ => (NODE, bytes.chunks(bytes.len() / 2).flat_map(root_by_definition).collect()),
    };
    hash_one(prefix, &rest.try_into().unwrap())
}

#[test]
fn roots_are_text_and_back() {
    let root: SectorRoot = ZERO_SECTOR.parse().unwrap();
    assert_eq!(root.to_string(), ZERO_SECTOR);
    for bad in ["", &ZERO_SECTOR[..62], &ZERO_SECTOR.to_uppercase(), &format!("{ZERO_SECTOR}00")] {
        assert_eq!(bad.parse::<SectorRoot>(), Err(SectorRootError), "{bad}");
    }
}

#[test]
fn a_hasher_takes_one_sector_and_then_the_next() {
    let mut hasher = SectorHasher::new(SectorSize::new(4096).unwrap());
    let bytes = noise(5000);
    assert_eq!(hasher.update(&bytes), 4096);
    assert_eq!(hasher.update(&bytes[4096..]), 0);
    assert_eq!(hasher.finish(), sector_root(hasher.size, &bytes[..4096]));
    assert_eq!(hasher.update(&bytes[4096..]), 904);
    assert_eq!(hasher.finish(), sector_root(hasher.size, &bytes[4096..]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn any_sector_size_and_any_pieces_give_the_root_of_the_definition(
        shift in 12_u32..=15, length in 0_usize..=32768, cuts in prop::collection::vec(0_usize..10_000, 0..12),
    ) {
        let size = SectorSize::new(1 << shift).unwrap();
        let mut bytes = noise(length.min(size.bytes()));
        let mut hasher = SectorHasher::new(size);
        let mut rest = &bytes[..];
        for cut in cuts {
            let (now, later) = rest.split_at(cut.min(rest.len()));
            prop_assert_eq!(hasher.update(now), now.len());
            rest = later;
        }
        prop_assert_eq!(hasher.update(rest), rest.len());
        bytes.resize(size.bytes(), 0);
        prop_assert_eq!(*hasher.finish().as_bytes(), root_by_definition(&bytes));
    }
}
