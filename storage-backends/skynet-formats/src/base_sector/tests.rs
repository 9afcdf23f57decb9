//! Base sectors of real portals rebuilt, and hostile ones refused.

use proptest::prelude::*;

use super::*;

/// Skylinks that public portals gave for `(metadata, content)`.
const FROM_PORTALS: [(&str, &str, &str); 4] = [
    (
        r#"{"filename":"dk:646174614b657931","length":39,"subfiles":{"dk:646174614b657931":{"filename":"dk:646174614b657931","contenttype":"application/json","len":39}}}"#,
        r#"{"_data":{"message":"hi there"},"_v":2}"#,
        "AACDPHoC2DCV_kLGUdpdRJr3CcxCmKadLGPi6OAMl7d48w",
    ),
    (
        r#"{"filename":"dk:646174614b657933","length":40,"subfiles":{"dk:646174614b657933":{"filename":"dk:646174614b657933","contenttype":"application/json","len":40}}}"#,
        r#"{"_data":{"message":"hi there!"},"_v":2}"#,
        "AAAVyJktMuK-7WRCNUvYcYq7izvhCbgDLXlT4YgechblJw",
    ),
    (
        r#"{"filename":"testdatakey","length":62,"subfiles":{"testdatakey":{"filename":"testdatakey","len":62}},"tryfiles":["index.html"]}"#,
        r#"{"_data":{"example":"This is some example JSON data."},"_v":2}"#,
        "AAA_uTgxYiKcqpGMLNe2V52fLc3FivZBZStLVqMSeHnGtQ",
    ),
    (
        r#"{"filename":"testdatakey","length":75,"subfiles":{"testdatakey":{"filename":"testdatakey","len":75}},"tryfiles":["index.html"]}"#,
        r#"{"_data":{"example":"This is some example JSON data for SkyDB V2."},"_v":2}"#,
        "AAB1QJWQV0y2ynDXnJvOt0uh-THq-pJj2_layW5fjPXhTQ",
    ),
];

#[test]
fn skylinks_of_public_portals_are_reproduced() {
    for (metadata, content, skylink) in FROM_PORTALS {
        let made = BaseSector::small(SectorSize::STANDARD, metadata.as_bytes(), content.as_bytes()).unwrap();
        assert_eq!(made.skylink().to_string(), skylink);
        let parts = parse(made.bytes(), SectorSize::STANDARD).unwrap();
        assert_eq!(parts.metadata, metadata.as_bytes());
        assert_eq!(parts.body, Body::Content(content.as_bytes()));
    }
}

fn small_size() -> SectorSize {
    SectorSize::new(4096).unwrap()
}

#[test]
fn a_base_sector_may_come_with_its_zeros_or_without() {
    let made = BaseSector::small(small_size(), b"{}", b"content").unwrap();
    let mut padded = made.bytes().to_vec();
    padded.resize(4096, 0);
    assert_eq!(parse(&padded, small_size()), parse(made.bytes(), small_size()));
    padded.push(0);
    assert_eq!(parse(&padded, small_size()), Err(BaseSectorError::LongerThanSector(4096)));
    let found = made.bytes().len() - 1;
    let incomplete = BaseSectorError::Incomplete { needed: found as u64 + 1, found };
    assert_eq!(parse(&made.bytes()[..found], small_size()), Err(incomplete));
}

#[test]
fn sizes_beyond_the_sector_are_refused() {
    let parse_layout = |layout: Layout| parse(&layout.encode(), small_size()).unwrap_err();
    for metadata_size in [4096, u64::MAX] {
        assert_eq!(parse_layout(Layout::without_fanout(0, metadata_size)), BaseSectorError::ExtendedFanout);
    }
    for file_size in [4000, u64::MAX] {
        let error = parse_layout(Layout::without_fanout(file_size, 2));
        assert_eq!(error, BaseSectorError::ImpossibleContent(file_size));
    }
    let pieces = Layout { data_pieces: 1, parity_pieces: 4, ..Layout::without_fanout(4096 * 4096, 2) };
    assert_eq!(parse_layout(Layout { fanout_size: 4096 * 32, ..pieces }), BaseSectorError::ExtendedFanout);
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_made_of_their_parts(
        sizes in prop::array::uniform3(0_u64..200), pieces in prop::array::uniform2(0_u8..3),
        rest in prop::collection::vec(any::<u8>(), 0..400), cut in 0_usize..500,
    ) {
        let layout = Layout {
            fanout_size: sizes[2] / 60 * 32,
            data_pieces: pieces[0],
            parity_pieces: pieces[1],
            ..Layout::without_fanout(sizes[0] * if sizes[2] > 60 { 64 } else { 1 }, sizes[1])
        };
        let mut bytes = [&layout.encode()[..], &rest].concat();
        bytes.truncate(cut);
        if let Ok(parts) = parse(&bytes, small_size()) {
            let (fanout, content) = match parts.body {
                Body::Content(content) => (Vec::new(), content),
                Body::Fanout(roots) => (roots.concat(), &[][..]),
            };
            let joined = [&parts.layout.encode()[..], &fanout, parts.metadata, content].concat();
            prop_assert!(bytes.starts_with(&joined));
            prop_assert_eq!(fanout.is_empty(), layout.fanout_size == 0);
        }
    }
}
