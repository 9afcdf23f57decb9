//! Commands of an operator on a running, stopped, killed or copied node. Each command is a process of its own.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod backup;
mod copies;
mod images;
mod node;
mod permissions;
mod states;
