//! Skylinks against published vectors, and against everything that is none.

use proptest::prelude::*;

use super::*;

const SKYLINK: &str = "XABvi7JtJbQSMAcDwnUnmp2FKDPjg8_tTTFP4BwMSxVdEg";
const SKYLINK_BASE32: &str = "bg06v2tidkir84hg0s1s4t97jaeoaa1jse1svrad657u070c9calq4g";
const RESOLVER: &str = "AQDwh1jnoZas9LaLHC_D4-2yP9XYDdZzNtz62H4Dww1jDA";

fn zero_root() -> SectorRoot {
    SectorRoot::from_bytes([0; 32])
}

fn fetch_size_for(length: u64) -> u64 {
    match Skylink::v1(zero_root(), 0, length).unwrap().target() {
        Target::Sector { offset: 0, fetch_size, .. } => fetch_size,
        other => panic!("{other:?}"),
    }
}

#[test]
fn bitfields_of_the_facts_page() {
    for (length, bitfield) in
        [(1, 0), (4097, 8), (32768, 56), (32769, 4), (65537, 12), (3_407_873, 5628), (4_194_304, 7676)]
    {
        assert_eq!(Skylink::v1(zero_root(), 0, length).unwrap().bitfield(), bitfield, "{length}");
    }
}

#[test]
fn fetch_sizes_are_those_of_libskynet() {
    for (length, fetch_size) in [
        (0, 4096),
        (1, 4096),
        (4095, 4096),
        (4096, 4096),
        (4097, 8192),
        (8193, 12288),
        (12289, 16384),
        (32767, 32768),
        (32769, 36864),
        (36865, 40960),
        (45057, 49152),
        (65537, 73728),
        (106_497, 114_688),
        (163_841, 180_224),
        (491_521, 524_288),
        (720_897, 786_432),
        (1_572_864, 1_572_864),
        (1_572_865, 1_703_936),
        (3_407_873, 3_670_016),
    ] {
        assert_eq!(fetch_size_for(length), fetch_size, "{length}");
    }
}

#[test]
fn both_alphabets_name_the_same_bytes() {
    let skylink: Skylink = SKYLINK.parse().unwrap();
    assert_eq!(skylink.to_string(), SKYLINK);
    assert_eq!(skylink.to_base32(), SKYLINK_BASE32);
    assert_eq!(SKYLINK_BASE32.parse(), Ok(skylink));
    assert_eq!(SKYLINK_BASE32.to_uppercase().parse(), Ok(skylink));
    assert_eq!(Skylink::from_uri(&format!("sia://{SKYLINK}")), Ok(skylink));
    assert_eq!(Skylink::from_uri(SKYLINK_BASE32), Ok(skylink));
}

/// As skyd reads them; the first is from the tests of its SDK for JavaScript.
#[test]
fn bits_that_no_byte_needs_may_have_any_value() {
    for (text, canonical) in [
        ("AQDwh1jnoZas9LaLHC_D4-2yO9XYDdZzNtz62H4Dww1jDB", "AQDwh1jnoZas9LaLHC_D4-2yO9XYDdZzNtz62H4Dww1jDA"),
        (&format!("{}h", &SKYLINK[..45]), SKYLINK),
        (&format!("{}h", &SKYLINK_BASE32[..54]), SKYLINK),
        (&format!("{}N", &SKYLINK_BASE32[..54]), SKYLINK),
    ] {
        assert_eq!(text.parse::<Skylink>().unwrap().to_string(), canonical, "{text}");
    }
}

#[test]
fn a_resolver_skylink_names_an_entry() {
    let skylink: Skylink = RESOLVER.parse().unwrap();
    let Target::Entry(id) = skylink.target() else { panic!("a v2 skylink") };
    assert_eq!(Skylink::v2(id), skylink);
}

#[test]
fn text_that_is_no_skylink_is_refused() {
    let with_line_end = format!("{}\n", &SKYLINK[..45]);
    let padded = format!("{}=", &SKYLINK[..45]);
    let standard_alphabet = SKYLINK.replace('_', "/");
    let (short, long) = (&SKYLINK[..45], format!("{SKYLINK}A"));
    let uri = format!("sia://{SKYLINK}");
    let path = format!("{SKYLINK}/a");
    for bad in ["", short, &long, &uri, &path, &with_line_end, &padded, &standard_alphabet] {
        assert_eq!(bad.parse::<Skylink>(), Err(SkylinkError::Malformed), "{bad}");
    }
    assert_eq!(Skylink::from_uri(&format!("sia://sia://{SKYLINK}")), Err(SkylinkError::Malformed));
}

#[test]
fn bitfields_that_mean_nothing_are_refused() {
    let with = |bitfield: u16| {
        let mut bytes = [7; Skylink::SIZE];
        bytes[..2].copy_from_slice(&bitfield.to_le_bytes());
        Skylink::from_bytes(&bytes).map(|_| ())
    };
    assert_eq!(with(0b11_1111_1100), Err(SkylinkError::InvalidMode));
    assert_eq!(with(0xFFFC), Err(SkylinkError::InvalidMode));
    for version in [2, 3, 5, 9, 0xFFFF, 0x8001] {
        assert_eq!(with(version), Err(SkylinkError::UnknownVersion), "{version}");
    }
    // Mode 0, offset 1023 * 4096, 8192 bytes.
    assert_eq!(with(1023 << 6 | 1 << 3), Err(SkylinkError::OutOfBounds));
    assert_eq!(with(1023 << 6), Ok(()));
}

#[test]
fn ranges_without_a_skylink_are_refused() {
    for (offset, length) in [(0, MAX_FETCH_SIZE + 1), (4096, MAX_FETCH_SIZE), (u64::MAX, 1), (1, u64::MAX)] {
        assert_eq!(Skylink::v1(zero_root(), offset, length), Err(SkylinkError::OutOfBounds));
    }
    for (offset, length) in [(1, 1), (4096, 32769), (2048, 0)] {
        let unaligned = SkylinkError::Unaligned { offset, length };
        assert_eq!(Skylink::v1(zero_root(), offset, length), Err(unaligned));
    }
}

#[test]
fn every_bitfield_is_refused_or_says_its_range_in_the_one_way() {
    for bitfield in 0..=u16::MAX {
        if let Ok((offset, fetch_size)) = decode_range(bitfield) {
            assert!(offset + fetch_size <= MAX_FETCH_SIZE);
            assert_eq!(encode_range(offset, fetch_size), Ok(bitfield));
        }
    }
}

proptest! {
    #[test]
    fn a_fetch_size_covers_the_length_and_little_more(length in 0..=MAX_FETCH_SIZE) {
        let fetch_size = fetch_size_for(length);
        prop_assert!(fetch_size >= length);
        prop_assert!(fetch_size - length <= (length / 8).max(4096));
    }

    #[test]
    fn raw_bytes_are_refused_or_come_back(bytes in prop::array::uniform32(any::<u8>()), bitfield: u16) {
        let mut raw = [0; Skylink::SIZE];
        raw[..2].copy_from_slice(&bitfield.to_le_bytes());
        raw[2..].copy_from_slice(&bytes);
        if let Ok(skylink) = Skylink::from_bytes(&raw) {
            prop_assert_eq!(skylink.to_bytes(), raw);
            prop_assert_eq!(skylink.to_string().parse(), Ok(skylink));
            prop_assert_eq!(skylink.to_base32().parse(), Ok(skylink));
            match skylink.target() {
                Target::Sector { offset, fetch_size, root } => {
                    prop_assert_eq!(Skylink::v1(root, offset, fetch_size), Ok(skylink));
                }
                Target::Entry(id) => prop_assert_eq!(Skylink::v2(id), skylink),
            }
        }
    }

    #[test]
    fn text_is_refused_or_prints_as_it_was_written(text in "[A-Za-z0-9_-]{46}|AA[A-Za-z0-9_-]{44}|[0-9a-v]{55}|.{0,60}") {
        // But for the last character, of which not all bits count.
        let start = |text: &str| text[..text.len() - 1].to_owned();
        if let Ok(skylink) = text.parse::<Skylink>() {
            let (base64, base32) = (skylink.to_string(), skylink.to_base32());
            prop_assert!(start(&base64) == start(&text) || start(&base32) == start(&text.to_lowercase()));
        }
    }
}
