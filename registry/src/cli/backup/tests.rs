//! Archives that are complete, cut off, or damaged.

use std::io::{Read, Write as _};

use super::archive::{self, ArchiveWriter, Content, Counts, FORMAT, Head};
use super::make::Named;
use super::{Partial, Place};

fn head() -> Head {
    let (program, journal) = ("0".into(), "00".repeat(16));
    Head { format: FORMAT, program, time: 1_700_000_000_000, journal, sequence: 7, content: Content::Needed }
}

fn archive(head: &Head) -> Vec<u8> {
    let mut writer = ArchiveWriter::begin(Vec::new(), head).unwrap();
    let long = format!("blobs/sha512/aa/{}", "a".repeat(128));
    writer.add(&long, 700, &mut &[7; 700][..]).unwrap();
    writer.add("journal/x", 0, &mut &[][..]).unwrap();
    writer.finish(Counts { files: 1, bytes: 700, ..Counts::default() }).unwrap()
}

fn read(bytes: &[u8]) -> Result<Vec<(String, usize)>, String> {
    let mut found = Vec::new();
    let mut take = |name: &str, length: u64, source: &mut dyn Read| {
        let mut bytes = Vec::new();
        source.read_to_end(&mut bytes)?;
        assert_eq!(bytes.len() as u64, length);
        found.push((name.to_owned(), bytes.len()));
        Ok(())
    };
    archive::read(bytes, &mut take).map_err(|error| format!("{error:#}"))?;
    Ok(found)
}

#[test]
fn what_was_written_comes_back() {
    let found = read(&archive(&head())).unwrap();
    assert_eq!(found, [(format!("blobs/sha512/aa/{}", "a".repeat(128)), 700), ("journal/x".into(), 0)]);
}

#[test]
fn an_archive_that_is_cut_off_anywhere_is_refused() {
    let whole = archive(&head());
    let end = whole.windows(8).rposition(|bytes| bytes == b"\"blake3\"").unwrap();
    for length in (0..end).step_by(64) {
        assert!(read(&whole[..length]).is_err(), "{length} of {} bytes", whole.len());
    }
}

#[test]
fn a_changed_byte_of_any_content_is_refused() {
    let whole = archive(&head());
    for (offset, _) in whole.iter().enumerate().filter(|(_, byte)| **byte == 7) {
        let mut changed = whole.clone();
        changed[offset] = 8;
        assert_eq!(read(&changed).unwrap_err(), "the backup is damaged: its checksum does not match");
    }
}

#[test]
fn what_is_no_backup_or_a_newer_one_is_called_so() {
    for bytes in [&b"not a tar file at all"[..], &[0; 4096], b""] {
        assert!(read(bytes).unwrap_err().starts_with("this is not a backup"), "{:?}", read(bytes));
    }
    let newer = archive(&Head { format: FORMAT + 1, ..head() });
    assert!(read(&newer).unwrap_err().starts_with("the backup has format"));
    // A future format with other members.
    let newest = tar_of(tar::EntryType::Regular, archive::HEAD, br#"{"format":9,"other":true}"#);
    assert!(read(&newest).unwrap_err().starts_with("the backup has format 9"), "{:?}", read(&newest));
}

/// An archive with a single entry.
fn tar_of(kind: tar::EntryType, name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(bytes.len() as u64);
    tar.append_data(&mut header, name, bytes).unwrap();
    tar.into_inner().unwrap()
}

#[test]
fn entries_that_no_backup_has_are_refused_unread() {
    for kind in [tar::EntryType::XHeader, tar::EntryType::XGlobalHeader, tar::EntryType::GNULongLink] {
        let said = read(&tar_of(kind, "x", &[b'a'; 4096])).unwrap_err();
        assert!(said.contains("unexpected entry \"x\""), "{kind:?}: {said}");
    }
    // The header announces gigabytes. The reader must not wait for them.
    let mut header = tar::Header::new_gnu();
    header.set_path("x").unwrap();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(8 << 30);
    header.set_cksum();
    assert!(read(header.as_bytes()).unwrap_err().contains("a name of 8589934592 bytes"));
}

/// The backup renamed its file over them: a device was then a plain file.
#[test]
fn only_plain_files_are_replaced() {
    let place = tempfile::tempdir().unwrap();
    let (link, socket, file) = (place.path().join("link"), place.path().join("socket"), place.path().join("file"));
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::fs::write(&file, "an earlier backup").unwrap();
    for other in [&link, &socket] {
        let error = Partial::of(&Place::File(other.clone())).unwrap_err().to_string();
        assert!(error.contains("is not a plain file"), "{error}");
    }
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 3, "nothing was created");
    assert!(Partial::of(&Place::File(file)).unwrap().is_some());
    let absent = place.path().join("absent");
    let error = Partial::of(&Place::File(absent.join("backup.tar"))).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{} is no directory", absent.display())), "{error}");
}

/// The error of a full disk named no file.
#[test]
fn an_output_that_fails_is_named() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut output = std::io::BufWriter::new(Named::new(full, "backups/a.tar".as_ref()));
    let error = output.write_all(b"x").and_then(|()| output.flush()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    assert!(error.to_string().starts_with("write backups/a.tar: "), "{error}");
}
