//! The contract of a backend as a suite: one check for each clause of [`crate`], in its order.

mod putting;
mod reading;
mod trouble;

pub use putting::{
    a_deleted_content_comes_back_with_a_put, a_put_again_outlives_a_late_delete, a_put_of_what_is_there_takes_nothing,
    concurrent_puts_all_succeed, copies_are_reported, deleting_is_idempotent, put_content_is_present,
    the_address_is_known_beforehand, too_large_is_said_before_any_byte,
};
pub use reading::{
    absent_content_is_not_found, bytes_come_back, health_is_told, it_says_who_it_is, nobody_waits_for_the_idle,
    pieces_are_small_and_not_empty, proofs_are_those_of_the_content, ranges_are_exact, what_is_there_is_listed,
};
pub use trouble::{
    a_broken_off_put_goes_on, a_dropped_put_leaves_nothing, bad_sources_place_nothing, hostile_tokens_do_no_harm,
    the_source_is_read_in_small_steps,
};

/// Stamps one test for each clause. The fixture is a type that implements
/// [`Fixture`](crate::testing::Fixture).
#[macro_export]
macro_rules! backend_contract {
    ($fixture:ty) => {
        $crate::backend_contract!(
            $fixture:
            bytes_come_back,
            ranges_are_exact,
            pieces_are_small_and_not_empty,
            absent_content_is_not_found,
            put_content_is_present,
            the_address_is_known_beforehand,
            a_put_of_what_is_there_takes_nothing,
            concurrent_puts_all_succeed,
            bad_sources_place_nothing,
            a_dropped_put_leaves_nothing,
            a_broken_off_put_goes_on,
            hostile_tokens_do_no_harm,
            the_source_is_read_in_small_steps,
            too_large_is_said_before_any_byte,
            deleting_is_idempotent,
            a_deleted_content_comes_back_with_a_put,
            a_put_again_outlives_a_late_delete,
            health_is_told,
            nobody_waits_for_the_idle,
            it_says_who_it_is,
            proofs_are_those_of_the_content,
            copies_are_reported,
            what_is_there_is_listed,
        );
    };
    ($fixture:ty: $($clause:ident,)*) => {
        $(
            #[tokio::test]
            async fn $clause() {
                let fixture = <$fixture as $crate::testing::Fixture>::start().await;
                $crate::testing::contract::$clause(&fixture).await;
            }
        )*
    };
}

use std::sync::Arc;
use std::time::Duration;

use super::{Expected, Fixture, read};
use crate::{Backend, BackendError, BytesSource, Deletion, Locator, ProgressInMemory, Put, Source as _, UNIT};

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Content of more than two units.
const LARGE: u64 = 2 * UNIT + 1_234_567;

/// Puts without a token, and must succeed.
async fn put(backend: &dyn Backend, source: &BytesSource) -> Locator {
    let progress = ProgressInMemory::default();
    backend.put(Arc::new(source.clone()), Put::IfAbsent, &progress).await.expect("a put of sound content succeeds")
}

/// Deletes, and waits until it is done.
async fn delete(backend: &dyn Backend, expected: Expected, source: &BytesSource, locator: &Locator) {
    let deletion = backend.delete(source.content(), locator).await.expect("a delete succeeds");
    assert!(deletion == Deletion::Done || expected.asynchronous_delete, "a synchronous backend only accepted a delete");
    let gone = async {
        // What is not kept any more can be read for a while.
        while is_there(backend, source, locator).await
            || read(backend, source, locator, 0..source.content().length()).await.is_ok()
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = if deletion == Deletion::Done { Duration::from_secs(5) } else { PATIENCE };
    tokio::time::timeout(waited, gone).await.expect("what was deleted goes");
}

async fn is_there(backend: &dyn Backend, source: &BytesSource, locator: &Locator) -> bool {
    match backend.stat(source.content(), locator).await {
        Ok(stat) => {
            assert_eq!(stat.length, source.content().length());
            true
        }
        Err(BackendError::NotFound) => false,
        Err(error) => panic!("stat: {error}"),
    }
}

/// The locator, if the backend can compute it.
async fn located(fixture: &dyn Fixture, backend: &dyn Backend, source: &BytesSource) -> Option<Locator> {
    let locator = backend.locate(Arc::new(source.clone())).await.expect("locating sound content succeeds");
    assert_eq!(locator.is_some(), fixture.expected().known_address);
    locator
}
