//! The answer of a gateway to every write.

/// A gateway was asked to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is a read-only gateway: it serves what a registry holds, and stores nothing")]
pub(crate) struct ReadOnly;
