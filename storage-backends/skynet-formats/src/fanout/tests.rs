//! Fanouts against pieces that klauspost's coder made, and pieces against the content.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::profile::SectorSize;
use crate::sector::sector_root;
use crate::sector::tests::noise;

fn fanout_of(profile: Profile, content: &[u8]) -> Vec<SectorRoot> {
    let mut fanout = Fanout::new(profile);
    fanout.update(content);
    fanout.finish()
}

/// BLAKE2b-256 of the fanouts that klauspost/reedsolomon v1.14.2 gives for the recipe of skyd, and their last roots.
#[test]
fn fanouts_are_those_of_klauspost() {
    for (profile, length, roots, hash, last) in [
        (
            "4KiB/2+3",
            10_000,
            10,
            "060d547fe30cdf2dd00cc8b152a719b25c5c5f4c49b129651e863dfe5f1ed4b2",
            "b53956b186720d216922ba63e1933059eefa8dc5a8a452983d7c52210b47a90b",
        ),
        (
            "4KiB/10+20",
            50_000,
            60,
            "54dbf79b964ddd9359c62f7cf00691d80122a12290a606e27e2de769a54f373d",
            "1def035a01a4007b7aa8b6b97c1a96e455be442aea7bfea9b324b58fe56d43d3",
        ),
        (
            "4MiB/10+20",
            5_242_880,
            30,
            "ae4ffa52d882662ed101f711099727e2f45c9752af455e7fcef8749f056b344c",
            "dd0ed90cecc7d9b55b4fedaecbee9c00336e84ec65ed2d38ac2155ff1140ee13",
        ),
    ] {
        let fanout = fanout_of(profile.parse().unwrap(), &noise(length));
        let bytes: Vec<u8> = fanout.iter().flat_map(SectorRoot::as_bytes).copied().collect();
        let found = blake2b_simd::Params::new().hash_length(32).hash(&bytes);
        assert_eq!(found.to_hex().as_str(), hash, "{profile}");
        assert_eq!((fanout.len(), fanout[fanout.len() - 1].to_string().as_str()), (roots, last));
    }
}

#[test]
fn no_content_has_no_fanout() {
    for profile in ["4MiB/1+4", "4MiB/10+20"] {
        assert_eq!(fanout_of(profile.parse().unwrap(), b""), []);
    }
}

/// By chunk and piece.
type Pieces = BTreeMap<(u64, u8), Vec<u8>>;

/// The pieces, from parts that must come in order.
fn pieces_of(profile: Profile, content: &[u8], cuts: &[usize]) -> (Pieces, Vec<SectorRoot>) {
    let mut pieces = Pieces::new();
    let mut keep = |part: PiecePart<'_>| {
        let piece = pieces.entry((part.chunk, part.piece)).or_default();
        assert_eq!(piece.len(), part.offset);
        piece.extend_from_slice(part.bytes);
    };
    let mut fanout = Fanout::new(profile);
    let mut rest = content;
    for cut in cuts {
        let (now, later) = rest.split_at((*cut).min(rest.len()));
        fanout.update_into(now, &mut keep);
        rest = later;
    }
    fanout.update_into(rest, &mut keep);
    let complete = fanout.roots().to_vec();
    let roots = fanout.finish_into(&mut keep);
    let pieces_of_chunk = if profile.data_pieces() == 1 { 1 } else { profile.data_pieces() + profile.parity_pieces() };
    let expected = content.len() as u64 / profile.chunk_size() * u64::from(pieces_of_chunk);
    assert_eq!(complete, roots[..expected as usize]);
    (pieces, roots)
}

fn profiles() -> impl Strategy<Value = Profile> {
    let size = prop::sample::select(vec![4096, 8192]);
    (size, 1_u8..=4, 1_u8..=3)
        .prop_map(|(size, data, parity)| Profile::new(SectorSize::new(size).unwrap(), data, parity).unwrap())
}

/// The content of a chunk from its data pieces, by the definition.
fn join(data: &[&[u8]], length: usize) -> Vec<u8> {
    let segments = (0_usize..).map(|index| (data[index % data.len()], index / data.len() * SEGMENT_SIZE));
    let segments = segments.map(|(piece, offset)| piece.get(offset..offset + SEGMENT_SIZE).unwrap_or(&[0; 64]));
    segments.take(length.div_ceil(SEGMENT_SIZE)).flatten().copied().take(length).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn pieces_have_the_roots_and_hold_the_content(
        profile in profiles(), length in 0_usize..60_000, cuts in prop::collection::vec(0_usize..20_000, 0..6),
    ) {
        let content = noise(length);
        let (pieces, roots) = pieces_of(profile, &content, &cuts);
        prop_assert_eq!(&roots, &fanout_of(profile, &content));
        let found = pieces.values().map(|bytes| sector_root(profile.sector_size(), bytes));
        prop_assert!(found.eq(roots));
        let data_pieces = profile.data_pieces();
        for (chunk, content) in content.chunks(profile.chunk_size() as usize).enumerate() {
            let data: Vec<&[u8]> = (0..data_pieces).map(|piece| &pieces[&(chunk as u64, piece)][..]).collect();
            if data_pieces == 1 {
                prop_assert_eq!(data[0], content);
            } else {
                prop_assert_eq!(join(&data, content.len()), content);
            }
        }
    }
}
