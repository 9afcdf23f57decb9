//! The formats of Skynet.

pub mod datakey;
pub mod entry;
pub mod proof;
pub mod public_key;
pub mod resolver;
mod seam;
