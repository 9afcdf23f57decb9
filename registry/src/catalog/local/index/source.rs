//! The interface for reading tables, from the index or from a view with changes on top.

use std::ops::ControlFlow;

use super::value::Payload;

/// Why the index cannot be trusted any more. It must be rebuilt.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// A stored value does not match its checksum.
    #[error("a checksum does not match")]
    Checksum,
    /// A key or payload does not have its table's form.
    #[error("an entry has an unknown form")]
    Form,
    /// The number or the sum of the entries differs from the meta record.
    #[error("entries are missing, extra or stale")]
    Sum,
    /// The engine failed.
    #[error("sled failed: {0}")]
    Engine(#[from] sled::Error),
    /// The engine panicked.
    #[error("sled panicked")]
    Panicked,
}

impl Fault {
    /// True if the entries are wrong. Otherwise the engine or its disk failed.
    pub(crate) fn is_damage(&self) -> bool {
        !matches!(self, Fault::Engine(sled::Error::Io(_)) | Fault::Panicked)
    }
}

/// Called by a scan with each key and payload.
pub(crate) type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, Fault> + 'a;

/// Point reads and ordered scans.
pub(crate) trait Source {
    /// The payload under a key.
    fn get(&self, key: &[u8]) -> Result<Option<Payload>, Fault>;

    /// Calls `visit` with the keys that start with `prefix`, after `after`, in byte order, until it breaks.
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), Fault>;
}
