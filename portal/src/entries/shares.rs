//! The shares of clients in the table of entries: one of them alone cannot fill it.
//!
//! Entries never expire, so a full table would stay full for everybody. While it is at most half full, anybody may add
//! as many as they like. Above that, one client may have added half of the limit, counted from the start of the
//! process.

use std::collections::HashMap;
use std::net::IpAddr;

/// Clients that are counted apart. Further ones count as one.
const CLIENTS: usize = 10_000;

/// The client that adds an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    /// The holder of this API key, by its place in the list.
    Key(usize),
    /// An IPv4 address, or an IPv6 /64.
    Network(IpAddr),
    /// Clients for which the table of shares has no room.
    Others,
}

/// The entries that each client has added.
#[derive(Debug, Default)]
pub(super) struct Shares(HashMap<Client, u64>);

impl Shares {
    /// Counts one more entry of a client; false if its share is used up. `count` entries of `limit` exist.
    pub(super) fn take(&mut self, client: &Client, count: u64, limit: u64) -> bool {
        let share = limit.div_ceil(2);
        let client = self.counted_as(client);
        let added = self.0.get(&client).copied().unwrap_or_default();
        if count >= share && added >= share {
            return false;
        }
        self.0.insert(client, added + 1);
        true
    }

    /// Counts one less, because it could not be stored.
    pub(super) fn give_back(&mut self, client: &Client) {
        let client = self.counted_as(client);
        if let Some(added) = self.0.get_mut(&client) {
            *added = added.saturating_sub(1);
        }
    }

    fn counted_as(&self, client: &Client) -> Client {
        let has_room = self.0.len() < CLIENTS || self.0.contains_key(client);
        if has_room { client.clone() } else { Client::Others }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(n: u32) -> Client {
        Client::Network(IpAddr::from(n.to_be_bytes()))
    }

    #[test]
    fn one_client_has_half_and_the_others_have_the_rest() {
        let (mut shares, limit) = (Shares::default(), 10);
        let mut count = 0;
        while shares.take(&network(1), count, limit) {
            count += 1;
        }
        assert_eq!(count, 5);
        assert!(shares.take(&network(2), count, limit) && shares.take(&Client::Key(0), count, limit));
        shares.give_back(&network(1));
        assert!(shares.take(&network(1), count, limit));
        assert!(shares.take(&network(1), 4, limit), "while less than half is used, anybody may");
    }

    #[test]
    fn the_table_of_clients_is_bounded() {
        let mut shares = Shares::default();
        for n in 0..2 * CLIENTS as u32 {
            assert!(shares.take(&network(n), 0, 100));
        }
        assert_eq!(shares.0.len(), CLIENTS + 1);
        assert_eq!(shares.0[&Client::Others], CLIENTS as u64);
    }
}
