//! The limit of files and sockets that this process may have open.

use std::io;

/// Raises the soft limit to the hard one and returns it. The usual soft limit of 1024 is for programs that use
/// `select`, which fails above it. Each connection here may need two descriptors.
pub(super) fn raise_limit() -> io::Result<u64> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_reaches_the_hard_one() {
        let raised = raise_limit().unwrap();
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        let columns: Vec<&str> = line["Max open files".len()..].split_whitespace().collect();
        assert_eq!(columns[..2], [raised.to_string(), raised.to_string()]);
    }
}
