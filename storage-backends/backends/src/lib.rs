//! Backends: places elsewhere that hold copies of content, and what every one of them promises.
//!
//! A backend knows content by digest, and nothing of repositories. It is few primitives. A power that only some have is
//! a trait of its own: [`UnitProofs`], [`Listing`]. Whatever several backends need (checking, retrying, limits,
//! counting) is a [layer](wrap::Layer) around another backend.
//!
//! Usually a backend is one *endpoint*: one store, with an identity of its own. [`Replicas`] combines several.
//!
//! # The contract
//!
//! Each clause has a test of its name in `testing::contract`, stamped for each backend and each wrapper.
//!
//! 1. **Bytes.** What was put comes back bit for bit, whatever its length from 0 on.
//! 2. **Ranges.** A get gives exactly the bytes of its range, or its stream ends with an error; never fewer bytes and a
//!    clean end. An empty range gives nothing. A range beyond the content is `OutOfRange`.
//! 3. **Pieces.** No item of a stream is empty or longer than [`UNIT`].
//! 4. **Absence.** Getting and asking for what is not there is `NotFound`.
//! 5. **Presence.** After a put, stat answers the length of the content.
//! 6. **Address.** If locate names a place, put returns that place, before and after it. Locate stores nothing.
//! 7. **Repetition.** A put of what is already there succeeds at the same place and takes no bytes from the source
//!    beyond what telling the address takes, for each copy.
//! 8. **Concurrency.** Puts of the same content at the same time all succeed, and reads meanwhile see all of it or
//!    nothing.
//! 9. **Honest sources only.** A source whose bytes are not the content's, or that fails, makes the put fail with
//!    `Source`, and the content is not there afterwards.
//! 10. **Breaking off.** Dropping the future of a put at any moment leaves nothing that can be read, and a later put
//!     succeeds.
//! 11. **Resuming.** A put that was broken off goes on, at another instance too: of what it had taken from the source
//!     for a copy, it takes no more again than its step, beyond what telling the address takes. If it needs a token for
//!     that, it kept it before the first byte of a copy. A backend that cannot resume takes everything again.
//! 12. **Hostile tokens.** A token of another content, another backend or no backend at all costs a repetition at most.
//! 13. **Small reads.** A put asks the source for [`MAX_READ`] bytes at once at most, within the content.
//! 14. **Size.** Content above the backend's limit is `TooLarge` before any byte is taken.
//! 15. **Deletion.** After a delete that is `Done`, or some time after one that is `Accepted`, the content is not
//!     there. Deleting what is not there succeeds.
//! 16. **After deletion** a put makes the content be there again.
//! 17. **Health.** After a successful check, health has at least one endpoint, and one of them is available.
//! 18. **Renewal.** After a put with [`Put::Renew`], the content stays, also if a delete of it was accepted before.
//! 19. **Independence.** Neither a stream nor a future that nobody polls keeps others from being served.
//! 20. **Identity.** An endpoint that can be used says who it is, within seconds. Two instances of one storage say the
//!     same.
//! 21. **Proofs.** A proof of units that a backend gives accepts the units of the content, and no others.
//! 22. **Reports.** A backend of several reports each copy to the progress as soon as it is made.
//! 23. **Listing.** A backend that lists its content lists what was put, each piece once, until it is deleted.
//!
//! Bytes that come out are those that the backend claims. Through [`wrap::Verify`] they are those of the content.

mod content;
mod error;
#[cfg(any(test, feature = "testing"))]
mod fs;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod health;
mod identity;
mod locator;
#[cfg(any(test, feature = "testing"))]
mod memory;
mod powers;
mod progress;
mod replicas;
pub mod skynet;
mod source;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
pub mod wrap;

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

pub use content::{Content, ContentError, UNIT, UnitCheck, UnitHash, UnitHashes, UnitProof};
pub use error::{BackendError, Cause, SourceError};
#[cfg(any(test, feature = "testing"))]
pub use fs::{FsBackend, FsBackendConfig};
pub use health::{EndpointHealth, EndpointState, Health};
pub use identity::{EndpointId, Identity, InvalidEndpointId};
pub use locator::{Locator, PLAIN};
#[cfg(any(test, feature = "testing"))]
pub use memory::MemoryBackend;
pub use powers::{Listed, Listing, ListingPage, UnitProofs};
pub use progress::{MAX_TOKEN, Progress, ProgressInMemory, ResumeToken, TokenTooLong};
pub use replicas::Replicas;
pub(crate) use source::read_piece;
pub use source::{BytesSource, FileSource, MAX_READ, Source};

/// Bytes of content as they come. Dropping it breaks off.
pub type ByteStream = BoxStream<'static, Result<Bytes, BackendError>>;

/// A backend's answer to come. Dropping it breaks off.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, BackendError>>;

/// A place that holds copies of content. See the module for what each method promises.
pub trait Backend: Debug + Send + Sync {
    /// The `kind` of its locators.
    fn kind(&self) -> &str;

    /// The `profile` of its locators.
    fn profile(&self) -> &str;

    /// The name of this endpoint in its locators; `None` if they name none, as those of a backend of several.
    fn endpoint(&self) -> Option<String>;

    /// The endpoints of a backend of several, in the order of preference; empty for one endpoint.
    fn members(&self) -> Vec<Arc<dyn Backend>> {
        Vec::new()
    }

    /// The number of independent copies that an accepted put means.
    fn copies(&self) -> u32 {
        1
    }

    /// True if its bytes are already verified, unit by unit if there is a proof, so no caller needs to verify them.
    fn verifies(&self) -> bool {
        false
    }

    /// Makes sure that it is there and what the configuration means. To be called once, before anything else.
    ///
    /// Errors: [`BackendError::Unsuitable`] must stop the start; with others, it may come up later.
    fn check(&self) -> Answer<'_, ()>;

    /// Who it is, proven now. Also tells within seconds whether it answers at all: one that is slow to find content
    /// still answers this.
    fn identify(&self) -> Answer<'_, Identity>;

    /// Where the content is, or would be; no endpoint of it says that it has it. `None` where only a put can tell.
    /// It may read the source.
    fn locate(&self, source: Arc<dyn Source>) -> Answer<'_, Option<Locator>>;

    /// Stores the content. Once it returns, the backend's holders have acknowledged it. Takes a few MiB of memory,
    /// however long the content is.
    fn put<'a>(&'a self, source: Arc<dyn Source>, put: Put, progress: &'a dyn Progress) -> Answer<'a, Locator>;

    /// Bytes of the content. Returns when the backend has begun to answer.
    fn get<'a>(&'a self, content: &'a Content, locator: &'a Locator, range: Range<u64>) -> Answer<'a, ByteStream>;

    /// Whether it is there, as the backend says.
    fn stat<'a>(&'a self, content: &'a Content, locator: &'a Locator) -> Answer<'a, Stat>;

    /// Removes the content, or lets the backend forget it when it likes.
    fn delete<'a>(&'a self, content: &'a Content, locator: &'a Locator) -> Answer<'a, Deletion>;

    /// How it has been doing; asks nobody.
    fn health(&self) -> Health;

    /// Its power to prove units, if it has it.
    fn unit_proofs(&self) -> Option<&dyn UnitProofs> {
        None
    }

    /// Its power to list its content, if it has it.
    fn listing(&self) -> Option<&dyn Listing> {
        None
    }
}

/// The names in locators of all endpoints of a backend. Empty if its locators name none.
pub fn endpoints(backend: &dyn Backend) -> Vec<String> {
    match backend.members() {
        members if members.is_empty() => backend.endpoint().into_iter().collect(),
        members => members.iter().filter_map(|member| member.endpoint()).collect(),
    }
}

/// When a put sends bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// Only if the content is not there yet.
    IfAbsent,
    /// Even if it seems to be there: a delete that was accepted not long ago may still come.
    Renew,
}

/// What a backend says of content that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The length of the plain content, in bytes.
    pub length: u64,
    /// Those that said so, as locators name them, where they do.
    pub endpoints: Vec<String>,
}

/// How far a delete has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// It is gone, or was not there.
    Done,
    /// It will go. Until then it may be found there, and must not be relied upon.
    Accepted,
}
