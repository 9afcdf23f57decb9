//! The place of a connection: one of `server.max_connections`, or one beyond them for a single health check.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serving::{Holder, Pace, Permit, Pool, UsedUp};
use tokio::time::sleep;

use super::HeadLog;
use super::activity::Activity;
use crate::resources::Resource;

/// Connections beyond the limit at once, for health checks.
pub(super) const PROBES: usize = 16;
/// Connections beyond the limit whose requests wait for a place.
pub(super) const WAITING: usize = 64;
/// Time for a health check from its connection on.
const PROBE_TIME: Duration = Duration::from_secs(5);
const MINUTE: Duration = Duration::from_mins(1);

/// The places of one listener.
#[derive(Debug)]
pub(super) struct Places {
    connections: Arc<Pool>,
    probes: Arc<Pool>,
}

/// The place of one connection.
#[derive(Debug)]
pub(super) struct Place {
    connections: Arc<Pool>,
    seat: Mutex<Seat>,
}

#[derive(Debug)]
struct Seat {
    holder: Holder,
    state: State,
}

#[derive(Debug)]
enum State {
    /// One of the limit.
    Full(Permit),
    /// One beyond the limit, until the first request.
    Probe(Permit),
    /// The request waits for one of the limit.
    Waiting,
    /// The request was refused.
    Refused,
}

impl Places {
    pub(super) fn new(max_connections: usize, patience: Duration) -> Self {
        Places {
            connections: Pool::with_waiting(Resource::Connections.name(), max_connections, WAITING, patience),
            probes: Pool::with_waiting(Resource::HealthChecks.name(), PROBES, 1, patience),
        }
    }

    /// Waits until a further connection can have a place.
    pub(super) async fn room(&self) {
        while self.probes.take(Holder::SHARED).await.is_err() {}
    }

    /// A place for a connection from this peer. `None` if the peer has all of the limit and of the probes that one
    /// client may have.
    pub(super) fn of(&self, peer: IpAddr, log: &HeadLog) -> Option<Place> {
        let holder = Holder::of(peer, log.trusted_proxies());
        let state = match self.connections.try_take(holder) {
            Ok(permit) => State::Full(permit),
            Err(_) => State::Probe(self.probes.try_take(holder).ok()?),
        };
        Some(Place { connections: Arc::clone(&self.connections), seat: Mutex::new(Seat { holder, state }) })
    }
}

impl Place {
    fn seat(&self) -> MutexGuard<'_, Seat> {
        // Nothing between two changes can panic.
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the connection for the client that a proxy has named. Fails if that one has its share already.
    pub(super) fn count_for(&self, client: Holder) -> Result<(), UsedUp> {
        let mut seat = self.seat();
        if let State::Full(permit) | State::Probe(permit) = &mut seat.state {
            permit.count_for(client)?;
        }
        seat.holder = client;
        Ok(())
    }

    /// True if the connection ends after one request.
    pub(super) fn is_beyond_the_limit(&self) -> bool {
        !matches!(self.seat().state, State::Full(_))
    }

    /// Lets a request through that is no health check. Beyond the limit it waits for a place of the limit.
    pub(super) async fn admit(&self) -> Result<(), UsedUp> {
        let granted = {
            let mut seat = self.seat();
            if let State::Full(_) = seat.state {
                return Ok(());
            }
            let granted = self.connections.ask(seat.holder)?;
            // Its place for a health check is free for one.
            seat.state = State::Waiting;
            granted
        };
        let granted = granted.await;
        let mut seat = self.seat();
        match granted {
            Ok(permit) => seat.state = State::Full(permit),
            Err(used_up) => {
                seat.state = State::Refused;
                return Err(used_up);
            }
        }
        Ok(())
    }

    /// Ends when the connection must: beyond the limit after a few seconds, else when it is slower than the least rate
    /// while places are short.
    pub(super) async fn over(&self, activity: &Activity) {
        loop {
            sleep(PROBE_TIME).await;
            match self.seat().state {
                State::Full(_) => break,
                State::Waiting => {}
                State::Probe(_) | State::Refused => return,
            }
        }
        let (mut pace, mut moved) = (Pace::default(), 0);
        loop {
            sleep(MINUTE).await;
            let now = activity.moved();
            pace.moved(now.saturating_sub(moved));
            moved = now;
            let is_slow = !activity.waits_for_us() && pace.waited(MINUTE);
            if is_slow && (self.connections.is_short() || activity.holds_what_is_short()) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn peer(n: u8) -> IpAddr {
        [192, 0, 2, n].into()
    }

    /// One address held all connections, and health checks hung.
    #[tokio::test(start_paused = true)]
    async fn one_address_leaves_places_to_others_and_to_health_checks() {
        let (places, log) = (Places::new(4, PATIENCE), HeadLog::default());
        let own: Vec<_> = std::iter::from_fn(|| places.of(peer(1), &log)).collect();
        let probes = own.iter().filter(|place| place.is_beyond_the_limit()).count();
        assert_eq!((own.len(), probes), (2 + PROBES / 2, PROBES / 2));
        let others = [peer(2), peer(3)].map(|peer| places.of(peer, &log).unwrap());
        assert!(others.iter().all(|place| !place.is_beyond_the_limit()));
        let check = places.of(peer(4), &log).unwrap();
        assert!(check.is_beyond_the_limit());
        let began = Instant::now();
        check.over(&Activity::new()).await;
        assert_eq!(began.elapsed(), PROBE_TIME);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_beyond_the_limit_waits_for_a_place_and_keeps_it() {
        let (places, log) = (Places::new(1, PATIENCE), HeadLog::default());
        let full = places.of(peer(1), &log).unwrap();
        let next = places.of(peer(2), &log).unwrap();
        let mut waiting = Box::pin(next.admit());
        assert!(timeout(Duration::from_secs(7), &mut waiting).await.is_err());
        drop(full);
        waiting.await.unwrap();
        assert!(!next.is_beyond_the_limit());
        let idle = Activity::new();
        assert!(timeout(Duration::from_hours(1), next.over(&Activity::new())).await.is_ok(), "it moves nothing, alone");
        let refused = places.of(peer(3), &log).unwrap();
        assert_eq!(refused.admit().await.err(), Some(UsedUp::Pool("connections")));
        timeout(2 * PROBE_TIME, refused.over(&idle)).await.unwrap();
    }

    /// A byte from time to time kept a connection for ever.
    #[tokio::test(start_paused = true)]
    async fn a_slow_connection_ends_only_while_places_are_short_and_the_peer_is_awaited() {
        let (places, log) = (Places::new(8, PATIENCE), HeadLog::default());
        let slow = places.of(peer(1), &log).unwrap();
        let lasts = async |activity: &Activity| timeout(Duration::from_mins(30), slow.over(activity)).await.is_err();
        assert!(lasts(&Activity::new()).await, "places are free");
        let others: Vec<_> = (2..8).map(|n| places.of(peer(n), &log).unwrap()).collect();
        assert!(!lasts(&Activity::new()).await);
        let busy = Activity::new();
        let at_work = busy.begin(true);
        assert!(lasts(&busy).await, "its request waits for us");
        drop((at_work, others));
    }
}
