//! The catalog of a single node: a journal, which is the truth, and views of it.

pub mod journal;
