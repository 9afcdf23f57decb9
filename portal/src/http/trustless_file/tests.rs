//! Parts of files, verified with nothing but the skylink, as skyd's client does.

use skynet_formats::profile::Profile;
use skynet_formats::range_proof;
use skynet_formats::sector::SectorRoot;
use skynet_formats::skylink::{Skylink, Target};

use super::*;
use crate::http::tests::{TestPortal, bytes, get, text, upload};

/// An answer that is parsed and verified from its beginning to its end.
struct Answered<'a> {
    rest: &'a [u8],
    size: SectorSize,
    base: SectorRoot,
    offset: usize,
}

impl<'a> Answered<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    /// The bytes at these offsets of a sector. It verifies the leaves that contain them.
    fn proven(&mut self, root: &SectorRoot, bytes: Range<usize>) -> &'a [u8] {
        let leaves = bytes.start / 64 * 64..bytes.end.div_ceil(64) * 64;
        let content = self.take(leaves.len());
        let proof = self.take(range_proof::proof_size(self.size, leaves.clone()).unwrap());
        range_proof::verify(self.size, root, leaves.start, content, proof).unwrap();
        &content[bytes.start - leaves.start..][..bytes.len()]
    }

    /// The part of the file. Panics if bytes are left over.
    fn part(mut self, part: Range<u64>) -> Vec<u8> {
        let section = u64::from_le_bytes(self.take(8).try_into().unwrap());
        let (base, offset) = (self.base, self.offset);
        let layout = Layout::decode(self.proven(&base, offset..offset + Layout::SIZE), self.size).unwrap();
        let head = offset + Layout::SIZE;
        let mut content = Vec::new();
        if layout.fanout_size == 0 {
            let first = head + layout.metadata_size as usize;
            content.extend(self.proven(&base, first + part.start as usize..first + part.end as usize));
        } else {
            let mut first = part.start;
            while first < part.end {
                let end = part.end.min((first / section + 1) * section);
                content.extend(self.section(&layout, head, first..end));
                first = end;
            }
        }
        assert_eq!(self.rest, [0; 0], "nothing follows");
        content
    }

    fn section(&mut self, layout: &Layout, fanout: usize, range: Range<u64>) -> Vec<u8> {
        let pieces = usize::from(layout.data_pieces);
        let chunk_size = pieces * self.size.bytes();
        let (chunk, start) = (range.start as usize / chunk_size, range.start as usize % chunk_size);
        let length = (range.end - range.start) as usize;
        let rows = start / (64 * pieces)..(start + length).div_ceil(64 * pieces);
        let base = self.base;
        let mut read = Vec::new();
        for piece in 0..pieces {
            let place = u32::from_le_bytes(self.take(4).try_into().unwrap()) as usize;
            assert_eq!(place, fanout + 32 * (chunk * layout.chunk_roots() as usize + piece));
            let root = SectorRoot::from_bytes(self.proven(&base, place..place + 32).try_into().unwrap());
            read.push(self.proven(&root, rows.start * 64..rows.end * 64));
        }
        let joined: Vec<u8> = (0..rows.len())
            .flat_map(|row| read.iter().flat_map(move |piece| piece[row * 64..][..64].to_vec()))
            .collect();
        joined[start - rows.start * 64 * pieces..][..length].to_vec()
    }
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

async fn check(profile: &str, length: usize, parts: &[(u64, u64)]) {
    let profile: Profile = profile.parse().unwrap();
    let portal = TestPortal::with(|options| options.profile = profile);
    let content = noise(length);
    let link = upload(&portal, "a", content.clone()).await;
    let Target::Sector { root, offset, .. } = link.parse::<Skylink>().unwrap().target() else { panic!("v1") };
    for (first, length) in parts.iter().copied() {
        let path = format!("/skynet/trustless/file/v1/{link}?offset={first}&length={length}");
        let response = portal.send(get(&path)).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["skynet-skylink"], link.as_str());
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        let stated = response.headers().get("content-length").map(|value| value.to_str().unwrap().to_owned());
        let answer = bytes(response).await;
        assert!(stated.is_none_or(|stated| stated == answer.len().to_string()));
        let answered = Answered { rest: &answer, size: profile.sector_size(), base: root, offset: offset as usize };
        let part = first..first + length;
        assert!(answered.part(part) == content[first as usize..(first + length) as usize], "{profile:?} {path}");
    }
}

#[tokio::test]
async fn parts_of_small_files_are_proven() {
    check("4MiB/1+4", 3000, &[(0, 3000), (0, 1), (100, 70), (2999, 1)]).await;
    check("4MiB/1+4", 4_194_000, &[(0, 4_194_000), (4_193_999, 1)]).await;
    check("4KiB/1+4", 3000, &[(0, 3000), (511, 2)]).await;
}

#[tokio::test]
async fn parts_of_large_files_are_proven() {
    let sector = 4_194_304;
    let length = 2 * sector + 1000;
    check("4MiB/1+4", length as usize, &[(0, length), (0, 1), (sector - 10, 20), (sector, sector), (length - 1, 1)])
        .await;
}

#[tokio::test]
async fn parts_over_several_data_pieces_are_proven() {
    // Sections have 512 bytes, no multiple of a row, which has 192 or 640 bytes.
    let all = [(0, 90_000), (0, 1), (511, 2), (12_287, 2), (40_000, 9000), (89_999, 1)];
    check("4KiB/3+2", 90_000, &all).await;
    check("4KiB/10+20", 90_000, &all).await;
    check("256KiB/2+1", 600_000, &[(0, 600_000), (262_143, 2), (599_999, 1)]).await;
}

/// Each section has bytes of every data piece of its chunk, and needs proofs from the base sector.
#[tokio::test]
async fn no_sector_is_hashed_more_than_once_for_a_file() {
    const PIECES: usize = 10;
    let portal = TestPortal::with(|options| options.profile = "256KiB/10+20".parse().unwrap());
    let chunk = PIECES << 18;
    let content = noise(2 * chunk);
    let link = upload(&portal, "a", content).await;
    let hashed = || portal.portal().stores().unwrap().skyfiles.hashed_for_proofs();
    let before = hashed();
    let path = format!("/skynet/trustless/file/v1/{link}");
    let one = portal.send(get(&format!("{path}?offset=100&length=1"))).await;
    bytes(one).await;
    assert_eq!(hashed() - before, 1 + PIECES as u64, "the base sector, and a row of the pieces");
    let whole = bytes(portal.send(get(&path)).await).await;
    assert!(whole.len() > 2 * chunk);
    assert_eq!(hashed() - before, 1 + 2 * PIECES as u64, "the other chunk's, for 20 sections");
    bytes(portal.send(get(&path)).await).await;
    assert_eq!(hashed() - before, 1 + 2 * PIECES as u64, "nothing again");
}

#[tokio::test]
async fn zeros_at_the_end_of_a_file_are_proven_too() {
    let portal = TestPortal::new();
    let link = upload(&portal, "a", vec![0; (4 << 20) + 70]).await;
    let Target::Sector { root, .. } = link.parse::<Skylink>().unwrap().target() else { panic!("v1") };
    let answer = bytes(portal.send(get(&format!("/skynet/trustless/file/v1/{link}"))).await).await;
    let answered = Answered { rest: &answer, size: SectorSize::STANDARD, base: root, offset: 0 };
    assert!(answered.part(0..(4 << 20) + 70) == vec![0; (4 << 20) + 70]);
}

#[tokio::test]
async fn parts_that_are_not_there() {
    let portal = TestPortal::new();
    let link = upload(&portal, "a", "content").await;
    let path = format!("/skynet/trustless/file/v1/{link}");
    assert_eq!(bytes(portal.send(get(&path)).await).await[..8], (1_u64 << 20).to_le_bytes());
    assert_eq!(portal.send(get(&format!("{path}?offset=3"))).await.status(), 200, "what follows");
    for (query, words) in [
        ("offset=x", "failed to parse offset"),
        ("length=-1", "failed to parse length"),
        ("length=0", "can't request 0 byte"),
        ("offset=7", "can't request 0 byte"),
        ("offset=3&length=5", "out-of-bounds for file of size 7"),
        ("offset=18446744073709551615&length=2", "out-of-bounds"),
    ] {
        let response = portal.send(get(&format!("{path}?{query}"))).await;
        assert_eq!(response.status(), 400, "{query}");
        assert!(text(response).await.contains(words), "{query}");
    }
    let absent = "/skynet/trustless/file/v1/AABVgSG2Kiq2eCw9J5J79RI3Y6mxjbfZAavEK-6_gMHONA";
    assert_eq!(portal.send(get(absent)).await.status(), 404);
    let empty = upload(&portal, "a", "").await;
    assert_eq!(portal.send(get(&format!("/skynet/trustless/file/v1/{empty}"))).await.status(), 400);
}
