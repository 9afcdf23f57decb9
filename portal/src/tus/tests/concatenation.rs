//! Uploads that are made of others.

use std::time::{Duration, SystemTime};

use super::*;

impl Fixture {
    pub(super) async fn part(&self, content: &[u8]) -> UploadId {
        let id = self
            .uploads
            .create(Holder::SHARED, true, content.len() as u64, UploadMetadata::default())
            .await
            .unwrap()
            .id;
        if !content.is_empty() {
            assert_eq!(self.append(&id, 0, content).await.unwrap().skylink, None);
        }
        id
    }
}

#[tokio::test]
async fn parts_become_one_skyfile_and_are_consumed() {
    let fixture = Fixture::new();
    let content = noise(30_001);
    let a = fixture.part(&content[..12_345]).await;
    let b = fixture.part(&content[12_345..]).await;
    let empty = fixture.part(b"").await;
    let parts = vec![a.clone(), empty, b.clone()];
    let whole = fixture.uploads.concatenate(Holder::SHARED, parts.clone(), metadata()).await.unwrap();
    let skylink = fixture.skylink_of(&content).await;
    assert_eq!((whole.offset, whole.skylink), (30_001, Some(skylink)));
    assert_eq!(fixture.content(&skylink).await, content);
    // A client that missed the answer asks for its parts, and then repeats the request.
    assert_eq!(fixture.head(&a).await.unwrap(), (12_345, Some(skylink)));
    assert!(!fixture.session(&a).join("data").exists() && !fixture.session(&b).join("data").exists());
    let again = fixture.uploads.concatenate(Holder::SHARED, parts.clone(), metadata()).await.unwrap();
    assert_eq!((again.id, again.skylink), (whole.id, whole.skylink));
    let other = fixture.uploads.concatenate(Holder::SHARED, vec![b, a], metadata()).await;
    assert!(matches!(other, Err(TusError::PartUsed)));
}

#[tokio::test]
async fn two_requests_for_the_same_whole_make_one() {
    let fixture = Fixture::new();
    let parts = vec![fixture.part(&noise(5000)).await, fixture.part(&noise(100)).await];
    let (one, two) = tokio::join!(
        fixture.uploads.concatenate(Holder::SHARED, parts.clone(), metadata()),
        fixture.uploads.concatenate(Holder::SHARED, parts.clone(), metadata()),
    );
    assert_eq!(one.unwrap().id, two.unwrap().id);
}

#[tokio::test]
async fn what_cannot_be_joined_is_refused_and_stays() {
    let fixture = Fixture::with(|options| options.max_upload = 10_000);
    let whole = fixture.create(5).await;
    let part = fixture.part(&noise(6000)).await;
    let large = fixture.part(&noise(6000)).await;
    let open = fixture.uploads.create(Holder::SHARED, true, 5, UploadMetadata::default()).await.unwrap().id;
    let join = |parts: &[&UploadId]| {
        fixture.uploads.concatenate(Holder::SHARED, parts.iter().map(|&id| id.clone()).collect(), metadata())
    };
    assert!(matches!(join(&[&part, &whole]).await, Err(TusError::NotPartial)));
    assert!(matches!(join(&[&part, &open]).await, Err(TusError::PartIncomplete)));
    assert!(matches!(join(&[&part, &UploadId::from_random([1; 16])]).await, Err(TusError::Unknown)));
    assert!(matches!(join(&[&part, &large]).await, Err(TusError::TooLarge { length: 12_000, .. })));
    let bad = UploadMetadata::default().with("filename", "/");
    assert!(matches!(
        fixture.uploads.concatenate(Holder::SHARED, vec![part.clone()], bad).await,
        Err(TusError::Metadata(_))
    ));
    let joined = join(&[&part]).await.unwrap();
    assert_eq!(joined.skylink, Some(fixture.skylink_of(&noise(6000)).await));
    assert!(matches!(fixture.append(&joined.id, 6000, b"").await, Err(TusError::ModifyFinal)));
}

#[tokio::test]
async fn parts_of_an_unfinished_whole_cannot_be_taken_away() {
    let fixture = Fixture::new();
    let part = fixture.part(&noise(5000)).await;
    // All permits of the store are taken, so finishing waits.
    let others: Vec<_> = (0..fixture.options.max_uploads).map(|_| fixture.skyfiles.writer().unwrap()).collect();
    let uploads = Arc::clone(&fixture.uploads);
    let parts = vec![part.clone()];
    let joining = tokio::spawn(async move { uploads.concatenate(Holder::SHARED, parts, metadata()).await });
    // Once it waits for the store, the final upload does not expire. Earlier, the time below would let it expire.
    fixture.uploads.waits_for_store.notified().await;
    assert!(matches!(fixture.uploads.terminate(&part).await, Err(TusError::Busy)));
    let other = fixture.uploads.concatenate(Holder::SHARED, vec![part.clone()], UploadMetadata::default()).await;
    assert!(matches!(other, Err(TusError::PartUsed)));
    fixture.uploads.expire(SystemTime::now() + Duration::from_hours(48)).unwrap();
    drop(others);
    assert_eq!(joining.await.unwrap().unwrap().skylink, Some(fixture.skylink_of(&noise(5000)).await));
    fixture.uploads.terminate(&part).await.unwrap();
}
