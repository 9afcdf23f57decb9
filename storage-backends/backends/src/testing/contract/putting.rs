//! Clauses on what goes in, and what is gone.

use std::sync::Arc;
use std::time::Duration;

use super::{LARGE, delete, is_there, located, put};
use crate::testing::{Fixture, Watched, read, sample};
use crate::{BackendError, ProgressInMemory, Put, Source as _, UNIT};

/// Clause 5.
pub async fn put_content_is_present(fixture: &dyn Fixture) {
    let backend = fixture.instance().await;
    for length in [0, 10, LARGE] {
        let source = sample(length, 1);
        let locator = put(&*backend, &source).await;
        assert_eq!((locator.kind.as_str(), locator.profile.as_str()), (backend.kind(), backend.profile()));
        assert!(is_there(&*backend, &source, &locator).await, "{length} bytes");
        assert!(is_there(&*fixture.instance().await, &source, &locator).await, "{length} bytes, other instance");
    }
}

/// Clause 6.
pub async fn the_address_is_known_beforehand(fixture: &dyn Fixture) {
    let backend = fixture.instance().await;
    for length in [0, 10, UNIT - 100, LARGE] {
        let source = sample(length, 1);
        let Some(before) = located(fixture, &*backend, &source).await else { return };
        assert!(before.endpoints.is_empty(), "nobody has it yet");
        assert!(!is_there(&*backend, &source, &before).await, "locating stored it");
        let placed = put(&*backend, &source).await;
        assert!(before.same_place(&placed), "{before:?} became {placed:?}");
        let after = located(fixture, &*fixture.instance().await, &source).await;
        assert!(after.is_some_and(|after| after.same_place(&placed)));
    }
}

/// Clause 7.
pub async fn a_put_of_what_is_there_takes_nothing(fixture: &dyn Fixture) {
    let backend = fixture.instance().await;
    for length in [10, LARGE] {
        let source = sample(length, 1);
        let first = put(&*backend, &source).await;
        let watched = Watched::new(source);
        let second = backend
            .put(Arc::new(watched.clone()), Put::IfAbsent, &ProgressInMemory::default())
            .await
            .expect("it repeats");
        assert!(first.same_place(&second), "{first:?} became {second:?}");
        let expected = fixture.expected();
        if expected.known_address {
            // The result of the first put is cached.
            let for_address = if length > UNIT { 0 } else { length * expected.copies };
            assert!(watched.taken() <= for_address, "{} bytes were read again", watched.taken());
        }
    }
}

/// Clause 8.
pub async fn concurrent_puts_all_succeed(fixture: &dyn Fixture) {
    let backend = fixture.instance().await;
    for length in [10, LARGE] {
        let source = sample(length, 1);
        let locator = located(fixture, &*backend, &source).await;
        let (a, b, c) = tokio::join!(put(&*backend, &source), put(&*backend, &source), async {
            let Some(locator) = locator else { return };
            for _ in 0..20 {
                match read(&*backend, &source, &locator, 0..length).await {
                    Ok(bytes) => assert!(bytes == source.read_all(), "a reader saw other bytes"),
                    Err(BackendError::NotFound) => tokio::task::yield_now().await,
                    Err(error) => panic!("a reader got {error}"),
                }
            }
        });
        assert!(a.same_place(&b));
        let () = c;
        assert!(read(&*backend, &source, &a, 0..length).await.expect("it is there") == source.read_all());
    }
}

/// Clause 14.
pub async fn too_large_is_said_before_any_byte(fixture: &dyn Fixture) {
    let backend = fixture.instance().await;
    let Some(limit) = fixture.expected().max_object_size else {
        // Without a limit, what is larger than all the other samples must do.
        put(&*backend, &sample(LARGE + UNIT, 1)).await;
        return;
    };
    let watched = Watched::new(sample(limit + 1, 1));
    let refused = backend.put(Arc::new(watched.clone()), Put::IfAbsent, &ProgressInMemory::default()).await;
    assert!(matches!(refused, Err(BackendError::TooLarge { limit: told }) if told == limit), "{refused:?}");
    assert_eq!(watched.taken(), 0);
    put(&*backend, &sample(limit, 2)).await;
}

/// Clause 15.
pub async fn deleting_is_idempotent(fixture: &dyn Fixture) {
    let backend = fixture.instance().await;
    for length in [10, LARGE] {
        let (source, other) = (sample(length, 1), sample(length, 2));
        let (locator, kept) = (put(&*backend, &source).await, put(&*backend, &other).await);
        delete(&*backend, fixture.expected(), &source, &locator).await;
        delete(&*backend, fixture.expected(), &source, &locator).await;
        delete(&*fixture.instance().await, fixture.expected(), &source, &locator).await;
        let got = read(&*backend, &source, &locator, 0..length).await;
        assert!(matches!(got, Err(BackendError::NotFound)), "{got:?}");
        assert!(is_there(&*backend, &other, &kept).await, "another content went with it");
    }
}

/// Clause 16.
pub async fn a_deleted_content_comes_back_with_a_put(fixture: &dyn Fixture) {
    let backend = fixture.instance().await;
    for length in [10, LARGE] {
        let source = sample(length, 1);
        let locator = put(&*backend, &source).await;
        delete(&*backend, fixture.expected(), &source, &locator).await;
        let again = put(&*backend, &source).await;
        assert!(locator.same_place(&again));
        assert!(read(&*backend, &source, &again, 0..length).await.expect("it is back") == source.read_all());
    }
}

/// Clause 18.
pub async fn a_put_again_outlives_a_late_delete(fixture: &dyn Fixture) {
    let backend = fixture.instance().await;
    for length in [10, LARGE] {
        let source = sample(length, 1);
        let locator = put(&*backend, &source).await;
        backend.delete(source.content(), &locator).await.expect("a delete succeeds");
        let again = backend.put(Arc::new(source.clone()), Put::Renew, &ProgressInMemory::default()).await;
        assert!(again.expect("a put-again succeeds").same_place(&locator));
        // Any late effect of the delete has happened by then.
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(read(&*backend, &source, &locator, 0..length).await.expect("it stays") == source.read_all());
    }
}

/// Clause 22.
pub async fn copies_are_reported(fixture: &dyn Fixture) {
    let backend = fixture.instance().await;
    let (source, progress) = (sample(1000, 1), ProgressInMemory::default());
    let placed = backend.put(Arc::new(source), Put::IfAbsent, &progress).await.expect("it succeeds");
    let copies = progress.copies();
    let expected = if backend.members().is_empty() { 0 } else { fixture.expected().copies };
    assert_eq!(copies.len() as u64, expected);
    for copy in copies {
        assert!(copy.same_place(&placed) && copy.endpoints.len() <= 1, "{copy:?}");
    }
}
