//! Placement: what the node holds gets to a backend, is read back, and is removed there when nobody holds it any more.
//!
//! Nothing of what is to be done is stored: the catalog tells what lacks a place, at the start by a scan and then by news.
//! Durable steps of one piece of content, and what a crash after each leaves behind:
//!
//! 1. its list of unit roots is a content file, synced: a file that nobody holds, which a sweep takes;
//! 2. `unit-roots` is committed: the list, held as long as its content is;
//! 3. a note of the place, and a resume token while the backend takes bytes: the next attempt goes on where it was
//!    acknowledged, or, if nobody holds the content any more, what the backend may have is removed there;
//! 4. the backend acknowledged: the next attempt finds it by its address, which costs one question;
//! 5. `placed` is committed: it is read back after the next start;
//! 6. it was read back whole and `placed` with `read_back` is committed: from here on the local file may go.
//!
//! Where addresses do not commit to unit roots, their list goes through 3 to 6 as well, as content of its own. From 2 on
//! it is referenced. After any crash it stays queued until placed.

mod attempts;
mod eviction;
mod flush;
mod queue;
mod remote;
mod removals;
mod resume;
mod run;
mod trouble;
mod unpin;
mod worker;

#[cfg(test)]
pub(crate) mod tests;

pub use flush::flush;
pub use remote::{Acknowledgement, Durability, Remote, Settings};
pub use run::run;
