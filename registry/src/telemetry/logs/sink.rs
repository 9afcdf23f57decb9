//! Standard error as the log's sink, which never blocks a request.
//!
//! A reader of standard error can stop reading, for example a full disk behind it or a terminal on hold. Every thread
//! that logs would wait for it, and so the whole node. So a line is written only while standard error takes it. A short
//! wait is allowed now and then, for a reader that lags behind. Lines beyond that are dropped, and a later line says
//! how many.

use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use tracing_subscriber::fmt::MakeWriter;

use super::own_line;

/// Most bytes written at once. If a pipe or socket is ready, it takes at least as many without blocking.
const PART: usize = 4096;

/// Longest wait for the reader, and the least time between two waits.
const WAIT: Duration = Duration::from_millis(50);
const WAIT_EVERY: Duration = Duration::from_secs(1);

/// Lines dropped by all sinks of this process.
pub(in crate::telemetry) static DROPPED: LazyLock<Counter> = LazyLock::new(Counter::default);

/// A sink that drops lines instead of blocking. Clones share it.
#[derive(Debug)]
pub(super) struct Sink<F = io::Stderr> {
    file: Arc<F>,
    state: Arc<Mutex<State>>,
    json: bool,
}

#[derive(Debug, Default)]
struct State {
    dropped: u64,
    /// True after a line whose end was dropped.
    torn: bool,
    waited: Option<Instant>,
}

impl<F> Clone for Sink<F> {
    fn clone(&self) -> Self {
        Sink { file: Arc::clone(&self.file), state: Arc::clone(&self.state), json: self.json }
    }
}

impl Sink {
    /// A sink for standard error. With `json`, the line about dropped ones is JSON.
    pub(super) fn stderr(json: bool) -> Self {
        Sink::new(io::stderr(), json)
    }
}

impl<F: AsFd> Sink<F> {
    fn new(file: F, json: bool) -> Self {
        Sink { file: Arc::new(file), state: Arc::default(), json }
    }

    /// Writes whole lines, or drops them.
    fn put(&self, lines: &[u8]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.dropped > 0 {
            let message = "log lines were dropped, since standard error was not read";
            let notice = own_line(self.json, message, ("dropped", state.dropped));
            if notice.is_ok_and(|notice| self.write(&mut state, notice.as_bytes())) {
                state.dropped = 0;
            }
        }
        if state.dropped > 0 || !self.write(&mut state, lines) {
            state.dropped += 1;
            DROPPED.inc();
        }
    }

    /// False if the sink did not take all of it.
    fn write(&self, state: &mut State, bytes: &[u8]) -> bool {
        if state.torn {
            if !self.is_ready(state) {
                return false;
            }
            state.torn = self.write_part(b"\n") == 0;
        }
        for (number, part) in bytes.chunks(PART).enumerate() {
            let written = if self.is_ready(state) { self.write_part(part) } else { 0 };
            if written < part.len() {
                state.torn |= number > 0 || written > 0;
                return false;
            }
        }
        true
    }

    /// Number of bytes written. A failure to log cannot be logged.
    fn write_part(&self, part: &[u8]) -> usize {
        let fd = self.file.as_fd().as_raw_fd();
        // SAFETY: the descriptor is open as long as `self.file` is borrowed, and the buffer is valid for its length.
        #[expect(unsafe_code, reason = "std writes to standard error only under a lock that another writer may hold")]
        let written = unsafe { libc::write(fd, part.as_ptr().cast(), part.len()) };
        usize::try_from(written).unwrap_or(0)
    }

    /// True if a part can be written without blocking. Waits for a short while if the last wait is long ago.
    fn is_ready(&self, state: &mut State) -> bool {
        if is_writable(self.file.as_fd(), Duration::ZERO) {
            return true;
        }
        if state.waited.is_some_and(|at| at.elapsed() < WAIT_EVERY) {
            return false;
        }
        let ready = is_writable(self.file.as_fd(), WAIT);
        state.waited = Some(Instant::now());
        ready
    }
}

/// True if a write of [`PART`] bytes would not block within this time. Files are always ready.
fn is_writable(file: BorrowedFd<'_>, within: Duration) -> bool {
    let mut poll = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: one valid structure is passed, and its descriptor is open as long as `file` is borrowed.
    #[expect(unsafe_code, reason = "poll has no safe wrapper in std")]
    let ready = unsafe { libc::poll(&raw mut poll, 1, within.as_millis() as libc::c_int) };
    ready > 0
}

impl<F: AsFd> Write for Sink<F> {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.put(lines);
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a, F: AsFd + 'a> MakeWriter<'a> for Sink<F> {
    type Writer = SinkWriter<'a, F>;

    fn make_writer(&'a self) -> Self::Writer {
        SinkWriter(self)
    }
}

/// Writes one line to a sink.
#[derive(Debug)]
pub(super) struct SinkWriter<'a, F>(&'a Sink<F>);

impl<F: AsFd> Write for SinkWriter<'_, F> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, pipe};
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    /// A reader of standard error that stopped reading stopped the node.
    #[test]
    fn a_reader_that_stops_costs_lines_and_no_time() {
        let (reader, writer) = pipe().unwrap();
        let mut sink = Sink::new(writer, false);
        let (done, finished) = mpsc::channel();
        let writing = thread::spawn(move || {
            // More than a pipe holds.
            for number in 0..20_000 {
                writeln!(sink, "line {number} {}", "x".repeat(100)).unwrap();
            }
            done.send(()).unwrap();
            sink
        });
        finished.recv_timeout(Duration::from_secs(30)).expect("a line blocked");
        let mut sink = writing.join().unwrap();

        let (sender, lines) = mpsc::channel();
        thread::spawn(move || BufReader::new(reader).lines().for_each(|line| drop(sender.send(line.unwrap()))));
        let first = lines.recv_timeout(Duration::from_secs(30)).unwrap();
        assert!(first.starts_with("line 0 "), "{first}");
        // The reader goes on, and so does the log.
        let mut seen = 1;
        let dropped = loop {
            writeln!(sink, "later").unwrap();
            match lines.recv_timeout(Duration::from_millis(100)) {
                Ok(line) if line.contains(" dropped=") => break line,
                Ok(line) if line.starts_with("line ") => seen += 1,
                Ok(line) => panic!("{line}"),
                Err(_) => {}
            }
        };
        let count: u64 = dropped.rsplit('=').next().unwrap().parse().unwrap();
        assert!(count >= 20_000 - seen, "{count} dropped, {seen} written");
        drop(sink);
        assert_eq!(lines.iter().next().as_deref(), Some("later"));
    }

    #[test]
    fn a_line_that_was_cut_is_ended_before_the_next() {
        let (reader, writer) = pipe().unwrap();
        let mut sink = Sink::new(writer, false);
        // A pipe holds 64 KiB unless the system says otherwise.
        writeln!(sink, "{}", "x".repeat(1 << 20)).unwrap();
        let mut lines = BufReader::new(reader).lines();
        let reading = thread::spawn(move || {
            let cut = lines.next().unwrap().unwrap();
            (cut, lines)
        });
        while !reading.is_finished() {
            writeln!(sink, "next").unwrap();
            thread::sleep(Duration::from_millis(1));
        }
        let (cut, mut lines) = reading.join().unwrap();
        assert!(cut.chars().all(|c| c == 'x') && cut.len() < 1 << 20);
        drop(sink);
        assert!(lines.next().unwrap().unwrap().contains(" dropped="));
        assert_eq!(lines.next().unwrap().unwrap(), "next");
    }
}
