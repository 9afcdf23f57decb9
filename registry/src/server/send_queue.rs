//! The kernel's queue of written bytes: how many a peer has not acknowledged, and how many wait to be sent.

use std::os::fd::AsRawFd;

use tokio::net::TcpStream;

/// Bytes that wait in the kernel until the peer's window allows to send them. Bytes on their way are not limited, so a
/// long way stays fast, but a peer that reads nothing holds no more than this.
const UNSENT: libc::c_int = 64 << 10;

/// Limits the bytes that wait in the kernel.
pub(super) fn limit_unsent(stream: &TcpStream) {
    let (value, length) = (UNSENT, size_of::<libc::c_int>() as libc::socklen_t);
    #[expect(unsafe_code, reason = "no safe wrapper has this option")]
    // SAFETY: the descriptor is open for as long as `stream` is borrowed, and the option's value is one int.
    let result = unsafe {
        let value = (&raw const value).cast();
        libc::setsockopt(stream.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, value, length)
    };
    if result != 0 {
        // The connection works without it. Only its queue may grow larger.
        tracing::debug!(error = %std::io::Error::last_os_error(), "the queue of a connection is not limited");
    }
}

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
