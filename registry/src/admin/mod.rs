//! Commands for the operator of a node: the same whether it runs (over a socket in its data directory) or is stopped (on
//! the data directory itself).

mod absent;
pub mod client;
mod commands;
mod fsck;
mod places;
pub mod server;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

pub use absent::{Absent, count_absent, forget_places};
pub use commands::run;

/// What may be asked. One JSON object on one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase", deny_unknown_fields)]
pub enum Command {
    /// How the node is.
    Status,
    /// Repositories, or the tags of one.
    Ls {
        /// Which one.
        name: Option<String>,
    },
    /// Collect what nobody needs.
    Gc {
        /// Only say what would go.
        dry_run: bool,
    },
    /// Check everything stored.
    Fsck {
        /// Put damaged content aside, so that a push brings it back.
        repair: bool,
    },
}

/// What comes back, a JSON object a line; the last one is `done` or `failed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply {
    /// A line for the person.
    Line(String),
    /// It is done; `false` if faults were found that stay.
    Done(bool),
    /// It could not be done.
    Failed(String),
}

/// Lines that the other side has not read yet; a slow reader slows the command down.
const REPLIES: usize = 64;

/// Where a command's lines go.
#[derive(Clone, Debug)]
pub struct Output(mpsc::Sender<Reply>);

impl Output {
    /// An output and its other end.
    pub fn new() -> (Self, mpsc::Receiver<Reply>) {
        let (sender, receiver) = mpsc::channel(REPLIES);
        (Output(sender), receiver)
    }

    /// A line for the person. One who has left misses it; the command goes on.
    pub async fn line(&self, text: impl Into<String>) {
        let _ = self.0.send(Reply::Line(text.into())).await;
    }

    async fn end(&self, reply: Reply) {
        let _ = self.0.send(reply).await;
    }
}
