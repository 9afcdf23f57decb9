//! Commands for the operator of a node. They are the same for a running node (over a socket in its data directory) and
//! a stopped one (on the data directory itself).
//!
//! A request is one JSON object on one line. A reply has one JSON object per line: the node's version, then each item
//! found, then the outcome. `cli` turns the items into text.

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

use crate::catalog::fact::Visibility;
use crate::oci::RepositoryName;

pub use absent::{Absent, count_absent};
pub use commands::run;
pub use reply::Item;
pub use status::{of_files, of_records};
pub use target::{InvalidTarget, Target};

/// Index entries read in one go.
const BATCH: usize = 256;

/// Version of requests and replies. A node and a command with different versions refuse each other.
pub const PROTOCOL: u32 = 1;

/// A command, as sent to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// [`PROTOCOL`] of the caller.
    pub version: u32,
    /// The command.
    pub command: Command,
}

/// What an operator can ask of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// Show the state of the node.
    Status,
    /// List repositories, or the content of one.
    Ls {
        /// The repository, or an image in it. Absent: all repositories.
        target: Option<Target>,
    },
    /// Remove a tag, a manifest, or all tags and manifests of a repository.
    Rm {
        /// The repository, tag or manifest.
        target: Target,
    },
    /// Set who may see a repository.
    Visibility {
        /// The repository.
        repository: RepositoryName,
        /// Who may see it from now on.
        visibility: Visibility,
    },
    /// Remove unreferenced content.
    Gc {
        /// Only report what would be removed.
        dry_run: bool,
    },
    /// Verify everything stored.
    Fsck {
        /// Quarantine damaged content, so that a push can bring it back.
        repair: bool,
    },
    /// Keep all files of content until the caller leaves.
    Hold,
}

/// A line of the reply. The last one is `done` or `failed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply {
    /// The first line: the node's version.
    Node {
        /// The node's [`PROTOCOL`].
        version: u32,
        /// The version of its program.
        program: String,
    },
    /// An item found or an action done.
    Item(Item),
    /// The command finished; `false` if faults remain.
    Done(bool),
    /// The command failed, with the reason.
    Failed(String),
}

impl Reply {
    fn node() -> Self {
        Reply::Node { version: PROTOCOL, program: env!("CARGO_PKG_VERSION").to_owned() }
    }
}

/// Replies that the caller has not read yet. A slow caller slows the command down.
const REPLIES: usize = 64;

/// The sending end of a command's items.
#[derive(Clone, Debug)]
pub struct Output(mpsc::Sender<Reply>);

impl Output {
    /// An output and its receiving end.
    pub fn new() -> (Self, mpsc::Receiver<Reply>) {
        let (sender, receiver) = mpsc::channel(REPLIES);
        (Output(sender), receiver)
    }

    /// Sends an item. If the caller has left, the command goes on without it.
    pub async fn item(&self, item: Item) {
        let _ = self.0.send(Reply::Item(item)).await;
    }

    /// Waits until the caller has left.
    async fn left(&self) {
        self.0.closed().await;
    }

    async fn end(&self, reply: Reply) {
        let _ = self.0.send(reply).await;
    }
}
