//! Clauses on what comes out.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;

use super::{LARGE, PATIENCE, delete, located, put};
use crate::testing::{Fixture, Watched, read, sample};
use crate::{BackendError, Content, Identity, ProgressInMemory, Put, Source as _, UNIT};

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
        let Some(locator) = located(fixture, &*backend, &absent).await else { return };
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
    assert_eq!(u64::from(backend.copies()), fixture.expected().copies);
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
    let resume = ProgressInMemory::default();
    let mut idle_put = backend.put(Arc::new(stalling.clone()), Put::IfAbsent, &resume);
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
pub async fn it_says_who_it_is(fixture: &dyn Fixture) {
    let identity = async || {
        let backend = fixture.instance().await;
        tokio::time::timeout(PATIENCE, backend.identify()).await.expect("in time").expect("it can be used")
    };
    let (first, second) = (identity().await, identity().await);
    assert_eq!(first, second, "two instances of one storage");
    assert_eq!(matches!(first, Identity::Proven(_)), fixture.expected().has_identity);
}

/// Clause 21.
pub async fn proofs_are_those_of_the_content(fixture: &dyn Fixture) {
    let backend = fixture.instance().await;
    let Some(proofs) = backend.unit_proofs() else { return };
    for length in [1000, UNIT, LARGE] {
        let source = sample(length, 1);
        let locator = put(&*backend, &source).await;
        let bare = Content::new(source.content().digest().clone(), length).expect("it is of a known algorithm");
        let Some(proof) = proofs.unit_proof(&bare, &locator).await.expect("it is there") else { continue };
        let bytes = source.read_all();
        let units: Vec<_> = bytes.chunks(UNIT as usize).collect();
        assert_eq!(proof.units(), units.len() as u64, "{length} bytes");
        for (number, unit) in (0..).zip(&units) {
            assert!(proof.accepts(number, unit) && !proof.accepts(number + 1, unit), "unit {number} of {length} bytes");
            assert!(!proof.accepts(number, &[*unit, &b"x"[..]].concat()), "unit {number} of {length} bytes");
        }
    }
}

/// Clause 23.
pub async fn what_is_there_is_listed(fixture: &dyn Fixture) {
    let backend = fixture.instance().await;
    assert_eq!(backend.listing().is_some(), fixture.expected().lists);
    if backend.listing().is_none() {
        return;
    }
    let sources: Vec<_> = (0..7).map(|seed| sample(1000 + seed, seed)).collect();
    let mut locators = Vec::new();
    for source in &sources {
        locators.push(put(&*backend, source).await);
    }
    delete(&*backend, fixture.expected(), &sources[3], &locators[3]).await;
    let mut expected: Vec<_> = locators.iter().map(|locator| (locator.address.clone(), locator.stored_size)).collect();
    expected.remove(3);
    let second = fixture.instance().await;
    let listing = second.listing().expect("another instance lists too");
    let (mut found, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = listing.list(after.as_deref()).await.expect("it can be listed");
        found.extend(page.items.into_iter().map(|item| (item.address, item.stored_size)));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}
