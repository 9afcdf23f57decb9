//! Sectors that are damaged, and batches that break off.

use std::fs;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use skynet_formats::sector::sector_root;

use super::*;

fn store() -> (SectorStore, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let store = SectorStore::open(directory.path(), SectorSize::new(4096).unwrap(), 0).unwrap();
    (store, directory)
}

fn put(store: &SectorStore, bytes: &[u8]) -> SectorRoot {
    let mut batch = store.batch();
    let mut sector = StagedSector::new(store, store.sector_size().bytes() as u64).unwrap();
    sector.write_at(bytes, 0).unwrap();
    let root = sector_root(store.sector_size(), bytes);
    batch.add(sector, root).unwrap();
    drop(batch.finish().unwrap());
    root
}

fn read(store: &SectorStore, root: &SectorRoot) -> Option<Vec<u8>> {
    let mut bytes = vec![1; 4096];
    store.open_sector(root).unwrap()?.read_at(&mut bytes, 0).unwrap();
    Some(bytes)
}

#[test]
fn any_sector_comes_back_without_its_last_zeros_on_disk() {
    let (store, _directory) = store();
    let strategy = (prop::collection::vec(0_u8..3, 0..4096), 0_usize..4096);
    let mut runner = TestRunner::new(ProptestConfig { cases: 64, ..ProptestConfig::default() });
    let result = runner.run(&strategy, |(mut bytes, zeros)| {
        let from = zeros.min(bytes.len());
        bytes[from..].fill(0);
        let root = put(&store, &bytes);
        let stored = fs::metadata(store.path(&root)).unwrap().len() as usize;
        prop_assert_eq!(stored, bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
        bytes.resize(4096, 0);
        prop_assert_eq!(read(&store, &root), Some(bytes));
        Ok(())
    });
    result.unwrap();
}

#[test]
fn what_a_power_cut_leaves_of_a_file_is_not_served() {
    let (store, directory) = store();
    for damage in [&b""[..], b"content\0\0\0", &[7; 4097]] {
        let root = put(&store, b"content");
        let path = store.path(&root);
        fs::remove_file(&path).unwrap();
        fs::write(&path, damage).unwrap();
        assert_eq!(read(&store, &root), None);
        assert!(!path.exists());
        // An upload heals it.
        assert_eq!(put(&store, b"content"), root);
        assert!(read(&store, &root).unwrap().starts_with(b"content"));
    }
    assert!(fs::read_dir(directory.path().join("quarantine")).unwrap().count() > 0);
    let zeros = put(&store, &[0; 100]);
    assert_eq!(read(&store, &zeros), Some(vec![0; 4096]));
}

#[test]
fn the_scrub_puts_aside_what_rotted() {
    let (store, _directory) = store();
    let (sound, rotten) = (put(&store, b"sound"), put(&store, b"rotten"));
    fs::remove_file(store.path(&rotten)).unwrap();
    fs::write(store.path(&rotten), b"rotteN").unwrap();
    let mut read_bytes = 0;
    assert_eq!(store.scrub(|bytes| read_bytes += bytes, || false).unwrap(), 1);
    assert_eq!(read_bytes, 11);
    assert!(read(&store, &sound).is_some() && read(&store, &rotten).is_none());
    assert_eq!(store.scrub(|_| (), || false).unwrap(), 0);
}

#[test]
fn an_abandoned_batch_leaves_no_file_behind_but_named_sectors() {
    let (store, directory) = store();
    let mut batch = store.batch();
    for number in 0..20_u8 {
        let mut sector = StagedSector::new(&store, store.sector_size().bytes() as u64).unwrap();
        sector.write_at(&[number + 1], 0).unwrap();
        batch.add(sector, sector_root(store.sector_size(), &[number + 1])).unwrap();
    }
    drop(batch);
    let incoming = directory.path().join("incoming");
    assert_eq!(fs::read_dir(&incoming).unwrap().count(), 0);
    fs::write(incoming.join("7.tmp"), b"of a killed process").unwrap();
    drop(store);
    let store = SectorStore::open(directory.path(), SectorSize::new(4096).unwrap(), 0).unwrap();
    assert_eq!(fs::read_dir(&incoming).unwrap().count(), 0);
    let mut named = 0;
    let visited = store.walk(|_, _| {
        named += 1;
        Ok(())
    });
    visited.unwrap();
    assert_eq!(named, 4, "those beyond the 16 that may wait");
}
