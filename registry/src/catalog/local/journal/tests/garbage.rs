//! Journal files with arbitrary content are refused or read. They never cause a panic, nor yield a record that was not
//! written.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::super::record::{self, Role};
use super::super::segment::HEADER_BYTES;
use super::super::{repair, verify};
use super::*;

/// The headers of a valid segment and a valid snapshot, each for its file name here. Made once, since that takes ten
/// times as long as a case.
static HEADERS: LazyLock<[(String, Vec<u8>); 2]> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(directory.path()).unwrap();
    fill(&mut journal, &[1, 1]);
    compact(&mut journal);
    [segment(3), snapshot(2)].map(|name| {
        let bytes = fs::read(directory.path().join(&name)).unwrap();
        (name, bytes[..HEADER_BYTES].to_vec())
    })
});

/// Every way of reading the directory must end without a panic.
fn look_at(directory: &Path) -> Result<Vec<Record>, String> {
    let _ = verify(directory, None);
    let opened = open(directory).map(|(journal, _)| journal.replay_state().unwrap().filter_map(Result::ok).collect());
    let copied = tempfile::tempdir().unwrap();
    copy(directory, copied.path());
    let _ = repair(copied.path(), None, None, 1);
    opened.map_err(|error| error.to_string())
}

proptest! {
    #[test]
    fn no_bytes_under_a_name_of_ours_panic(
        files in prop::collection::vec((0..4_u64, any::<bool>(), prop::collection::vec(any::<u8>(), 0..300)), 1..3),
    ) {
        let directory = tempfile::tempdir().unwrap();
        for (number, is_segment, bytes) in files {
            let name = if is_segment { segment(number) } else { snapshot(number) };
            fs::write(directory.path().join(name), bytes).unwrap();
        }
        prop_assert_eq!(look_at(directory.path()).unwrap_or_default(), []);
    }

    #[test]
    fn no_bytes_behind_a_sound_header_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), both: bool) {
        let directory = tempfile::tempdir().unwrap();
        for (name, header) in HEADERS.iter().skip(usize::from(!both)) {
            fs::write(directory.path().join(name), [&header[..], &bytes].concat()).unwrap();
        }
        prop_assert_eq!(look_at(directory.path()).unwrap_or_default(), []);
    }

    /// Frames with correct checksums whose payload is not a record, or is a record of another position.
    #[test]
    fn no_payload_in_a_sound_frame_panics(
        frames in prop::collection::vec(
            (1..6_u64, 0..3_u32, any::<bool>(), prop_oneof![
                prop::collection::vec(any::<u8>(), 1..60),
                "\\{\"sequence\":[0-4],\"time\":[0-9]{1,3},\"fact\":\"[a-z-]{0,12}\"\\}".prop_map(String::into_bytes),
            ]),
            1..4,
        ),
        in_snapshot: bool,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let (name, mut bytes) = HEADERS[usize::from(in_snapshot)].clone();
        for (sequence, index, last, payload) in frames {
            record::encode(&mut bytes, &id(), sequence, Role::InBatch { index, last }, &payload);
        }
        bytes.resize(bytes.len() + 64, 0);
        fs::write(directory.path().join(name), bytes).unwrap();
        let _ = look_at(directory.path());
    }
}
