//! Sends a command to the node that runs on a data directory.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::server::short;
use super::{Command, Reply};

/// True if a node answers there.
pub fn is_running(socket: &Path) -> bool {
    connect(socket).is_ok()
}

fn connect(socket: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(short(socket)?.as_path())
}

/// Prints the command's lines; true if it found nothing wrong.
pub fn send(socket: &Path, command: &Command, print: &mut dyn FnMut(&str)) -> anyhow::Result<bool> {
    let mut stream = connect(socket)?;
    let mut line = serde_json::to_vec(command)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    for line in BufReader::new(stream).lines() {
        match serde_json::from_str(&line?)? {
            Reply::Line(text) => print(&text),
            Reply::Done(sound) => return Ok(sound),
            Reply::Failed(why) => anyhow::bail!(why),
        }
    }
    anyhow::bail!("the node stopped before the command was done")
}
