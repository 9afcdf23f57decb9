//! The process is killed after each durable step.

use std::time::Duration;

use super::*;

/// An upload whose bytes are all recorded, while none of them is in the store yet.
async fn complete(fixture: &Fixture, content: &[u8]) -> UploadId {
    let id = fixture.create(content.len()).await;
    // All permits of the store are taken, so finishing waits.
    let others: Vec<_> = (0..fixture.options.max_uploads).map(|_| fixture.skyfiles.writer().unwrap()).collect();
    let recorded = async {
        while !fixture.uploads.sessions.find(&id).unwrap().is_to_be_finished() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = fixture.append(&id, 0, content) => panic!("there is no place for it"),
        recorded = tokio::time::timeout(Duration::from_mins(1), recorded) => recorded.unwrap(),
    }
    std::mem::forget(others);
    id
}

#[tokio::test]
async fn an_acknowledged_offset_survives() {
    let mut fixture = Fixture::new();
    let content = noise(20_000);
    let id = fixture.create(content.len()).await;
    fixture = fixture.killed();
    assert_eq!(fixture.head(&id).await.unwrap(), (0, None));
    for (start, end) in [(0, 1), (1, 9000), (9000, 9001), (9001, 20_000)] {
        fixture.append(&id, start, &content[start..end]).await.unwrap();
        fixture = fixture.killed();
        assert_eq!(fixture.uploads.sessions.find(&id).unwrap().view().offset, end as u64);
    }
    let skylink = fixture.head(&id).await.unwrap().1.unwrap();
    assert_eq!(skylink, fixture.skylink_of(&content).await);
    assert_eq!(fixture.content(&skylink).await, content);
}

#[tokio::test]
async fn bytes_that_were_not_recorded_come_again() {
    let fixture = Fixture::new();
    let content = noise(9000);
    let id = fixture.create(content.len()).await;
    fixture.append(&id, 0, &content[..4000]).await.unwrap();
    let data = fixture.session(&id).join("data");
    let mut staged = std::fs::read(&data).unwrap();
    staged.extend_from_slice(&[0xff; 3000]);
    std::fs::write(&data, staged).unwrap();
    std::fs::write(fixture.session(&id).join("state.tmp"), b"torn").unwrap();
    let killed = fixture.killed();
    assert_eq!(killed.head(&id).await.unwrap(), (4000, None));
    let status = killed.append(&id, 4000, &content[4000..]).await.unwrap();
    assert_eq!(killed.content(&status.skylink.unwrap()).await, content);
}

#[tokio::test]
async fn a_file_that_lost_bytes_goes_on_from_what_it_has() {
    let fixture = Fixture::new();
    let content = noise(9000);
    let id = fixture.create(content.len()).await;
    fixture.append(&id, 0, &content[..4000]).await.unwrap();
    let data = fixture.session(&id).join("data");
    std::fs::write(&data, &content[..1000]).unwrap();
    // The loss is noticed while the process runs, too.
    assert!(matches!(fixture.append(&id, 4000, b"x").await, Err(TusError::WrongOffset(1000))));
    std::fs::write(&data, &content[..500]).unwrap();
    let killed = fixture.killed();
    assert_eq!(killed.uploads.sessions.find(&id).unwrap().view().offset, 500);
    let status = killed.append(&id, 500, &content[500..]).await.unwrap();
    assert_eq!(killed.content(&status.skylink.unwrap()).await, content);
}

#[tokio::test]
async fn leftovers_of_a_creation_are_no_uploads() {
    let fixture = Fixture::new();
    let [without_record, torn, without_data] = [1, 2, 3].map(|byte| UploadId::from_random([byte; 16]));
    for id in [&without_record, &torn, &without_data] {
        std::fs::create_dir(fixture.session(id)).unwrap();
    }
    std::fs::write(fixture.session(&without_record).join("data"), b"").unwrap();
    std::fs::write(fixture.session(&torn).join("data"), b"").unwrap();
    std::fs::write(fixture.session(&torn).join("state"), b"SKYTUSU\0").unwrap();
    let whole = fixture.create(5).await;
    std::fs::copy(fixture.session(&whole).join("state"), fixture.session(&without_data).join("state")).unwrap();
    let stranger = fixture.directory.path().join("uploads/notes.txt");
    std::fs::write(&stranger, b"keep").unwrap();
    let killed = fixture.killed();
    for id in [&without_record, &torn, &without_data] {
        assert!(matches!(killed.head(id).await, Err(TusError::Unknown)));
        assert!(!killed.session(id).exists());
    }
    assert!(killed.head(&whole).await.is_ok());
    assert!(killed.directory.path().join("uploads/notes.txt").exists());
}

#[tokio::test]
async fn a_complete_upload_is_finished_by_whoever_asks_next() {
    let fixture = Fixture::new();
    let content = noise(9000);
    let id = complete(&fixture, &content).await;
    let skylink = Some(fixture.killed().skylink_of(&content).await);
    assert_eq!(fixture.killed().head(&id).await.unwrap(), (9000, skylink));
    assert_eq!(fixture.killed().append(&id, 9000, b"").await.unwrap().skylink, skylink);
    assert_eq!(fixture.killed().uploads.skylink(&id).await.unwrap(), skylink);
}

#[tokio::test]
async fn a_skyfile_that_nobody_wrote_down_is_made_again() {
    let fixture = Fixture::new();
    let content = noise(9000);
    let id = complete(&fixture, &content).await;
    let (before, mut after) = (fixture.killed(), fixture.killed());
    let finished = after.head(&id).await.unwrap();
    copy(&before.session(&id), &after.session(&id));
    after.reopen();
    assert!(after.uploads.sessions.find(&id).unwrap().is_to_be_finished());
    assert_eq!(after.head(&id).await.unwrap(), finished);
    // After a crash here the record is written, and only the bytes are left over.
    std::fs::copy(before.session(&id).join("data"), after.session(&id).join("data")).unwrap();
    after.reopen();
    assert!(!after.session(&id).join("data").exists());
    assert_eq!(after.head(&id).await.unwrap(), finished);
}

#[tokio::test]
async fn parts_survive_until_their_whole_is_written_down() {
    let fixture = Fixture::new();
    let content = noise(9000);
    let parts = vec![fixture.part(&content[..4500]).await, fixture.part(&content[4500..]).await];
    let others: Vec<_> = (0..fixture.options.max_uploads).map(|_| fixture.skyfiles.writer().unwrap()).collect();
    let joining = fixture.uploads.concatenate(Holder::SHARED, parts.clone(), metadata());
    assert!(tokio::time::timeout(Duration::from_millis(300), joining).await.is_err(), "it waits for a place");
    std::mem::forget(others);
    // In the first copy, the final upload exists and is not finished.
    let before = fixture.killed();
    let mut after = fixture.killed();
    let skylink = Some(before.skylink_of(&content).await);
    let whole = after.uploads.concatenate(Holder::SHARED, parts.clone(), metadata()).await.unwrap();
    assert_eq!(whole.skylink, skylink);
    assert_eq!(before.head(&whole.id).await.unwrap(), (9000, skylink), "by HEAD as well");
    // The final upload is recorded as finished, and its parts are not.
    let untouched = fixture.killed();
    for part in &parts {
        copy(&untouched.session(part), &after.session(part));
    }
    after.reopen();
    for part in &parts {
        assert_eq!(after.head(part).await.unwrap().1, skylink);
        assert!(!after.session(part).join("data").exists());
    }
}

/// After a failed sync, a second one succeeds, although the bytes may be lost.
#[tokio::test]
async fn bytes_whose_sync_failed_are_not_acknowledged() {
    let fixture = Fixture::new();
    let content = noise(100_000);
    let id = fixture.create(content.len()).await;
    fixture.append(&id, 0, &content[..5000]).await.unwrap();
    let session = fixture.uploads.sessions.find(&id).unwrap();
    let (uploads, written) = (Arc::clone(&fixture.uploads), Arc::clone(&session));
    let (result, _) = serving::pass_on(&mut body(&content[5000..]), |frames| {
        tokio::task::spawn_blocking(move || {
            // The sync of the first full segment fails. The upload waits for it on the way.
            content_store::faults::plan(content_store::faults::Step::SyncData, 0, libc::EIO);
            uploads.write(&written, frames)
        })
    })
    .await;
    assert!(matches!(result.unwrap(), Err(TusError::Staging(_))));
    assert_eq!(session.view().offset, 5000);
    let status = fixture.append(&id, 5000, &content[5000..]).await.unwrap();
    assert_eq!(fixture.content(&status.skylink.unwrap()).await, content);
}
