//! Placement: uploads referenced content to a backend, reads it back, and removes copies of unreferenced content.
//!
//! No queue is stored. The catalog tells which content lacks copies: by a scan at the start, then by news. The durable
//! steps of one piece of content, and what a crash after each leaves behind:
//!
//! 1. its list of unit roots is a content file, synced: an unreferenced file, which a sweep removes;
//! 2. `unit-roots` is committed: the list, referenced as long as its content is;
//! 3. a record of the upload, and a resume token while the backend receives bytes: the next attempt continues after the
//!    acknowledged bytes. If the content is unreferenced by then, what the backend may have is removed there;
//! 4. the backend acknowledged: the next attempt finds the copy by its address, which costs one call;
//! 5. `placed` is committed: it is read back after the next start;
//! 6. it was read back whole and `placed` with `read_back` is committed: from here on the local file may be evicted.
//!
//! If addresses do not commit to unit roots, their list goes through steps 3 to 6 as well, as content of its own. From
//! step 2 on it is referenced. After any crash it stays queued until placed.

mod attempts;
mod audit;
mod domain;
mod eviction;
mod flush;
mod identities;
mod names;
mod queue;
mod remote;
mod removals;
mod resume;
mod run;
mod sound;
mod trouble;
mod unpin;
mod worker;

#[cfg(test)]
pub(crate) mod tests;

pub use domain::{Domain, HERE};
pub use flush::flush;
pub(crate) use identities::ask_all;
pub use names::{ATTACHED, Names, names_in};
pub use remote::{Acknowledgement, Durability, Remote, Settings};
pub use run::run;
