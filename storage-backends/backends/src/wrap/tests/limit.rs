//! The limits on concurrent work and on rates.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

use super::{faulty, put};
use crate::testing::{read, sample};
use crate::wrap::{Call, Fault, Limit, LimitConfig};
use crate::{Backend as _, Source as _};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn no_more_calls_than_allowed_are_under_way() {
    let faults = faulty();
    faults.always(Call::Put, Fault::Late(SECOND));
    faults.always(Call::Stat, Fault::Late(SECOND));
    let limit = Limit::new(Arc::new(faults), LimitConfig { puts: 2, calls: 3, ..LimitConfig::default() });
    let sources: Vec<_> = (0..6).map(|seed| sample(10, seed)).collect();
    let begun = Instant::now();
    let locators = join_all(sources.iter().map(|source| put(&limit, source))).await;
    assert_eq!(begun.elapsed(), 3 * SECOND);
    let begun = Instant::now();
    join_all(sources.iter().zip(&locators).map(|(source, locator)| limit.stat(source.content(), locator))).await;
    assert_eq!(begun.elapsed(), 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_stream_counts_until_it_is_dropped_or_has_ended() {
    let limit = Limit::new(Arc::new(faulty()), LimitConfig { gets: 1, ..LimitConfig::default() });
    let source = sample(10, 1);
    let locator = put(&limit, &source).await;
    let mut first = limit.get(source.content(), &locator, 0..10).await.unwrap();
    first.next().await.unwrap().unwrap();
    assert!(timeout(SECOND, limit.get(source.content(), &locator, 0..10)).await.is_err());
    assert!(first.next().await.is_none());
    // It has ended, and so it counts no more though somebody still holds it.
    let second = limit.get(source.content(), &locator, 0..10).await.unwrap();
    drop(second);
    assert_eq!(read(&limit, &source, &locator, 0..10).await.unwrap(), source.read_all());
}

#[tokio::test(start_paused = true)]
async fn bytes_keep_to_the_rate_whoever_moves_them() {
    let mebibyte = 1 << 20;
    let config = LimitConfig { put_rate: Some(mebibyte), get_rate: Some(2 * mebibyte), ..LimitConfig::default() };
    let limit = Limit::new(Arc::new(faulty()), config);
    let sources = [sample(4 * mebibyte, 1), sample(4 * mebibyte, 2)];
    let begun = Instant::now();
    let locators = join_all(sources.iter().map(|source| put(&limit, source))).await;
    // The first MiB goes at once, each of the others a second after the one before.
    assert_eq!(begun.elapsed(), 7 * SECOND);
    tokio::time::advance(10 * SECOND).await;
    let begun = Instant::now();
    join_all(sources.iter().zip(&locators).map(|(source, locator)| read(&limit, source, locator, 0..4 * mebibyte)))
        .await;
    assert_eq!(begun.elapsed(), 7 * SECOND / 2);
}
