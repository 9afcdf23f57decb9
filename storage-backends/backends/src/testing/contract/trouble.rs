//! Clauses on puts that do not go to their end, and on sources and tokens that are not what they should be.

use std::sync::Arc;

use super::{LARGE, is_there, located, put};
use crate::testing::{Expected, Fixture, Watched, read, sample};
use crate::{
    Backend, BackendError, BytesSource, MAX_READ, MAX_TOKEN, Progress as _, ProgressInMemory, Put, ResumeToken,
    Source as _, UNIT,
};

/// Clause 9.
pub async fn bad_sources_place_nothing(fixture: &dyn Fixture) {
    let backend = fixture.instance().await;
    for length in [1000, LARGE] {
        let sound = sample(length, 1);
        let locator = located(fixture, &*backend, &sound).await;
        let mut damaged = sound.read_all().to_vec();
        damaged[length as usize - 3] ^= 1;
        let lying = BytesSource::claiming(sound.content().clone(), damaged.into());
        let short = BytesSource::claiming(sound.content().clone(), sound.read_all().slice(..length as usize - 1));
        let failing = Watched::new(sound.clone()).failing_at(length - 1);
        for source in [Watched::new(lying), Watched::new(short), failing] {
            let got = backend.put(Arc::new(source), Put::IfAbsent, &ProgressInMemory::default()).await;
            assert!(matches!(got, Err(BackendError::Source(_))), "{length} bytes: {got:?}");
            if let Some(locator) = &locator {
                assert!(!is_there(&*backend, &sound, locator).await, "it is there in spite of that");
            }
        }
        let locator = put(&*backend, &sound).await;
        assert!(read(&*backend, &sound, &locator, 0..length).await.expect("it is there now") == sound.read_all());
    }
}

/// Clause 10.
pub async fn a_dropped_put_leaves_nothing(fixture: &dyn Fixture) {
    let backend = fixture.instance().await;
    let source = sample(LARGE, 1);
    let locator = located(fixture, &*backend, &source).await;
    for stall in [0, UNIT, LARGE - 1] {
        break_off(&*backend, &source, stall, &ProgressInMemory::default()).await;
        let Some(locator) = &locator else { continue };
        assert!(!is_there(&*backend, &source, locator).await, "dropped at {stall}, and it is there");
    }
    let locator = put(&*backend, &source).await;
    assert!(read(&*backend, &source, &locator, 0..LARGE).await.expect("it is there") == source.read_all());
}

/// Clause 11.
pub async fn a_broken_off_put_goes_on(fixture: &dyn Fixture) {
    let source = sample(5 * UNIT, 1);
    let stall = 4 * UNIT;
    let resume = ProgressInMemory::default();
    let first = fixture.instance().await;
    // So that the bytes that are taken then are those of a copy.
    located(fixture, &*first, &source).await;
    break_off(&*first, &source, stall, &resume).await;
    drop(first);
    // Only the text of the token survives a restart.
    let resume = ProgressInMemory::new(resume.last());
    let second = fixture.instance().await;
    let watched = Watched::new(source.clone());
    let locator = second.put(Arc::new(watched.clone()), Put::IfAbsent, &resume).await.expect("it goes on");
    let Expected { resume_step, copies, address_reads_all, .. } = fixture.expected();
    if let Some(step) = resume_step {
        let kept = stall.saturating_sub(MAX_READ + step);
        // The first copy resumes; others may not have been begun.
        let (length, for_address) = (source.content().length(), u64::from(address_reads_all));
        let most = (copies + for_address) * length - kept;
        assert!(watched.taken() <= most, "{} instead of {most} bytes: {:?}", watched.taken(), watched.reads());
    }
    let bytes = read(&*second, &source, &locator, 0..source.content().length()).await.expect("it is there");
    assert!(bytes == source.read_all());
}

/// Clause 12.
pub async fn hostile_tokens_do_no_harm(fixture: &dyn Fixture) {
    let backend = fixture.instance().await;
    let other = ProgressInMemory::default();
    break_off(&*backend, &sample(LARGE, 100), UNIT, &other).await;
    let of_other_content = other.last().map(String::from).unwrap_or_default();
    let longest = "x".repeat(MAX_TOKEN);
    let hostile = [
        of_other_content.as_str(),
        "",
        "1",
        "{}",
        "[]",
        "null",
        "../../x",
        "http://127.0.0.1:1/skynet/tus/x",
        &longest,
    ];
    for (seed, token) in hostile.into_iter().enumerate() {
        let source = sample(UNIT + 1000, seed as u64);
        let resume = ProgressInMemory::new(Some(ResumeToken::try_from(token.to_owned()).expect("it is short enough")));
        let locator = backend.put(Arc::new(source.clone()), Put::IfAbsent, &resume).await;
        let locator = locator.unwrap_or_else(|error| panic!("{token:.40}: {error}"));
        let bytes = read(&*backend, &source, &locator, 0..UNIT + 1000).await.expect("it is there");
        assert!(bytes == source.read_all(), "{token:.40}");
    }
}

/// Clause 13.
pub async fn the_source_is_read_in_small_steps(fixture: &dyn Fixture) {
    let backend = fixture.instance().await;
    for length in [1000, LARGE] {
        let watched = Watched::new(sample(length, 1));
        backend.put(Arc::new(watched.clone()), Put::IfAbsent, &ProgressInMemory::default()).await.expect("it succeeds");
        for read in watched.reads() {
            assert!(read.end - read.start <= MAX_READ && read.end <= length && read.start <= read.end, "{read:?}");
        }
    }
}

/// Drops a put at the moment when it requests bytes beyond the offset.
async fn break_off(backend: &dyn Backend, source: &BytesSource, offset: u64, resume: &ProgressInMemory) {
    let watched = Watched::new(source.clone()).stalling_at(offset);
    tokio::select! {
        () = watched.stalled() => {}
        _ = backend.put(Arc::new(watched.clone()), Put::IfAbsent, resume) => panic!("a put ended that cannot have its bytes"),
    }
}
