//! One upload, from its creation to its end.

use std::time::{Duration, SystemTime};

use serving::UsedUp;

use super::*;

#[tokio::test]
async fn bytes_come_in_any_pieces_and_go_back_as_they_came() {
    let fixture = Fixture::new();
    for length in [1, 3000, 4096, 4097, 20_000] {
        let content = noise(length);
        let id = fixture.create(length).await;
        let mut offset = 0_usize;
        for piece in [1, 7, 4096, 5000, usize::MAX] {
            let end = offset.saturating_add(piece).min(length);
            let status = fixture.append(&id, offset, &content[offset..end]).await.unwrap();
            assert_eq!(status.offset, end as u64);
            assert_eq!(fixture.head(&id).await.unwrap(), (end as u64, status.skylink));
            assert_eq!(status.skylink.is_some(), end == length);
            offset = end;
        }
        let skylink = fixture.head(&id).await.unwrap().1.unwrap();
        assert_eq!(skylink, fixture.skylink_of(&content).await, "{length}");
        assert_eq!(fixture.content(&skylink).await, content);
        assert!(!fixture.session(&id).join("data").exists(), "staged bytes are dropped");
    }
}

#[tokio::test]
async fn an_upload_without_bytes_is_finished_by_its_creation() {
    let fixture = Fixture::new();
    let status = fixture.uploads.create(Holder::SHARED, false, 0, metadata()).await.unwrap();
    assert_eq!(status.skylink, Some(fixture.skylink_of(b"").await));
    let part = fixture.uploads.create(Holder::SHARED, true, 0, UploadMetadata::default()).await.unwrap();
    assert_eq!(part.skylink, None);
}

#[tokio::test]
async fn given_metadata_make_the_skylink() {
    let fixture = Fixture::new();
    let given = r#"{ "length":3,"filename":"x" }"#;
    let metadata = UploadMetadata::default().with("skyfilemetadata", given);
    let id = fixture.uploads.create(Holder::SHARED, false, 3, metadata.clone()).await.unwrap().id;
    let skylink = fixture.append(&id, 0, b"abc").await.unwrap().skylink.unwrap();
    let skyfile = fixture.skyfiles.open(&skylink).await.unwrap().unwrap();
    assert_eq!(skyfile.raw_metadata(), given.as_bytes());
    let other_length = fixture.uploads.create(Holder::SHARED, false, 4, metadata).await.unwrap_err();
    assert!(matches!(other_length, TusError::MetadataLength { metadata: 3, length: 4 }));
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_what_came() {
    let fixture = Fixture::new();
    let content = noise(10_000);
    let id = fixture.create(content.len()).await;
    let error = fixture.uploads.append(Holder::SHARED, &id, 0, None, &mut broken(&content[..6500])).await.unwrap_err();
    assert!(matches!(error, TusError::Body(BodyError::Broken)), "{error}");
    assert_eq!(fixture.head(&id).await.unwrap(), (6500, None));
    let status = fixture.append(&id, 6500, &content[6500..]).await.unwrap();
    assert_eq!(status.skylink, Some(fixture.skylink_of(&content).await));
}

#[tokio::test]
async fn a_client_that_leaves_leaves_what_came() {
    let fixture = Fixture::new();
    let content = noise(10_000);
    let id = fixture.create(content.len()).await;
    {
        let (mut stalled, taken) = stalling_after(&content[..3000]);
        tokio::select! {
            _ = fixture.uploads.append(Holder::SHARED, &id, 0, None, &mut stalled) => panic!("a body without an end has ended"),
            taken = taken => taken.unwrap(),
        }
    }
    // The writing thread may take a moment to record the bytes.
    let settled = async { while fixture.head(&id).await.unwrap().0 != 3000 {} };
    tokio::time::timeout(Duration::from_secs(10), settled).await.unwrap();
    let append = async {
        loop {
            match fixture.append(&id, 3000, &content[3000..]).await {
                Err(TusError::Busy) => tokio::task::yield_now().await,
                result => break result.unwrap(),
            }
        }
    };
    assert_eq!(append.await.skylink, Some(fixture.skylink_of(&content).await));
}

#[tokio::test]
async fn only_one_request_writes_to_an_upload() {
    let fixture = Fixture::new();
    let id = fixture.create(100).await;
    let (mut stalled, taken) = stalling_after(&[1; 50]);
    let first = fixture.uploads.append(Holder::SHARED, &id, 0, None, &mut stalled);
    let second = async {
        taken.await.unwrap();
        (fixture.append(&id, 0, &[2; 50]).await, fixture.head(&id).await, fixture.uploads.terminate(&id).await)
    };
    tokio::select! {
        _ = first => panic!("a body without an end has ended"),
        (append, head, terminate) = second => {
            assert!(matches!(append, Err(TusError::Busy)));
            assert_eq!(head.unwrap(), (0, None), "what is acknowledged, not what is under way");
            assert!(matches!(terminate, Err(TusError::Busy)));
        }
    }
}

#[tokio::test]
async fn bytes_for_another_offset_are_refused() {
    let fixture = Fixture::new();
    let id = fixture.create(10).await;
    fixture.append(&id, 0, b"abcd").await.unwrap();
    for offset in [0, 3, 5, 10, usize::MAX] {
        let error = fixture.append(&id, offset, b"x").await.unwrap_err();
        assert!(matches!(error, TusError::WrongOffset(4)), "{offset}: {error}");
    }
    let skylink = fixture.append(&id, 4, b"efghij").await.unwrap().skylink;
    assert!(skylink.is_some());
    assert_eq!(fixture.append(&id, 10, b"").await.unwrap().skylink, skylink, "a closing request may be repeated");
}

#[tokio::test]
async fn bytes_beyond_the_length_are_refused_and_leave_nothing() {
    let fixture = Fixture::new();
    let content = noise(5000);
    let id = fixture.create(content.len()).await;
    fixture.append(&id, 0, &content[..1500]).await.unwrap();
    assert!(matches!(fixture.append(&id, 1500, &[0; 3501]).await, Err(TusError::BeyondLength(5000))));
    // Without a stated length, the excess is noticed only when the bytes arrive.
    let too_much = fixture.uploads.append(Holder::SHARED, &id, 1500, None, &mut body(&[0; 4000])).await;
    assert!(matches!(too_much, Err(TusError::BeyondLength(5000))));
    assert_eq!(fixture.head(&id).await.unwrap(), (1500, None));
    let status = fixture.append(&id, 1500, &content[1500..]).await.unwrap();
    assert_eq!(fixture.content(&status.skylink.unwrap()).await, content);
}

#[tokio::test]
async fn limits_are_kept() {
    let fixture = Fixture::with(|options| {
        options.max_upload = 1000;
        options.max_resumable_uploads = 2;
        options.max_metadata = 150;
    });
    let too_large = fixture.uploads.create(Holder::SHARED, false, 1001, metadata()).await.unwrap_err();
    assert!(matches!(too_large, TusError::TooLarge { length: 1001, limit: 1000 }));
    let long = UploadMetadata::default().with("filename", &"a".repeat(100));
    assert!(matches!(
        fixture.uploads.create(Holder::SHARED, false, 1, long).await,
        Err(TusError::MetadataTooLong { .. })
    ));
    let (first, second) = (fixture.create(1).await, fixture.create(1).await);
    assert!(matches!(fixture.uploads.create(Holder::SHARED, false, 1, metadata()).await, Err(TusError::UsedUp(_))));
    // A finished upload is forgotten to make room.
    fixture.append(&first, 0, b"a").await.unwrap();
    fixture.create(1).await;
    assert!(matches!(fixture.head(&first).await, Err(TusError::Unknown)));
    assert!(fixture.head(&second).await.is_ok());
}

/// One client made all uploads that the table holds, and nobody else could upload.
#[tokio::test]
async fn one_client_leaves_half_of_the_table_to_others_and_idle_uploads_yield() {
    let mut fixture = Fixture::with(|options| options.max_resumable_uploads = 4);
    let client = |last: u8| Holder::at([192, 0, 2, last].into());
    let create = async |last| fixture.uploads.create(client(last), false, 1, metadata()).await;
    let first = create(1).await.unwrap().id;
    create(1).await.unwrap();
    assert!(matches!(create(1).await, Err(TusError::UsedUp(UsedUp::Share(_)))));
    create(2).await.unwrap();
    create(3).await.unwrap();
    assert!(matches!(create(4).await, Err(TusError::UsedUp(UsedUp::Pool(_)))));
    let now = SystemTime::now() + Duration::from_mins(6);
    let yields = || fixture.uploads.sessions.first_to_yield(None, now).map(|(session, _)| session.id.clone());
    assert_eq!(fixture.uploads.sessions.first_to_yield(None, SystemTime::now()).map(|_| ()), None, "none is idle");
    assert_eq!(yields(), Some(first.clone()), "of the client with most, the longest idle one");
    let used = fixture.uploads.sessions.find(&first).unwrap().try_hold().unwrap();
    assert_ne!(yields(), Some(first), "a request uses it");
    drop(used);
    fixture.reopen();
    let known = fixture.uploads.sessions.lock().len();
    assert_eq!((known, fixture.uploads.sessions.places.held(Holder::SHARED)), (4, 4));
}

#[tokio::test]
async fn the_disk_is_not_filled() {
    let fixture = Fixture::new();
    let free = content_store::free_space(fixture.directory.path()).unwrap();
    let large = Fixture::with(|options| options.max_upload = u64::MAX);
    assert!(matches!(large.uploads.create(Holder::SHARED, false, free * 2, metadata()).await, Err(TusError::DiskFull)));
    let mut full = Fixture::new();
    let id = full.create(10).await;
    full.options.disk_reserve = u64::MAX;
    full.reopen();
    assert!(matches!(full.append(&id, 0, b"a").await, Err(TusError::DiskFull)));
    assert_eq!(full.head(&id).await.unwrap(), (0, None));
}

#[tokio::test]
async fn an_upload_can_be_given_up() {
    let fixture = Fixture::new();
    let id = fixture.create(10).await;
    fixture.append(&id, 0, b"abc").await.unwrap();
    fixture.uploads.terminate(&id).await.unwrap();
    assert!(!fixture.session(&id).exists());
    assert!(matches!(fixture.append(&id, 3, b"d").await, Err(TusError::Unknown)));
    assert!(matches!(fixture.uploads.terminate(&id).await, Err(TusError::Unknown)));
}

#[tokio::test]
async fn idle_uploads_expire() {
    let mut fixture = Fixture::new();
    let (idle, finished) = (fixture.create(10).await, fixture.create(1).await);
    fixture.append(&finished, 0, b"a").await.unwrap();
    let hours = |hours| SystemTime::now() + Duration::from_hours(hours);
    assert_eq!(fixture.uploads.expire(hours(23)).unwrap(), 0);
    fixture.reopen();
    assert_eq!(fixture.uploads.expire(hours(25)).unwrap(), 2);
    assert!(!fixture.session(&idle).exists() && !fixture.session(&finished).exists());
    assert!(matches!(fixture.head(&idle).await, Err(TusError::Unknown)));
}

#[tokio::test]
async fn what_went_ahead_and_was_left_is_fed_again_from_the_file() {
    let fixture = Fixture::with(|options| options.max_uploads = 8);
    let content = noise(30_000);
    let id = fixture.create(content.len()).await;
    fixture.append(&id, 0, &content[..10_000]).await.unwrap();
    assert!(fixture.uploads.sessions.find(&id).unwrap().try_hold().unwrap().is_some(), "it goes ahead");
    fixture.uploads.expire(SystemTime::now() + Duration::from_mins(2)).unwrap();
    assert!(fixture.uploads.sessions.find(&id).unwrap().try_hold().unwrap().is_none());
    let status = fixture.append(&id, 10_000, &content[10_000..]).await.unwrap();
    assert_eq!(status.skylink, Some(fixture.skylink_of(&content).await));
    assert_eq!(fixture.content(&status.skylink.unwrap()).await, content);
}

#[tokio::test]
async fn who_asks_while_an_upload_is_finished_waits_a_while_and_asks_again() {
    let mut fixture = Fixture::new();
    let mut uploads = Uploads::open(fixture.directory.path(), fixture.skyfiles.clone(), &fixture.options).unwrap();
    uploads.limits.wait = Duration::from_millis(50);
    fixture.uploads = Arc::new(uploads);
    let id = fixture.create(3).await;
    // All permits of the store are taken, so finishing waits.
    let others: Vec<_> = (0..fixture.options.max_uploads).map(|_| fixture.skyfiles.writer().unwrap()).collect();
    {
        let closing = fixture.append(&id, 0, b"abc");
        let waiting = async {
            while !matches!(fixture.head(&id).await, Err(TusError::Finishing)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            _ = closing => panic!("there is no place for it"),
            // The client leaves.
            waited = tokio::time::timeout(Duration::from_mins(1), waiting) => waited.unwrap(),
        }
    }
    drop(others);
    let finished = async {
        loop {
            match fixture.head(&id).await {
                Err(TusError::Finishing) => {}
                head => break head.unwrap(),
            }
        }
    };
    let head = tokio::time::timeout(Duration::from_mins(1), finished).await.unwrap();
    assert_eq!(head, (3, Some(fixture.skylink_of(b"abc").await)));
}
