//! The calls that are retried, how often, and when.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{faulty, put, unavailable};
use crate::testing::{Watched, read, sample};
use crate::wrap::{Call, Fault, Faults, Jitter, Retry, RetryConfig};
use crate::{Backend as _, BackendError, ProgressInMemory, Put, Source as _, UNIT};

const CONFIG: RetryConfig =
    RetryConfig { attempts: 4, first_pause: Duration::from_secs(1), longest_pause: Duration::from_secs(3) };

fn retry(faults: &Faults) -> Retry {
    Retry::new(Arc::new(faults.clone()), CONFIG, Jitter::new(|| 255))
}

#[tokio::test(start_paused = true)]
async fn retryable_errors_are_tried_again_ever_more_rarely_and_not_for_ever() {
    let faults = faulty();
    let source = sample(10, 1);
    let locator = put(&faults, &source).await;
    faults.always(Call::Stat, Fault::Fail(unavailable));
    let begun = Instant::now();
    let error = retry(&faults).stat(source.content(), &locator).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert_eq!(faults.calls(Call::Stat), 4);
    // 1 + 2 + the longest.
    assert_eq!(begun.elapsed(), Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn jitter_takes_up_to_half_of_a_pause() {
    let faults = faulty();
    faults.at(Call::Check, 0, Fault::Fail(unavailable));
    let begun = Instant::now();
    Retry::new(Arc::new(faults), CONFIG, Jitter::new(|| 0)).check().await.unwrap();
    assert_eq!(begun.elapsed(), Duration::from_millis(500));
}

#[tokio::test(start_paused = true)]
async fn permanent_errors_are_not_tried_again() {
    let permanent: [fn() -> BackendError; 6] = [
        || BackendError::NotFound,
        || BackendError::Refused { cause: "451".into() },
        || BackendError::Corrupt { start: 0, end: 1 },
        || BackendError::TooLarge { limit: 1 },
        || BackendError::Misbehaves { cause: "another address".into() },
        || BackendError::Unsuitable { cause: "another profile".into() },
    ];
    for (calls, error) in permanent.into_iter().enumerate() {
        let faults = faulty();
        faults.always(Call::Check, Fault::Fail(error));
        let begun = Instant::now();
        assert!(!retry(&faults).check().await.unwrap_err().is_retryable());
        assert_eq!((faults.calls(Call::Check), begun.elapsed()), (1, Duration::ZERO), "{calls}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_asks_for_time_gets_it_or_is_left_alone() {
    let faults = faulty();
    let busy =
        |seconds| BackendError::Unavailable { retry_after: Some(Duration::from_secs(seconds)), cause: "429".into() };
    let begun = Instant::now();
    faults.at(
        Call::Check,
        0,
        Fault::Fail(|| BackendError::Unavailable { retry_after: Some(Duration::from_secs(3)), cause: "429".into() }),
    );
    retry(&faults).check().await.unwrap();
    assert_eq!(begun.elapsed(), Duration::from_secs(3));
    faults.at(
        Call::Check,
        0,
        Fault::Fail(|| BackendError::Unavailable { retry_after: Some(Duration::from_secs(4)), cause: "429".into() }),
    );
    let error = retry(&faults).check().await.unwrap_err();
    assert_eq!(error.retry_after(), busy(4).retry_after());
    assert_eq!(begun.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_broken_stream_goes_on_where_it_broke() {
    let faults = faulty();
    let length = 2 * UNIT;
    let source = sample(length, 1);
    let locator = put(&faults, &source).await;
    faults.at(Call::Get, 0, Fault::BreakAfter(UNIT + 5, unavailable));
    faults.at(Call::Get, 1, Fault::BreakAfter(0, unavailable));
    faults.at(Call::Get, 2, Fault::BreakAfter(1, unavailable));
    let got = read(&retry(&faults), &source, &locator, 1..length).await.unwrap();
    assert!(got == source.read_all().slice(1..));
    assert_eq!(faults.calls(Call::Get), 4);
    faults.always(Call::Get, Fault::BreakAfter(10, unavailable));
    assert!(read(&retry(&faults), &source, &locator, 0..length).await.is_err(), "not for ever");
    assert_eq!(faults.calls(Call::Get), 8);
}

#[tokio::test(start_paused = true)]
async fn a_put_whose_answer_got_lost_takes_nothing_again() {
    let faults = faulty();
    faults.at(Call::Put, 0, Fault::FailAfterwards(unavailable));
    let watched = Watched::new(sample(3 * UNIT, 1));
    retry(&faults).put(Arc::new(watched.clone()), Put::IfAbsent, &ProgressInMemory::default()).await.unwrap();
    assert_eq!((faults.calls(Call::Put), watched.taken()), (2, 3 * UNIT));
}

#[tokio::test(start_paused = true)]
async fn a_source_at_fault_is_not_tried_again() {
    let faults = faulty();
    let watched = Watched::new(sample(1000, 1)).failing_at(10);
    let error = retry(&faults).put(Arc::new(watched), Put::IfAbsent, &ProgressInMemory::default()).await.unwrap_err();
    assert!(matches!(error, BackendError::Source(_)));
    assert_eq!(faults.calls(Call::Put), 1);
}

#[tokio::test(start_paused = true)]
async fn reads_are_left_to_others_where_there_are_others() {
    let faults = faulty();
    let source = sample(10, 1);
    let locator = put(&faults, &source).await;
    let retry = retry(&faults).opening_once();
    faults.always(Call::Get, Fault::Fail(unavailable));
    faults.always(Call::UnitProof, Fault::Fail(unavailable));
    let begun = Instant::now();
    read(&retry, &source, &locator, 0..10).await.unwrap_err();
    retry.unit_proofs().unwrap().unit_proof(source.content(), &locator).await.unwrap_err();
    assert_eq!((faults.calls(Call::Get), faults.calls(Call::UnitProof), begun.elapsed()), (1, 1, Duration::ZERO));
    faults.at(Call::Stat, 0, Fault::Fail(unavailable));
    retry.stat(source.content(), &locator).await.unwrap();
    faults.clear();
    faults.at(Call::Get, 0, Fault::BreakAfter(4, unavailable));
    assert!(read(&retry, &source, &locator, 0..10).await.unwrap() == source.read_all(), "one that broke off goes on");
    faults.at(Call::Get, 0, Fault::BreakAfter(4, unavailable));
    faults.at(Call::Get, 1, Fault::Fail(unavailable));
    read(&retry, &source, &locator, 0..10).await.unwrap_err();
}
