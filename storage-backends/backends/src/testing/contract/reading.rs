//! Clauses on what comes out.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use skynet_formats::profile::SectorSize;
use skynet_formats::unit_roots::UnitRoots;

use super::{LARGE, PATIENCE, located, put};
use crate::testing::{Fixture, Watched, read, sample};
use crate::{BackendError, Content, ResumeInMemory, Source as _, UNIT};

/// Clause 1.
pub async fn bytes_come_back(fixture: &dyn Fixture) {
    let backend = fixture.instance().await;
    for (seed, length) in [0, 1, 1000, 100_000, UNIT - 200, UNIT - 1, UNIT, UNIT + 1, LARGE].into_iter().enumerate() {
        let source = sample(length, seed as u64);
        let locator = put(&*backend, &source).await;
        let bytes = read(&*backend, &source, &locator, 0..length).await.expect("what was put can be read");
        assert!(bytes == source.read_all(), "{length} bytes came back as others");
        let again = read(&*fixture.instance().await, &source, &locator, 0..length).await;
        assert!(again.expect("another instance reads it too") == source.read_all(), "{length} bytes, other instance");
    }
}

/// Clause 2.
pub async fn ranges_are_exact(fixture: &dyn Fixture) {
    let backend = fixture.instance().await;
    for length in [1000, LARGE] {
        let source = sample(length, 1);
        let locator = put(&*backend, &source).await;
        let bytes = source.read_all();
        let middle = length / 2;
        let mut ranges =
            vec![0..length, 0..1, length - 1..length, middle..middle + 100, 0..0, length..length, middle..middle];
        if length > UNIT {
            ranges.extend([UNIT - 1..UNIT + 1, UNIT..2 * UNIT, 1..length - 1, UNIT - 1..2 * UNIT + 1]);
        }
        for range in ranges {
            let got = read(&*backend, &source, &locator, range.clone()).await.expect("a range within can be read");
            assert!(got == bytes[range.start as usize..range.end as usize], "{range:?} of {length} bytes");
        }
        for range in [0..length + 1, length + 1..length + 1, length..length + 1, u64::MAX - 1..u64::MAX] {
            let got = read(&*backend, &source, &locator, range.clone()).await;
            assert!(matches!(got, Err(BackendError::OutOfRange { .. })), "{range:?} of {length} bytes: {got:?}");
        }
    }
}

/// Clause 3.
pub async fn pieces_are_small_and_not_empty(fixture: &dyn Fixture) {
    let backend = fixture.instance().await;
    for length in [0, 1000, LARGE] {
        let source = sample(length, 1);
        let locator = put(&*backend, &source).await;
        let mut stream = backend.get(source.content(), &locator, 0..length).await.expect("it is there");
        while let Some(piece) = stream.next().await {
            let piece = piece.expect("it is there to the end").len() as u64;
            assert!((1..=UNIT).contains(&piece), "a piece of {piece} bytes");
        }
    }
}

/// Clause 4.
pub async fn absent_content_is_not_found(fixture: &dyn Fixture) {
    let backend = fixture.instance().await;
    for length in [10, LARGE] {
        let (present, absent) = (sample(length, 1), sample(length, 2));
        put(&*backend, &present).await;
        let Some(locator) = located(&*backend, &absent).await else { return };
        let got = read(&*backend, &absent, &locator, 0..length).await;
        assert!(matches!(got, Err(BackendError::NotFound)), "get: {got:?}");
        let stat = backend.stat(absent.content(), &locator).await;
        assert!(matches!(stat, Err(BackendError::NotFound)), "stat: {stat:?}");
    }
}

/// Clause 17.
pub async fn health_is_told(fixture: &dyn Fixture) {
    let backend = fixture.instance().await;
    backend.check().await.expect("a check repeats");
    let health = backend.health();
    assert!(health.is_available(), "{health:?}");
    assert_eq!(health.available_in(), Some(Duration::ZERO));
    assert!(backend.capabilities().copies >= 1);
}

/// Clause 19.
pub async fn nobody_waits_for_the_idle(fixture: &dyn Fixture) {
    let backend = fixture.instance().await;
    let source = sample(LARGE, 1);
    let locator = put(&*backend, &source).await;
    let mut idle_stream = backend.get(source.content(), &locator, 0..LARGE).await.expect("it is there");
    idle_stream.next().await.expect("it is not empty").expect("it begins");
    let other = sample(LARGE, 2);
    let stalling = Watched::new(other.clone()).stalling_at(UNIT);
    let resume = ResumeInMemory::default();
    let mut idle_put = backend.put(Arc::new(stalling.clone()), &resume);
    tokio::select! {
        () = stalling.stalled() => {}
        _ = &mut idle_put => panic!("a put ended that cannot have its bytes"),
    }
    let busy = async {
        let bytes = read(&*backend, &source, &locator, 0..LARGE).await.expect("others can read");
        assert!(bytes == source.read_all());
        put(&*backend, &sample(LARGE, 3)).await;
        put(&*backend, &other).await;
    };
    tokio::time::timeout(PATIENCE, busy).await.expect("nobody waits for the idle");
    drop((idle_stream, idle_put));
}

/// Clause 20.
pub async fn a_ping_is_answered(fixture: &dyn Fixture) {
    let backend = fixture.instance().await;
    tokio::time::timeout(PATIENCE, backend.ping()).await.expect("in time").expect("it can be used");
}

/// Clause 21.
pub async fn roots_are_those_of_the_content(fixture: &dyn Fixture) {
    let backend = fixture.instance().await;
    for length in [1000, UNIT, LARGE] {
        let source = sample(length, 1);
        let locator = put(&*backend, &source).await;
        let bare = Content::new(source.content().digest().clone(), length).expect("it is of a known algorithm");
        let roots = backend.unit_roots(&bare, &locator).await.expect("it is there");
        let Some(roots) = roots else { continue };
        let mut right = UnitRoots::new(SectorSize::STANDARD);
        right.update(&source.read_all());
        assert!(*roots == *right.finish(), "{length} bytes: {roots:?}");
    }
}
