//! Archives, read back by other libraries.

use std::io::{Cursor, Read};

use proptest::prelude::*;

use super::*;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// The byte at an offset. It differs from its neighbours.
fn byte(at: u64) -> u8 {
    (at % 251) as u8
}

/// The bytes of a piece, in chunks of an odd size, as a store may send them.
fn open(piece: Piece) -> stream::Iter<std::vec::IntoIter<io::Result<Bytes>>> {
    let bytes: Vec<u8> = (piece.first..piece.first + piece.length).map(byte).collect();
    let chunks: Vec<_> = bytes.chunks(70_001).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    stream::iter(chunks)
}

fn entry(name: &str, pieces: &[(u64, u64)]) -> Entry {
    let pieces = pieces.iter().map(|(first, length)| Piece { first: *first, length: *length }).collect();
    Entry { name: name.to_owned(), mode: 0, pieces }
}

fn content(entry: &Entry) -> Vec<u8> {
    entry.pieces.iter().flat_map(|piece| piece.first..piece.first + piece.length).map(byte).collect()
}

fn make(format: Format, entries: &[Entry]) -> Vec<u8> {
    let chunks: Vec<_> = block_on(archive(format, entries.to_vec(), open).collect());
    chunks.into_iter().flat_map(|chunk| chunk.unwrap()).collect()
}

fn unzip(bytes: Vec<u8>) -> Vec<(String, Vec<u8>)> {
    let mut archive = ::zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let count = archive.len();
    let read = |at| {
        let mut file = archive.by_index(at).unwrap();
        let mut content = Vec::new();
        file.read_to_end(&mut content).unwrap();
        (file.name().unwrap().to_string(), content)
    };
    (0..count).map(read).collect()
}

fn untar(bytes: impl Read) -> Vec<(String, Vec<u8>)> {
    let mut archive = ::tar::Archive::new(bytes);
    let read = |file: io::Result<::tar::Entry<'_, _>>| {
        let mut file = file.unwrap();
        assert_eq!(file.header().mode().unwrap(), 0o644);
        let mut content = Vec::new();
        file.read_to_end(&mut content).unwrap();
        (String::from_utf8(file.path_bytes().into_owned()).unwrap(), content)
    };
    archive.entries().unwrap().map(read).collect()
}

fn read(format: Format, bytes: Vec<u8>) -> Vec<(String, Vec<u8>)> {
    match format {
        Format::Tar => untar(Cursor::new(bytes)),
        Format::TarGz => untar(flate2::read::GzDecoder::new(Cursor::new(bytes))),
        _ => unzip(bytes),
    }
}

const FORMATS: [Format; 3] = [Format::Zip, Format::Tar, Format::TarGz];

#[test]
fn archives_hold_every_file_under_its_path() {
    let long = format!("{}/é {}.txt", "d".repeat(90), "n".repeat(200));
    let entries = [
        entry("index.html", &[(0, 17)]),
        entry("empty", &[]),
        entry("assets/image.png", &[(17, 300_000)]),
        entry(&long, &[(1_000_000, 512), (5, 1)]),
        entry("ünï/日本.txt", &[(3, 511)]),
        entry(&"x".repeat(100), &[(3, 1)]),
        entry(&"y".repeat(101), &[(3, 1)]),
    ];
    for format in FORMATS {
        let expected: Vec<_> = entries.iter().map(|entry| (entry.name.clone(), content(entry))).collect();
        assert_eq!(read(format, make(format, &entries)), expected, "{format:?}");
    }
}

#[test]
fn no_name_leaves_the_folder_that_it_is_extracted_to() {
    for (name, archived) in [("a/b", "a/b"), ("a\\b", "a\\b"), ("..\\a", ".._a"), ("a/b\\..\\..\\c", "a/b_.._.._c")] {
        let file = Subfile { filename: name.to_owned(), ..Subfile::default() };
        assert_eq!(Entry::new(&file, Vec::new()).name, archived);
    }
}

#[test]
fn an_archive_of_nothing_is_an_archive() {
    for format in FORMATS {
        assert_eq!(read(format, make(format, &[])), []);
    }
}

#[test]
fn what_ends_early_is_no_clean_end() {
    for format in FORMATS {
        let short = |piece: Piece| open(Piece { length: piece.length - 1, ..piece });
        let chunks: Vec<_> = block_on(archive(format, vec![entry("a", &[(0, 10)])], short).collect());
        assert!(chunks.last().unwrap().is_err(), "{format:?}");
    }
}

#[test]
fn little_is_held_at_once() {
    let entries = [entry("a", &[(0, 3_000_000)]), entry("b", &[(0, 3_000_000)])];
    for format in FORMATS {
        let chunks: Vec<_> = block_on(archive(format, entries.to_vec(), open).collect());
        assert!(chunks.iter().all(|chunk| chunk.as_ref().unwrap().len() <= 2 * STEP), "{format:?}");
    }
}

#[test]
fn the_length_of_a_record_counts_itself() {
    for length in [0, 1, 80, 86, 87, 88, 89, 90, 985, 986, 987, 988, 1000] {
        let record = super::tar::pax_record("path", &"x".repeat(length));
        let written: usize = std::str::from_utf8(&record).unwrap().split(' ').next().unwrap().parse().unwrap();
        assert_eq!(written, record.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn archives_are_readable(
        files in prop::collection::btree_map("[a-zé\\\\ ./]{1,130}", (0_u64..100, 0_u64..2000), 0..6),
        format in prop::sample::select(&FORMATS[..]),
    ) {
        // Skyfiles whose names end with a slash are refused when they are opened.
        let entries: Vec<Entry> = files.iter()
            .filter(|(name, _)| !name.ends_with('/'))
            .map(|(name, (first, length))| entry(name, &[(*first, *length)]))
            .collect();
        let expected: Vec<_> = entries.iter().map(|entry| (entry.name.clone(), content(entry))).collect();
        prop_assert_eq!(read(format, make(format, &entries)), expected);
    }
}
