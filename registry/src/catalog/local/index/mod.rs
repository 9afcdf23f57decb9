//! The index: a view of the journal in sled. It answers reads, and may be lost at any time.

pub(crate) mod ballast;
pub(crate) mod directory;
pub(crate) mod places;
pub(crate) mod project;
pub(crate) mod queries;
pub(crate) mod schema;
pub(crate) mod source;
pub(crate) mod store;
pub(crate) mod value;
pub(crate) mod view;

#[cfg(test)]
mod tests;

pub(crate) use project::{Stamp, project};
pub(crate) use source::Fault;
pub(crate) use store::Index;
pub(crate) use view::View;
