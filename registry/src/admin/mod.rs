//! Commands for the operator of a node: the same whether it runs (over a socket in its data directory) or is stopped (on
//! the data directory itself).
//!
//! A request is one JSON object on one line. The reply is a JSON object a line: the node's version, then what was found,
//! item by item, then how it ended. Text for people is made of the items by `cli`.

mod absent;
pub mod client;
mod commands;
mod fsck;
mod hold;
mod image;
mod list;
mod remove;
pub mod reply;
pub mod server;
mod status;
mod target;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

pub use absent::{Absent, count_absent, forget_places};
pub use commands::run;
pub use reply::Item;
pub use status::of_stopped;
pub use target::{InvalidTarget, Target};

/// The version of requests and replies; a node and a command of different ones do not understand each other.
pub const PROTOCOL: u32 = 1;

/// What is asked for, by a command of this version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// [`PROTOCOL`] of the caller.
    pub version: u32,
    /// What.
    pub command: Command,
}

/// What may be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// How the node is.
    Status,
    /// Repositories, or what one of them has.
    Ls {
        /// Which one, or which image of it.
        target: Option<Target>,
    },
    /// Remove a tag, a manifest, or all tags and manifests of a repository.
    Rm {
        /// Which.
        target: Target,
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
    /// Keep all files of content until the caller leaves.
    Hold,
}

/// A line of the answer; the last one is `done` or `failed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply {
    /// The first line: the node's version.
    Node {
        /// Its [`PROTOCOL`].
        version: u32,
        /// Its program's version.
        program: String,
    },
    /// Something that was found or done.
    Item(Item),
    /// It is done; `false` if faults were found that stay.
    Done(bool),
    /// It could not be done.
    Failed(String),
}

impl Reply {
    fn node() -> Self {
        Reply::Node { version: PROTOCOL, program: env!("CARGO_PKG_VERSION").to_owned() }
    }
}

/// Lines that the other side has not read yet; a slow reader slows the command down.
const REPLIES: usize = 64;

/// Where a command's items go.
#[derive(Clone, Debug)]
pub struct Output(mpsc::Sender<Reply>);

impl Output {
    /// An output and its other end.
    pub fn new() -> (Self, mpsc::Receiver<Reply>) {
        let (sender, receiver) = mpsc::channel(REPLIES);
        (Output(sender), receiver)
    }

    /// Sends an item. A caller that has left misses it; the command goes on.
    pub async fn item(&self, item: Item) {
        let _ = self.0.send(Reply::Item(item)).await;
    }

    /// Waits until the reader has left.
    async fn left(&self) {
        self.0.closed().await;
    }

    async fn end(&self, reply: Reply) {
        let _ = self.0.send(reply).await;
    }
}
