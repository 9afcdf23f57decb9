//! Canonical skylinks against those that real skyd answered.

use content_store::digest::Algorithm;
use content_store::hasher::Hasher;
use proptest::prelude::*;
use skynet_formats::base_sector::{self, Body};
use skynet_formats::profile::SectorSize;
use skynet_formats::sector::sector_root;
use skynet_formats::unit_roots::UnitRoots;

use super::*;

/// The content of the recorded vectors: SHA-256 of the decimal length, repeated.
fn content(length: usize) -> Vec<u8> {
    use sha2::Digest as _;
    let hash = sha2::Sha256::digest(length.to_string().as_bytes());
    hash.iter().copied().cycle().take(length).collect()
}

fn digest_of(content: &[u8]) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(content);
    hasher.finish()
}

fn unit_roots(unit: SectorSize, content: &[u8]) -> Vec<SectorRoot> {
    let mut roots = UnitRoots::new(unit);
    roots.update(content);
    roots.finish()
}

/// Recorded from skyd with 4 MiB sectors and 1+4 pieces, raw uploads and TUS alike.
#[test]
fn skylinks_are_those_of_real_skyd() {
    for (length, form, skylink) in [
        (0, Form::Small, "AAD2E1BSqhb-sofNgWEyFoZ8tOZ6S-v2Knd62b5RsqpfOg"),
        (1024, Form::Small, "AABVgSG2Kiq2eCw9J5J79RI3Y6mxjbfZAavEK-6_gMHONA"),
        (102_400, Form::Small, "jABRRYVY0o26TnXq_u5R4azOMUWRLV3sK3OdYWg4qaCTRA"),
        (5_242_880, Form::Large, "AABIcFVAsC5P3wDC1GDsVHjIlP-dCfj3BbTTwrzMoLMdQg"),
        (10_485_760, Form::Large, "AADMe5DLWKS-jDVrU_g6s1NvB6QGFBcT7V_3tlU_ykQpVA"),
    ] {
        let content = content(length);
        let digest = digest_of(&content);
        assert_eq!(Form::of(&digest, length as u64, Profile::DEFAULT), form);
        let base_sector = match form {
            Form::Small => small(&digest, &content, Profile::DEFAULT),
            Form::Large => {
                let roots = unit_roots(SectorSize::STANDARD, &content);
                large(&digest, length as u64, Profile::DEFAULT, &roots)
            }
        };
        assert_eq!(base_sector.unwrap().skylink().to_string(), skylink, "{length}");
    }
}

#[test]
fn the_head_of_a_small_base_sector_follows_from_digest_and_length() {
    for length in [0, 1, 102_400] {
        let content = content(length);
        let digest = digest_of(&content);
        let made = small(&digest, &content, Profile::DEFAULT).unwrap();
        assert_eq!(made.bytes(), [small_head(&digest, length as u64), content].concat(), "{length}");
    }
}

#[test]
fn metadata_is_digest_and_length() {
    let digest = digest_of(b"");
    let expected =
        r#"{"filename":"sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","length":0}"#;
    assert_eq!(metadata(&digest, 0), expected.as_bytes());
}

#[test]
fn content_is_small_up_to_the_last_byte_of_the_sector() {
    let profile: Profile = "4KiB/1+4".parse().unwrap();
    // Layout and metadata of content with a length of four digits.
    let most = 4096 - 99 - 100;
    let fitting = content(most);
    let digest = digest_of(&fitting);
    assert_eq!(Form::of(&digest, most as u64, profile), Form::Small);
    assert_eq!(small(&digest, &fitting, profile).unwrap().bytes().len(), 4096);
    assert_eq!(Form::of(&digest, most as u64 + 1, profile), Form::Large);
    assert_eq!(Form::of(&digest, u64::MAX, profile), Form::Large);
    assert!(matches!(
        small(&digest, &content(most + 1), profile),
        Err(AssembleError::ContentTooLarge { needed: 4097, .. })
    ));
}

#[test]
fn a_fanout_larger_than_the_base_sector_is_refused() {
    let profile: Profile = "4KiB/1+4".parse().unwrap();
    let most = (4096 - 99 - 102) / 32;
    let digest = digest_of(b"");
    let roots = vec![sector_root(profile.sector_size(), b""); most + 1];
    assert!(large(&digest, most as u64 * 4096, profile, &roots[..most]).is_ok());
    let length = most as u64 * 4096 + 1;
    let error = large(&digest, length, profile, &roots).unwrap_err();
    assert!(matches!(error, AssembleError::FanoutTooLarge { file_size, .. } if file_size == length));
    assert!(matches!(large(&digest, u64::MAX, profile, &roots), Err(AssembleError::FanoutTooLarge { .. })));
}

#[test]
fn a_fanout_of_other_content_is_refused() {
    let digest = digest_of(b"");
    let root = sector_root(SectorSize::STANDARD, b"");
    let wrong = AssembleError::WrongFanout { found: 1, expected: 2 };
    assert_eq!(large(&digest, 5_242_880, Profile::DEFAULT, &[root]), Err(wrong));
    assert_eq!(large(&digest, 0, Profile::DEFAULT, &[]), Err(AssembleError::EmptyFanout));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn a_canonical_base_sector_parses_to_its_parts(length in 0_usize..20_000) {
        let profile: Profile = "4KiB/1+4".parse().unwrap();
        let content = content(length);
        let digest = digest_of(&content);
        let roots = unit_roots(profile.sector_size(), &content);
        let form = Form::of(&digest, length as u64, profile);
        let made = match form {
            Form::Small => small(&digest, &content, profile).unwrap(),
            Form::Large => large(&digest, length as u64, profile, &roots).unwrap(),
        };
        let parts = base_sector::parse(made.bytes(), profile.sector_size()).unwrap();
        prop_assert_eq!(parts.metadata, metadata(&digest, length as u64));
        prop_assert_eq!(parts.layout.file_size, length as u64);
        match parts.body {
            Body::Content(bytes) => prop_assert_eq!(bytes, &content[..]),
            Body::Fanout(hashes) => prop_assert!(hashes.iter().eq(roots.iter().map(SectorRoot::as_bytes))),
        }
    }
}
