//! Signed registry entries, stored durably: one current entry for each id.
//!
//! ```text
//! <root>/
//!   <first 2 hex of the id>/<id, 64 hex>    the entry that stands: one record
//!   tmp/<id>                                a record on its way there; swept when the store is opened
//!   damaged/<id>-<unix time>                a record that was found damaged; never read again
//! ```

mod damaged;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod record;
mod shares;
mod store;
#[cfg(test)]
pub(crate) mod tests;

pub use error::EntryStoreError;
pub(crate) use shares::Client;
pub use store::{EntryStore, Put};
