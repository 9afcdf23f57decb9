//! Tests of the model of a disk: what may be lost is lost, what is durable is not.

use std::path::Path;

use super::super::fate::Style;
use super::super::file::Change;
use super::*;

const WORST: Style = Style::Nothing;

fn survivor(disk: &Disk, style: Style, seed: u64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    disk.survive(&Fate::new(seed, style), folder.path()).unwrap();
    folder
}

fn read(folder: &tempfile::TempDir, path: &str) -> Option<Vec<u8>> {
    std::fs::read(folder.path().join(path)).ok()
}

fn sync(disk: &mut Disk, inode: Inode) {
    let point = disk.begin_sync(inode);
    disk.end_sync(point);
}

fn write(disk: &mut Disk, inode: Inode, bytes: &[u8]) {
    disk.file(inode).unwrap().change(Change::Write(0, bytes.into()));
}

#[test]
fn a_synced_file_without_a_synced_name_is_lost() {
    let mut disk = Disk::new();
    let file = disk.make_file(ROOT, "a");
    write(&mut disk, file, b"bytes");
    sync(&mut disk, file);
    assert_eq!(read(&survivor(&disk, WORST, 0), "a"), None);
    sync(&mut disk, ROOT);
    assert_eq!(read(&survivor(&disk, WORST, 0), "a").unwrap(), b"bytes");
}

#[test]
fn an_unsynced_rename_is_lost_or_kept_but_never_half() {
    let mut disk = Disk::new();
    let (from, to) = (disk.make_folder(ROOT, "from"), disk.make_folder(ROOT, "to"));
    let file = disk.make_file(from, "a");
    write(&mut disk, file, b"bytes");
    disk.settle_all();
    disk.rename((from, "a".into()), (to, "b".into())).unwrap();
    let (mut old, mut new) = (0, 0);
    for seed in 0..40 {
        let folder = survivor(&disk, Style::Mixed(50), seed);
        match (read(&folder, "from/a"), read(&folder, "to/b")) {
            (Some(_), None) => old += 1,
            (None, Some(_)) => new += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(old > 5 && new > 5, "{old} lost, {new} kept");
    sync(&mut disk, from);
    assert!(read(&survivor(&disk, WORST, 0), "from/a").is_some(), "the source's folder says nothing of the target");
    sync(&mut disk, to);
    assert_eq!(read(&survivor(&disk, WORST, 0), "from/a"), None);
    assert!(read(&survivor(&disk, WORST, 0), "to/b").is_some());
}

#[test]
fn an_unlinked_file_may_be_back_until_its_folder_is_synced() {
    let mut disk = Disk::new();
    let file = disk.make_file(ROOT, "a");
    write(&mut disk, file, b"x");
    disk.settle_all();
    disk.unlink(ROOT, "a");
    assert!(read(&survivor(&disk, WORST, 0), "a").is_some());
    assert!(read(&survivor(&disk, Style::Everything, 0), "a").is_none());
    sync(&mut disk, ROOT);
    assert!(read(&survivor(&disk, WORST, 0), "a").is_none());
}

#[test]
fn a_sync_covers_only_what_was_done_before_it_began() {
    let mut disk = Disk::new();
    disk.make_file(ROOT, "a");
    let point = disk.begin_sync(ROOT);
    disk.make_file(ROOT, "b");
    disk.end_sync(point);
    let folder = survivor(&disk, WORST, 0);
    assert!(read(&folder, "a").is_some() && read(&folder, "b").is_none());
}

#[test]
fn a_folder_that_nobody_synced_takes_all_below_it_away() {
    let mut disk = Disk::new();
    let folder = disk.make_folder(ROOT, "f");
    let file = disk.make_file(folder, "a");
    write(&mut disk, file, b"x");
    sync(&mut disk, file);
    sync(&mut disk, folder);
    assert!(read(&survivor(&disk, WORST, 0), "f/a").is_none());
    sync(&mut disk, ROOT);
    assert!(read(&survivor(&disk, WORST, 0), "f/a").is_some());
}

#[test]
fn a_late_sync_does_not_undo_a_newer_name() {
    let mut disk = Disk::new();
    let (from, to) = (disk.make_folder(ROOT, "from"), disk.make_folder(ROOT, "to"));
    disk.make_file(from, "a");
    disk.settle_all();
    disk.rename((from, "a".into()), (to, "b".into())).unwrap();
    let again = disk.make_file(from, "a");
    write(&mut disk, again, b"new");
    sync(&mut disk, again);
    sync(&mut disk, from);
    sync(&mut disk, to);
    let folder = survivor(&disk, WORST, 0);
    assert_eq!(read(&folder, "from/a").unwrap(), b"new");
    assert!(read(&folder, "to/b").is_some());
}

#[test]
fn the_program_sees_all_it_did() {
    let mut disk = Disk::new();
    let folder = disk.make_folder(ROOT, "f");
    let file = disk.make_file(folder, "a");
    write(&mut disk, file, b"bytes");
    let everything = survivor(&disk, Style::Everything, 0);
    assert_eq!(disk.compare(everything.path(), &[]).unwrap(), 1);
    std::fs::write(everything.path().join("f/a"), b"other").unwrap();
    assert!(disk.compare(everything.path(), &[]).is_err());
    assert_eq!(below(Path::new("/w"), Path::new("/w/f/a")).unwrap(), ["f", "a"]);
}
