//! The formats of Skynet.

pub mod datakey;
pub mod entry;
pub mod public_key;
