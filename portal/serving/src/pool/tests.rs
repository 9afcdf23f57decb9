//! Shares, waits and returns of permits.

use futures_util::FutureExt as _;
use proptest::prelude::*;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

fn client(n: u8) -> Holder {
    Holder::at([192, 0, 2, n].into())
}

fn pool(limit: usize) -> Arc<Pool> {
    Pool::new("transfers", limit, PATIENCE)
}

/// One address held all of them for as long as it liked.
#[test]
fn one_client_holds_half_and_another_gets_the_rest() {
    let pool = pool(5);
    let own: Vec<_> = std::iter::from_fn(|| pool.try_take(client(1)).ok()).collect();
    assert_eq!(own.len(), 3);
    assert_eq!(pool.try_take(client(1)).err(), Some(UsedUp::Share("transfers")));
    let others: Vec<_> = std::iter::from_fn(|| pool.try_take(client(2)).ok()).collect();
    assert_eq!(others.len(), 2);
    assert_eq!(pool.try_take(client(2)).err(), Some(UsedUp::Pool("transfers")));
    drop(own);
    assert!(pool.try_take(client(2)).is_ok());
    assert_eq!((pool.held(client(1)), pool.held(client(2))), (0, 2));
}

#[test]
fn those_that_cannot_be_told_apart_may_use_all() {
    let pool = pool(4);
    let all: Vec<_> = std::iter::from_fn(|| pool.try_take(Holder::SHARED).ok()).collect();
    assert_eq!(all.len(), 4);
    let beyond = pool.take_anyway(client(1));
    assert!(pool.try_take(client(2)).is_err());
    drop((all, beyond));
    assert!(!pool.is_short());
}

#[test]
fn one_ipv6_customer_is_one_client() {
    let [one, same, other] = ["2001:db8::1", "2001:db8::2:3", "2001:db8:0:1::1"].map(|text| text.parse().unwrap());
    assert_eq!(Holder::at(one), Holder::at(same));
    assert_ne!(Holder::at(one), Holder::at(other));
}

#[test]
fn a_pool_is_short_above_three_quarters() {
    let pool = pool(8);
    let six: Vec<_> = (0..6).map(|_| pool.take_anyway(Holder::SHARED)).collect();
    assert!(!pool.is_short());
    let seventh = pool.try_take(client(1)).unwrap();
    assert!(pool.is_short());
    drop((six, seventh));
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_a_permit_and_others_pass_one_that_has_its_share() {
    let pool = pool(2);
    let [first, second] = [client(1), client(2)].map(|client| pool.try_take(client).unwrap());
    let mut greedy = Box::pin(pool.take(client(1)));
    let mut other = Box::pin(pool.take(client(3)));
    assert!(greedy.as_mut().now_or_never().is_none() && other.as_mut().now_or_never().is_none());
    drop(second);
    let other = other.await.unwrap();
    assert_eq!(greedy.as_mut().now_or_never().map(Result::err), None, "its share is used up");
    drop(first);
    assert_eq!(greedy.await.unwrap().holder(), client(1));
    drop(other);
    assert_eq!(pool.state().used, 0);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever() {
    let pool = pool(2);
    let _held = [client(1), client(2)].map(|client| pool.try_take(client).unwrap());
    let began = tokio::time::Instant::now();
    assert_eq!(pool.take(client(1)).await.err(), Some(UsedUp::Share("transfers")));
    assert_eq!(pool.take(client(3)).await.err(), Some(UsedUp::Pool("transfers")));
    assert!(began.elapsed() >= 2 * PATIENCE && began.elapsed() < 3 * PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn the_places_to_wait_are_bounded_and_shared_too() {
    let pool = pool(4);
    let held: Vec<_> = (1..=4).map(|n| pool.try_take(client(n)).unwrap()).collect();
    let mut waiting: Vec<_> = [9, 9, 8, 7].iter().map(|n| Box::pin(pool.take(client(*n)))).collect();
    for request in &mut waiting[..2] {
        assert!(request.as_mut().now_or_never().is_none());
    }
    assert!(pool.take(client(9)).now_or_never().expect("half of the places are its own").is_err());
    for request in &mut waiting[2..] {
        assert!(request.as_mut().now_or_never().is_none());
    }
    assert!(pool.take(client(6)).now_or_never().expect("all places are taken").is_err());
    // A request that leaves leaves its place.
    drop(waiting);
    assert!(pool.take(client(6)).now_or_never().is_none());
    drop(held);
    assert_eq!(pool.state().used, 0);
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_was_granted_to_a_request_that_has_left_is_not_lost() {
    let pool = pool(1);
    let held = pool.try_take(client(1)).unwrap();
    let mut left = Box::pin(pool.take(client(2)));
    assert!(left.as_mut().now_or_never().is_none());
    drop(held);
    assert_eq!(pool.state().used, 1);
    drop(left);
    assert_eq!(pool.state().used, 0);
    assert!(pool.try_take(client(3)).is_ok());
}

proptest! {
    #[test]
    fn permits_are_counted(steps in prop::collection::vec((0_u8..4, any::<bool>()), 0..100)) {
        let (pool, mut held) = (pool(6), Vec::new());
        for (n, takes) in steps {
            if takes {
                held.extend(pool.try_take(client(n)).ok());
            } else if !held.is_empty() {
                held.swap_remove(n as usize % held.len());
            }
            prop_assert_eq!(pool.state().used, held.len());
            prop_assert!(held.len() <= 6 && (0..4).all(|n| pool.held(client(n)) <= 3));
        }
        drop(held);
        prop_assert!(pool.state().held.is_empty());
    }
}

#[tokio::test]
async fn a_permit_counts_for_the_client_that_is_known_later() {
    let pool = Pool::new("things", 4, PERMIT_PATIENCE);
    let client = Holder::at([192, 0, 2, 1].into());
    let mut permits: Vec<Permit> = (0..4).map(|_| pool.try_take(Holder::SHARED).unwrap()).collect();
    for permit in &mut permits[..2] {
        permit.count_for(client).unwrap();
    }
    assert_eq!(permits[2].count_for(client), Err(UsedUp::Share("things")));
    assert_eq!((pool.held(client), pool.held(Holder::SHARED)), (2, 2));
    drop(permits);
    assert_eq!((pool.held(client), pool.held(Holder::SHARED)), (0, 0));
}
