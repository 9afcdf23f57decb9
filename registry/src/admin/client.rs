//! Sends a command to the node that runs on a data directory.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::server::{ShortPath, short};
use super::{Command, Item, PROTOCOL, Reply, Request};

/// Longest line of a reply. The longest items describe one manifest or one status.
const MAX_REPLY: u64 = 4 << 20;

/// Longest time that a node may take for the first line of its reply.
pub const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// The node did not answer within [`ANSWERS_WITHIN`].
#[derive(Debug, thiserror::Error)]
#[error("the node does not answer: it accepted the command and sent nothing for {} s", ANSWERS_WITHIN.as_secs())]
pub struct NotAnswering;

/// A connection to a running node.
#[derive(Debug)]
pub struct Connection(BufReader<UnixStream>);

impl Connection {
    /// Connects to the node; `None` if none accepts commands on this socket.
    ///
    /// Errors: `TimedOut` if the node does not accept the connection within [`ANSWERS_WITHIN`]; else the system's
    /// error, for example if the node belongs to another user.
    pub fn open(socket: &Path) -> io::Result<Option<Self>> {
        match connect(short(socket)?, ANSWERS_WITHIN) {
            Ok(stream) => Ok(Some(Connection(BufReader::new(stream)))),
            // No node was ever there, or its process has ended.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends the command and waits for the first line of the reply, which states the node's version.
    ///
    /// Errors: [`NotAnswering`]; the node has another version, or refuses the command.
    pub fn ask(&mut self, command: Command) -> anyhow::Result<()> {
        let deadline = Instant::now() + ANSWERS_WITHIN;
        let mut line = serde_json::to_vec(&Request { version: PROTOCOL, command })?;
        line.push(b'\n');
        self.0.get_ref().set_write_timeout(Some(ANSWERS_WITHIN))?;
        self.0.get_mut().write_all(&line)?;
        match self.reply_before(Some(deadline))? {
            Reply::Node { version: PROTOCOL, .. } => Ok(()),
            Reply::Node { version, program } => {
                bail!("the node is Skyberth {program}, with commands of version {version}: use that program")
            }
            Reply::Failed(why) => bail!("{why} (the node did not send its version, and may run another one)"),
            _ => bail!("the node did not send its version: it runs another version of this program"),
        }
    }

    /// Gives all items to `take`; returns true if the command found no fault. After `deadline`, the error is
    /// [`NotAnswering`].
    pub fn items(&mut self, deadline: Option<Instant>, take: &mut dyn FnMut(Item)) -> anyhow::Result<bool> {
        loop {
            match self.reply_before(deadline)? {
                Reply::Item(item) => take(item),
                Reply::Done(sound) => return Ok(sound),
                Reply::Failed(why) => bail!(why),
                Reply::Node { .. } => bail!("the node sent its version twice"),
            }
        }
    }

    /// Waits until the node keeps all files of content. It keeps them until this connection ends.
    pub fn wait_until_held(&mut self) -> anyhow::Result<()> {
        match self.reply_before(None)? {
            Reply::Item(Item::Held) => Ok(()),
            Reply::Failed(why) => bail!(why),
            _ => bail!("the node did not confirm that it keeps its files"),
        }
    }

    /// True if the node has not ended the connection.
    pub fn is_open(&mut self) -> bool {
        let stream = self.0.get_ref();
        let waits = |result: io::Result<usize>| result.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        stream.set_nonblocking(true).is_ok() && waits(self.0.get_mut().read(&mut [0]))
    }

    fn reply_before(&mut self, deadline: Option<Instant>) -> anyhow::Result<Reply> {
        let mut line = Vec::new();
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                bail!(NotAnswering);
            }
            self.0.get_ref().set_read_timeout(left)?;
            let limit = MAX_REPLY - line.len() as u64;
            match (&mut self.0).take(limit).read_until(b'\n', &mut line) {
                Ok(0) if line.len() as u64 == MAX_REPLY => bail!("the node sent a line longer than any reply"),
                Ok(0) => bail!("the node stopped before the command finished"),
                Ok(_) if line.ends_with(b"\n") => break,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    bail!(NotAnswering)
                }
                Err(error) => return Err(error.into()),
            }
        }
        serde_json::from_slice(&line).context("the node's reply is invalid")
    }
}

/// Connects within a time limit. Once a process that accepts nothing has enough connections waiting, `connect` blocks
/// forever. So it runs in a thread, which ends with this process.
fn connect(socket: ShortPath, within: Duration) -> io::Result<UnixStream> {
    let (done, connected) = mpsc::channel();
    thread::spawn(move || done.send(UnixStream::connect(socket.as_path())));
    connected.recv_timeout(within).unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_node_that_takes_no_connection_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        #[expect(unsafe_code, reason = "std does not say how many may wait")]
        // SAFETY: numbers only.
        let shortened = unsafe { libc::listen(listener.as_raw_fd(), 0) };
        assert_eq!(shortened, 0);
        let limit = Duration::from_millis(200);
        let attempt = || connect(short(&socket).unwrap(), limit);
        let results: Vec<_> = (0..3).map(|_| attempt()).collect();
        let waited = results.iter().filter(|result| result.as_ref().is_err_and(|e| e.kind() == ErrorKind::TimedOut));
        assert!(waited.count() >= 1, "{results:?}");
    }

    #[test]
    fn a_refusal_before_the_version_is_told_with_its_likely_reason() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"{\"failed\":\"invalid command\"}\n").unwrap();
        let error = Connection(BufReader::new(ours)).ask(Command::Status).unwrap_err().to_string();
        assert!(error.contains("invalid command") && error.contains("may run another"), "{error}");
    }
}
