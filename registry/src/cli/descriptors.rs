//! The limit of files and sockets that this process may have open.

use std::io;

use crate::config::Server;

/// Raises the soft limit to the hard one and returns it. The usual soft limit of 1024 is for programs that use
/// `select`, which fails above it. Each connection here may need two descriptors.
fn raise_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    #[expect(unsafe_code, reason = "std has no resource limits")]
    // SAFETY: the pointer is to a live local of the type that the call writes.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        #[expect(unsafe_code, reason = "std has no resource limits")]
        // SAFETY: the pointer is to a live local, which the call only reads.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(limit.rlim_cur)
}

/// Descriptors of one server besides its connections: files of transfers, journal, index, backend.
const BESIDE: u64 = 256;

/// Descriptors of a connection: its socket, and the file that it sends or receives.
const PER_CONNECTION: u64 = 2;

/// Fewer connections are useless.
const LEAST_CONNECTIONS: usize = 16;

/// The number of connections for each of `listeners` within this limit of descriptors.
fn connections_within(limit: u64, listeners: u64) -> usize {
    let each = limit.saturating_sub(BESIDE) / (PER_CONNECTION * listeners.max(1));
    usize::try_from(each).unwrap_or(usize::MAX).max(LEAST_CONNECTIONS)
}

/// Lowers `server.max_connections` to fit the limit of descriptors, and logs that.
pub(super) fn fit(server: &mut Server, listeners: u64) -> io::Result<()> {
    let limit = raise_limit()?;
    let most = connections_within(limit, listeners);
    tracing::debug!(limit, "raised the limit of descriptors");
    if server.max_connections > most {
        let needed = BESIDE + PER_CONNECTION * listeners * server.max_connections as u64;
        tracing::warn!(
            limit,
            needed,
            max_connections = most,
            "the limit of descriptors is below what the settings need, so fewer connections are accepted"
        );
        server.max_connections = most;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_follow_the_limit_of_descriptors() {
        assert_eq!(connections_within(4096, 1), 1920);
        assert_eq!(connections_within(1024, 1), 384);
        assert_eq!(connections_within(1024, 3), 128);
        assert_eq!(connections_within(64, 1), LEAST_CONNECTIONS);
    }

    #[test]
    fn the_soft_limit_reaches_the_hard_one() {
        let raised = raise_limit().unwrap();
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        let columns: Vec<&str> = line["Max open files".len()..].split_whitespace().collect();
        assert_eq!(columns[..2], [raised.to_string(), raised.to_string()]);
    }
}
