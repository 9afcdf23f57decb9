//! Measures how many written bytes a peer has not acknowledged.

use std::os::fd::AsRawFd;

use tokio::net::TcpStream;

/// A stream that can measure its send queue.
pub(super) trait SendQueue {
    /// Bytes given to the kernel that the peer has not acknowledged; `None` if unknown.
    fn bytes_queued(&self) -> Option<usize>;
}

impl SendQueue for TcpStream {
    /// `SIOCOUTQ` of tcp(7), of the same value as `TIOCOUTQ`.
    fn bytes_queued(&self) -> Option<usize> {
        let mut queued: libc::c_int = 0;
        #[expect(unsafe_code, reason = "no safe wrapper has this ioctl")]
        // SAFETY: the descriptor is open for as long as `self` is borrowed, and this request writes one int.
        let result = unsafe { libc::ioctl(self.as_raw_fd(), libc::TIOCOUTQ, &raw mut queued) };
        if result == 0 { usize::try_from(queued).ok() } else { None }
    }
}
