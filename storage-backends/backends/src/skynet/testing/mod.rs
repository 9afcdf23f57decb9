//! For tests: a small but honest portal in this process, which does wrong when it is told to.

mod portal;
mod store;
mod trouble;

pub use portal::TestPortal;
pub use trouble::{Route, Trouble};
