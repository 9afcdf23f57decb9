//! `/skynet/registry`, `/skynet/registrymulti`, `/skynet/health/entry`: signed entries.

mod parse;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub(super) use read::{get, health};
pub(super) use write::{post, post_multi};
