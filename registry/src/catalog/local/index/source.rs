//! What a table can be read from: the index, or a view of it with changes on top.

use std::ops::ControlFlow;

use super::value::Payload;

/// The index cannot be believed any more: it must be built anew.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// A value is not what was written under its key.
    #[error("a checksum does not match")]
    Checksum,
    /// A key or payload does not have the form that its table has.
    #[error("an entry has no known form")]
    Form,
    /// Number or sum of the entries differ from what the index says of itself.
    #[error("entries are missing, too many or old")]
    Sum,
    /// The engine failed.
    #[error("sled failed")]
    Engine(#[from] sled::Error),
    /// The engine panicked.
    #[error("sled panicked")]
    Panicked,
}

/// What a scan calls with each key and payload.
pub(crate) type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, Fault> + 'a;

/// Point reads and ordered scans.
pub(crate) trait Source {
    /// The payload under a key.
    fn get(&self, key: &[u8]) -> Result<Option<Payload>, Fault>;

    /// Visits the keys that start with `prefix` in byte order, those after `after` only, until told to stop.
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), Fault>;
}
