//! Standard output for a backup. It fails if the reader hangs, since the node collects and evicts nothing during a
//! backup.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

/// Longest pause of a reader. A network or disk behind it recovers sooner.
const PATIENCE: Duration = Duration::from_mins(10);

/// Bytes written at once. A writable pipe accepts this many without blocking (`PIPE_BUF`).
const STEP: usize = 4096;

/// An output that fails if it cannot be written for too long.
#[derive(Debug)]
pub(super) struct Patient {
    output: File,
    patience: Duration,
}

impl Patient {
    /// Standard output, without this process's buffer.
    pub(super) fn stdout() -> io::Result<Self> {
        Ok(Patient::new(io::stdout().as_fd().try_clone_to_owned()?, PATIENCE))
    }

    fn new(output: OwnedFd, patience: Duration) -> Self {
        Patient { output: output.into(), patience }
    }

    /// Waits until the output is writable or has failed.
    fn wait(&self) -> io::Result<()> {
        let deadline = Instant::now() + self.patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut polled = libc::pollfd { fd: self.output.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
            let milliseconds = left.as_millis().try_into().unwrap_or(i32::MAX);
            #[expect(unsafe_code, reason = "std does not wait for a pipe")]
            // SAFETY: the pointer is to one valid entry, and its descriptor is open.
            let ready = unsafe { libc::poll(&raw mut polled, 1, milliseconds) };
            match ready {
                1 => return Ok(()),
                0 => {
                    let why = format!("nothing of the backup was read for {} s", self.patience.as_secs());
                    return Err(io::Error::new(ErrorKind::TimedOut, why));
                }
                _ => match io::Error::last_os_error() {
                    error if error.kind() == ErrorKind::Interrupted => {}
                    error => return Err(error),
                },
            }
        }
    }
}

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wait()?;
        self.output.write(&bytes[..bytes.len().min(STEP)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::thread;

    use super::*;

    /// The backup waited for ever, and its node collected and evicted nothing meanwhile.
    #[test]
    fn a_reader_that_hangs_ends_the_backup() {
        let (_reader, writer) = io::pipe().unwrap();
        let mut output = Patient::new(writer.into(), Duration::from_millis(100));
        let error = output.write_all(&vec![7; 4 << 20]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    }

    #[test]
    fn a_reader_that_is_slow_gets_every_byte() {
        let (mut reader, writer) = io::pipe().unwrap();
        let bytes: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
        let sent = bytes.clone();
        let writing = thread::spawn(move || Patient::new(writer.into(), PATIENCE).write_all(&sent));
        let mut got = Vec::new();
        while reader.by_ref().take(50_000).read_to_end(&mut got).unwrap() > 0 {
            thread::yield_now();
        }
        writing.join().unwrap().unwrap();
        assert!(got == bytes);
    }

    #[test]
    fn a_reader_that_has_left_is_no_hung_one() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let error = Patient::new(writer.into(), PATIENCE).write_all(b"x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
}
