//! What an operator does on a node, running, stopped, killed or copied, each command a process of its own.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod backup;
mod copies;
mod images;
mod node;
mod states;
