//! Staged files become sectors without a copy.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;

use super::*;

/// The inodes of all files below a directory.
fn inodes(directory: &Path) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(inodes(&entry.path())),
            false => drop(found.insert(entry.metadata().unwrap().ino())),
        }
    }
    found
}

#[tokio::test]
async fn nothing_is_written_twice() {
    let mut fixture = Fixture::new();
    let mut content = noise(20_000);
    content[4095] = 1;
    content[8191] = 0;
    for restarts in [false, true] {
        content[0] ^= 1;
        let id = fixture.create(content.len()).await;
        fixture.append(&id, 0, &content[..12_288]).await.unwrap();
        let staged = inodes(&fixture.session(&id));
        let first = std::fs::metadata(fixture.session(&id).join("data")).unwrap().ino();
        let second = std::fs::metadata(fixture.session(&id).join("data.1")).unwrap().ino();
        if restarts {
            fixture.reopen();
        }
        let status = fixture.append(&id, 12_288, &content[12_288..]).await.unwrap();
        assert_eq!(fixture.content(&status.skylink.unwrap()).await, content);
        let sectors = inodes(&fixture.directory.path().join("sectors"));
        assert!(sectors.contains(&first));
        assert!(staged.contains(&second) && !sectors.contains(&second), "zeros at an end are not stored: a copy");
        assert_eq!(inodes(&fixture.directory.path().join("incoming")), BTreeSet::new());
        assert_eq!(std::fs::read_dir(fixture.session(&id)).unwrap().count(), 1, "only the record stays");
    }
}

#[tokio::test]
async fn what_was_taken_over_before_a_crash_is_taken_over_again() {
    let mut fixture = Fixture::new();
    let content = noise(9000);
    let id = fixture.create(content.len()).await;
    fixture.append(&id, 0, &content[..8999]).await.unwrap();
    let untouched = fixture.killed();
    let record = std::fs::read(fixture.session(&id).join("state")).unwrap();
    // The sectors exist already, as hard links to the staged files.
    let links = ["data", "data.1"].map(|name| fixture.session(&id).join(name));
    let kept: Vec<_> = (0..2).map(|number| fixture.session(&id).join(format!("kept-{number}"))).collect();
    links.iter().zip(&kept).for_each(|(link, kept)| std::fs::hard_link(link, kept).unwrap());
    let skylink = fixture.append(&id, 8999, &content[8999..]).await.unwrap().skylink;
    kept.iter().zip(&links).for_each(|(kept, link)| std::fs::rename(kept, link).unwrap());
    std::fs::copy(untouched.session(&id).join("data.2"), fixture.session(&id).join("data.2")).unwrap();
    std::fs::write(fixture.session(&id).join("state"), record).unwrap();
    fixture.reopen();
    assert_eq!(fixture.append(&id, 8999, &content[8999..]).await.unwrap().skylink, skylink);
    assert_eq!(fixture.content(&skylink.unwrap()).await, content);
    assert_eq!(inodes(&fixture.directory.path().join("incoming")), BTreeSet::new());
}

#[tokio::test]
async fn with_several_data_pieces_sectors_are_made_of_what_was_staged() {
    let profile = Profile::new(SectorSize::new(4096).unwrap(), 2, 1).unwrap();
    let fixture = Fixture::with(|options| options.profile = profile);
    let content = noise(20_000);
    let id = fixture.create(content.len()).await;
    let status = fixture.append(&id, 0, &content).await.unwrap();
    assert_eq!(status.skylink, Some(fixture.skylink_of(&content).await));
    assert_eq!(fixture.content(&status.skylink.unwrap()).await, content);
}
