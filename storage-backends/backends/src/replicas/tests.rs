//! The contract for three that act as one, and what happens when some of them fail, lie or are slow.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::testing::{Expected, Fixture, Instance, Watched, read, sample};
use crate::wrap::{Breaker, BreakerConfig, Call, Fault, Faults, Verify};
use crate::{BytesSource, Content, MAX_READ, MemoryBackend, ProgressInMemory, Put, Source as _, UNIT};

const PATIENCE: Duration = Duration::from_secs(3);
const LIMIT: u64 = 24 * 1024 * 1024;

struct Three([MemoryBackend; 3]);

impl Fixture for Three {
    async fn start() -> Self {
        Three(std::array::from_fn(|_| MemoryBackend::new().with_max_object_size(LIMIT)))
    }

    fn instance(&self) -> Instance<'_> {
        Box::pin(async move {
            let members = self.0.iter().map(|member| {
                let verified = Verify::new(Arc::new(member.clone()));
                Arc::new(Breaker::new(Arc::new(verified), BreakerConfig::default())) as Arc<dyn Backend>
            });
            Arc::new(Replicas::new(members.collect(), 2, PATIENCE).unwrap()) as Arc<dyn Backend>
        })
    }

    fn expected(&self) -> Expected {
        Expected { copies: 2, resume_step: Some(MAX_READ), max_object_size: Some(LIMIT), ..Expected::default() }
    }
}

mod contract {
    crate::backend_contract!(super::Three);
}

/// Each behind a breaker that trips at the second failure.
fn faulty(number: usize, copies: u32) -> (Vec<Faults>, Replicas) {
    let config = BreakerConfig { failures: 2, ..BreakerConfig::default() };
    let faults: Vec<_> = (0..number).map(|_| Faults::new(Arc::new(MemoryBackend::new()))).collect();
    let members = faults.iter().map(|faults| {
        let verified = Verify::new(Arc::new(faults.clone()));
        Arc::new(Breaker::new(Arc::new(verified), config)) as Arc<dyn Backend>
    });
    let replicas = Replicas::new(members.collect(), copies, PATIENCE).unwrap();
    (faults, replicas)
}

fn unavailable() -> BackendError {
    BackendError::Unavailable { retry_after: None, cause: "for a test".into() }
}

async fn put(backend: &dyn Backend, source: &BytesSource) -> Result<Locator, BackendError> {
    backend.put(Arc::new(source.clone()), Put::IfAbsent, &ProgressInMemory::default()).await
}

#[tokio::test(start_paused = true)]
async fn a_put_goes_elsewhere_until_there_are_enough_copies() {
    let (faults, replicas) = faulty(3, 2);
    let source = sample(1000, 1);
    faults[0].always(Call::Put, Fault::Fail(unavailable));
    let locator = put(&replicas, &source).await.unwrap();
    for (faults, there) in faults.iter().zip([false, true, true]) {
        assert_eq!(faults.stat(source.content(), &locator).await.is_ok(), there);
    }
    faults[1].always(Call::Put, Fault::Fail(|| BackendError::Refused { cause: "451".into() }));
    let error = put(&replicas, &sample(1000, 2)).await.unwrap_err();
    assert!(error.is_retryable(), "one of the two may come back: {error}");
}

#[tokio::test(start_paused = true)]
async fn a_source_at_fault_is_not_taken_elsewhere() {
    let (faults, replicas) = faulty(2, 1);
    let failing = Watched::new(sample(1000, 1)).failing_at(1);
    let error = replicas.put(Arc::new(failing), Put::IfAbsent, &ProgressInMemory::default()).await.unwrap_err();
    assert!(matches!(error, BackendError::Source(_)));
    assert_eq!(faults[1].calls(Call::Put), 0);
}

#[tokio::test(start_paused = true)]
async fn each_member_goes_on_with_its_own_token() {
    let (_, replicas) = faulty(2, 2);
    let source = sample(3 * UNIT, 1);
    let resume = ProgressInMemory::default();
    let stalled = Watched::new(source.clone()).stalling_at(2 * UNIT);
    tokio::select! {
        () = stalled.stalled() => {}
        _ = replicas.put(Arc::new(stalled.clone()), Put::IfAbsent, &resume) => panic!("it has not got its bytes"),
    }
    let watched = Watched::new(source);
    replicas.put(Arc::new(watched.clone()), Put::IfAbsent, &resume).await.unwrap();
    // The rest for the first, everything for the second.
    assert_eq!(watched.taken(), UNIT + 3 * UNIT);
}

#[tokio::test(start_paused = true)]
async fn a_read_goes_on_elsewhere_when_one_breaks_or_lies() {
    let source = sample(3 * UNIT, 1);
    let trouble = [
        Fault::Fail(unavailable),
        Fault::BreakAfter(UNIT + 5, unavailable),
        Fault::WrongByte(UNIT + 5),
        Fault::EndAfter(2 * UNIT),
    ];
    for fault in trouble {
        let (faults, replicas) = faulty(3, 3);
        let locator = put(&replicas, &source).await.unwrap();
        faults[0].always(Call::Get, fault);
        faults[1].always(Call::Get, fault);
        let bytes = read(&replicas, &source, &locator, 5..3 * UNIT).await;
        assert!(bytes.unwrap() == source.read_all().slice(5..), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_one_is_overtaken_and_may_still_win() {
    let source = sample(2 * UNIT, 1);
    for fault in [Fault::Stall, Fault::StallAfter(UNIT), Fault::Late(Duration::from_mins(1))] {
        let (faults, replicas) = faulty(2, 2);
        let locator = put(&replicas, &source).await.unwrap();
        faults[0].always(Call::Get, fault);
        let begun = Instant::now();
        assert!(read(&replicas, &source, &locator, 0..2 * UNIT).await.unwrap() == source.read_all(), "{fault:?}");
        assert_eq!(begun.elapsed(), PATIENCE, "{fault:?}");
    }
    // Both are slow: what was asked first answers first.
    let (faults, replicas) = faulty(2, 2);
    let locator = put(&replicas, &source).await.unwrap();
    faults[0].always(Call::Get, Fault::Late(Duration::from_secs(5)));
    faults[1].always(Call::Get, Fault::Late(Duration::from_secs(5)));
    let begun = Instant::now();
    assert!(read(&replicas, &source, &locator, 0..2 * UNIT).await.unwrap() == source.read_all());
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_is_replaced_at_once_while_a_slow_one_is_waited_for() {
    let source = sample(UNIT, 1);
    let (faults, replicas) = faulty(3, 3);
    let locator = put(&replicas, &source).await.unwrap();
    faults[0].always(Call::Get, Fault::Stall);
    faults[1].always(Call::Get, Fault::Fail(unavailable));
    let begun = Instant::now();
    assert!(read(&replicas, &source, &locator, 0..UNIT).await.unwrap() == source.read_all());
    assert_eq!(begun.elapsed(), PATIENCE, "for the slow one, and not for the one that failed too");
}

#[tokio::test(start_paused = true)]
async fn absence_must_be_unanimous() {
    let (faults, replicas) = faulty(2, 1);
    let source = sample(1000, 1);
    let locator = replicas.locate(Arc::new(source.clone())).await.unwrap().unwrap();
    assert!(matches!(replicas.stat(source.content(), &locator).await, Err(BackendError::NotFound)));
    faults[1].always(Call::Stat, Fault::Fail(unavailable));
    faults[1].always(Call::Get, Fault::Fail(unavailable));
    assert!(replicas.stat(source.content(), &locator).await.unwrap_err().is_retryable());
    assert!(read(&replicas, &source, &locator, 0..10).await.unwrap_err().is_retryable());
    put(&faults[0], &source).await.unwrap();
    assert_eq!(replicas.stat(source.content(), &locator).await.unwrap().length, 1000);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_fails_rests_and_is_asked_again_later() {
    let (faults, replicas) = faulty(1, 1);
    let source = sample(1000, 1);
    let locator = put(&replicas, &source).await.unwrap();
    faults[0].always(Call::Stat, Fault::Fail(unavailable));
    for _ in 0..2 {
        replicas.stat(source.content(), &locator).await.unwrap_err();
    }
    let first_rest = BreakerConfig::default().first_rest;
    assert_eq!(replicas.health().available_in(), Some(first_rest));
    let error = replicas.stat(source.content(), &locator).await.unwrap_err();
    assert_eq!((error.retry_after(), faults[0].calls(Call::Stat)), (Some(first_rest), 2), "nobody is asked");
    tokio::time::advance(first_rest).await;
    // One failure is enough now, and the rest is longer.
    replicas.stat(source.content(), &locator).await.unwrap_err();
    assert_eq!(replicas.health().available_in(), Some(2 * first_rest));
    tokio::time::advance(2 * first_rest).await;
    faults[0].clear();
    replicas.stat(source.content(), &locator).await.unwrap();
    faults[0].always(Call::Stat, Fault::Fail(unavailable));
    replicas.stat(source.content(), &locator).await.unwrap_err();
    assert!(replicas.health().is_available(), "it has had a good day since");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_asks_for_time_is_left_alone_for_so_long() {
    let (faults, replicas) = faulty(1, 1);
    faults[0].at(
        Call::Check,
        0,
        Fault::Fail(|| BackendError::Unavailable { retry_after: Some(Duration::from_secs(77)), cause: "429".into() }),
    );
    replicas.check().await.unwrap_err();
    assert_eq!(replicas.health().available_in(), Some(Duration::from_secs(77)));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_misbehaves_is_not_used_again() {
    let (faults, replicas) = faulty(2, 1);
    faults[0].at(Call::Put, 0, Fault::Fail(|| BackendError::Misbehaves { cause: "another address".into() }));
    let source = sample(1000, 1);
    let locator = put(&replicas, &source).await.unwrap();
    assert_eq!(replicas.health().endpoints[0].state, EndpointState::Distrusted);
    tokio::time::advance(Duration::from_secs(1_000_000)).await;
    put(&replicas, &sample(1000, 2)).await.unwrap();
    read(&replicas, &source, &locator, 0..1000).await.unwrap();
    assert_eq!((faults[0].calls(Call::Put), faults[0].calls(Call::Get)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_start_needs_one_that_answers_and_none_of_another_profile() {
    let (faults, replicas) = faulty(2, 1);
    faults[0].at(Call::Check, 0, Fault::Fail(unavailable));
    replicas.check().await.unwrap();
    faults[1].at(Call::Check, 0, Fault::Fail(|| BackendError::Unsuitable { cause: "4KiB/1+4".into() }));
    assert!(matches!(replicas.check().await, Err(BackendError::Unsuitable { .. })));
    assert!(Replicas::new(Vec::new(), 1, PATIENCE).is_err());
    let one = || Arc::new(MemoryBackend::new()) as Arc<dyn Backend>;
    assert!(Replicas::new(vec![one()], 2, PATIENCE).is_err() && Replicas::new(vec![one()], 0, PATIENCE).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_caller_at_fault_gets_its_error_at_once() {
    let (faults, replicas) = faulty(2, 2);
    let source = sample(2 * UNIT, 1);
    let locator = put(&replicas, &source).await.unwrap();
    let bare = Content::new(source.content().digest().clone(), 2 * UNIT).unwrap();
    let bare = BytesSource::claiming(bare, source.read_all());
    let error = read(&replicas, &bare, &locator, 5..6).await.unwrap_err();
    assert!(matches!(error, BackendError::NoUnitProof));
    assert_eq!(faults[0].calls(Call::Get) + faults[1].calls(Call::Get), 0);
}

#[tokio::test(start_paused = true)]
async fn one_that_says_who_it_is_is_enough() {
    let (faults, replicas) = faulty(3, 1);
    let begun = Instant::now();
    faults[0].always(Call::Identify, Fault::Stall);
    faults[1].always(Call::Identify, Fault::Fail(unavailable));
    faults[2].always(Call::Identify, Fault::Late(Duration::from_secs(1)));
    replicas.identify().await.unwrap();
    assert_eq!(begun.elapsed(), Duration::from_secs(1), "all are asked at once");
    faults[0].always(Call::Identify, Fault::Fail(unavailable));
    faults[2].always(Call::Identify, Fault::Fail(unavailable));
    assert!(replicas.identify().await.unwrap_err().is_retryable());
}

#[tokio::test(start_paused = true)]
async fn a_proof_comes_from_whoever_has_one() {
    let (faults, replicas) = faulty(3, 3);
    let source = sample(2 * UNIT, 1);
    let locator = put(&replicas, &source).await.unwrap();
    let proofs = replicas.unit_proofs().unwrap();
    faults[0].at(Call::UnitProof, 0, Fault::Fail(|| BackendError::Corrupt { start: 0, end: 1 }));
    faults[1].always(Call::UnitProof, Fault::Stall);
    let begun = Instant::now();
    let proof = proofs.unit_proof(source.content(), &locator).await.unwrap().unwrap();
    assert!(proof.accepts(1, &source.read_all()[UNIT as usize..]));
    assert_eq!(begun.elapsed(), PATIENCE);
    // The first one rests, for it lied.
    faults[2].always(Call::UnitProof, Fault::Fail(|| BackendError::NotFound));
    faults[1].always(Call::UnitProof, Fault::Fail(|| BackendError::NotFound));
    assert!(proofs.unit_proof(source.content(), &locator).await.unwrap_err().is_retryable());
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_was_made_is_told_although_the_next_one_fails() {
    let (faults, replicas) = faulty(2, 2);
    faults[1].always(Call::Put, Fault::Fail(unavailable));
    let (source, progress) = (sample(1000, 1), ProgressInMemory::default());
    replicas.put(Arc::new(source), Put::IfAbsent, &progress).await.unwrap_err();
    assert_eq!(progress.copies().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_removal_at_one_of_them_waits_for_no_other() {
    let names = ["http://a", "http://b"];
    let faults = names.map(|name| Faults::new(Arc::new(MemoryBackend::new().named(name))));
    let members = faults.iter().map(|faults| Arc::new(Verify::new(Arc::new(faults.clone()))) as Arc<dyn Backend>);
    let replicas = Replicas::new(members.collect(), 2, PATIENCE).unwrap();
    assert_eq!(crate::endpoints(&replicas), names);
    let source = sample(1000, 1);
    let locator = put(&replicas, &source).await.unwrap();
    assert_eq!(locator.endpoints, names);
    faults[0].always(Call::Delete, Fault::Stall);
    let second = &replicas.members()[1];
    assert_eq!(second.delete(source.content(), &locator).await.unwrap(), Deletion::Done);
    assert_eq!(faults[0].calls(Call::Delete), 0);
    assert_eq!(replicas.stat(source.content(), &locator).await.unwrap().endpoints, ["http://a"]);
    faults[0].clear();
    replicas.delete(source.content(), &locator).await.unwrap();
    assert!(matches!(replicas.stat(source.content(), &locator).await, Err(BackendError::NotFound)), "all are asked");
}
