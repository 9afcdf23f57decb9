//! Asking peers one after the other, without waiting for slow ones.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::sleep;

use super::error::PeerError;

/// Peers that are asked for the same thing at once; each may have a sector in memory.
const AT_ONCE: usize = 3;

/// The first good answer, with its peer. The next peer in `order` is asked as soon as one fails. It is also asked when
/// the last one has taken `stagger` and few are asked; the earlier ones may still win. The others are cancelled when
/// one has won.
pub(super) async fn first_good<T, F>(order: &[usize], stagger: Duration, ask: impl Fn(usize) -> F) -> Option<(usize, T)>
where
    F: Future<Output = Result<T, PeerError>>,
{
    let mut left = order.iter().copied();
    let mut asked = FuturesUnordered::new();
    loop {
        if let Some(peer) = left.next() {
            let answer = ask(peer);
            asked.push(async move { (peer, answer.await) });
        }
        tokio::select! {
            answer = asked.next() => match answer {
                Some((peer, Ok(good))) => return Some((peer, good)),
                Some((_, Err(_))) => {}
                None => return None,
            },
            () = sleep(stagger), if left.len() > 0 && asked.len() < AT_ONCE => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAGGER: Duration = Duration::from_secs(1);

    /// Each peer answers after this many seconds, well or badly.
    async fn race(peers: &[(u64, bool)]) -> (Option<usize>, Duration) {
        let started = tokio::time::Instant::now();
        let order: Vec<usize> = (0..peers.len()).collect();
        let won = first_good(&order, STAGGER, |peer| async move {
            let (seconds, good) = peers[peer];
            sleep(Duration::from_secs(seconds)).await;
            if good { Ok(()) } else { Err(PeerError::Absent) }
        });
        (won.await.map(|(peer, ())| peer), started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_good_answer_wins() {
        let seconds = Duration::from_secs;
        assert_eq!(race(&[]).await, (None, seconds(0)));
        assert_eq!(race(&[(0, true), (0, true)]).await, (Some(0), seconds(0)));
        assert_eq!(race(&[(0, false), (0, true)]).await, (Some(1), seconds(0)), "the next at once after a failure");
        assert_eq!(race(&[(9, true), (0, true)]).await, (Some(1), seconds(1)), "the next after a while");
        assert_eq!(race(&[(3, true), (9, true), (9, true)]).await, (Some(0), seconds(3)), "slow ones may still win");
        assert_eq!(race(&[(5, false), (2, false)]).await, (None, seconds(5)));
        let slow = [(20, false), (30, true), (30, true), (1, true)];
        assert_eq!(race(&slow).await, (Some(3), seconds(21)), "no more than three at once");
    }
}
