//! For tests, of this crate and of others: content, sources that misbehave, and the contract as a test suite.

pub mod contract;
mod fixture;
mod watched;

pub use fixture::{Expected, Fixture, Instance, read, sample};
pub use watched::Watched;
