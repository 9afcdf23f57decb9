//! Backends: places elsewhere that hold copies of content, and what every one of them promises.
//!
//! A backend knows content by digest, and nothing of repositories. It is few primitives; whatever several backends need
//! (checking, retrying, limits, counting) is a wrapper that is a backend itself.
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
//! 6. **Address.** With `known_address`, locate names the place that put returns, before and after it, and stores
//!    nothing.
//! 7. **Repetition.** A put of what is already there succeeds at the same place and takes no bytes from the source
//!    beyond what telling the address takes, for each copy.
//! 8. **Concurrency.** Puts of the same content at the same time all succeed, and reads meanwhile see all of it or
//!    nothing.
//! 9. **Honest sources only.** A source whose bytes are not the content's, or that fails, makes the put fail with
//!    `Source`, and the content is not there afterwards.
//! 10. **Breaking off.** Dropping the future of a put at any moment leaves nothing that can be read, and a later put
//!     succeeds.
//! 11. **Resuming.** With a `resume_step`, a put that was broken off goes on, at another instance too: of what it had
//!     taken from the source for a copy, it takes no more than that again, beyond what telling the address takes. If it
//!     needs a token for that, it kept it before the first byte of a copy.
//! 12. **Hostile tokens.** A token of another content, another backend or no backend at all costs a repetition at most.
//! 13. **Small reads.** A put asks the source for [`MAX_READ`] bytes at once at most, within the content.
//! 14. **Size.** Content above `max_object_size` is `TooLarge` before any byte is taken.
//! 15. **Deletion.** After a delete that is `Done`, or some time after one that is `Accepted`, the content is not
//!     there. Deleting what is not there succeeds.
//! 16. **After deletion** a put makes the content be there again.
//! 17. **Health.** After a successful check, health has at least one endpoint, and one of them is available.
//! 18. **Renewal.** After a put-again, the content stays, also if a delete of it was accepted before.
//! 19. **Independence.** Neither a stream nor a future that nobody polls keeps others from being served.
//! 20. **Answering.** A ping of a backend that can be used succeeds.
//! 21. **Roots.** The unit roots that a backend gives are those of the content. It may have none to give.
//!
//! Bytes that come out are those that the backend claims. Through [`wrap::Verify`] they are those of the content.

mod capabilities;
mod content;
mod error;
#[cfg(any(test, feature = "testing"))]
mod fs;
mod health;
mod locator;
#[cfg(any(test, feature = "testing"))]
mod memory;
mod replicas;
mod resume;
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

pub use capabilities::Capabilities;
pub use content::{Content, ContentError, UNIT, UnitCheck, UnitHash, UnitRoot};
pub use error::{BackendError, Cause};
#[cfg(any(test, feature = "testing"))]
pub use fs::{FsBackend, FsBackendConfig};
pub use health::{EndpointHealth, EndpointState, Health};
pub use locator::{Locator, PLAIN};
#[cfg(any(test, feature = "testing"))]
pub use memory::MemoryBackend;
pub use replicas::Replicas;
pub use resume::{MAX_TOKEN, Resume, ResumeInMemory, ResumeToken, TokenTooLong};
pub(crate) use source::read_piece;
pub use source::{BytesSource, FileSource, MAX_READ, Source, SourceError};

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

    /// Its capabilities.
    fn capabilities(&self) -> Capabilities;

    /// Endpoint names, as in [`Locator::endpoints`]; empty if its locators name none.
    fn endpoints(&self) -> Vec<String> {
        Vec::new()
    }

    /// Makes sure that it is there and what the configuration means. To be called once, before anything else.
    ///
    /// Errors: [`BackendError::Unsuitable`] must stop the start; with others, it may come up later.
    fn check(&self) -> Answer<'_, ()>;

    /// Whether it answers anything at all, known within seconds: one that is slow to find content still answers this.
    fn ping(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    /// Where the content is, or would be; no endpoint of it says that it has it. `None` where only a put can tell.
    /// May read the source: all of it with `address_reads_all`, else if it is no longer than one unit.
    fn locate(&self, source: Arc<dyn Source>) -> Answer<'_, Option<Locator>>;

    /// Stores the content, if it is not there yet. Once it returns, the backend's holders have acknowledged it.
    /// Takes a few MiB of memory, however long the content is.
    fn put<'a>(&'a self, source: Arc<dyn Source>, resume: &'a dyn Resume) -> Answer<'a, Locator>;

    /// Stores the content even if it seems to be there: for content whose delete was accepted not long ago, and may
    /// still come.
    fn put_again<'a>(&'a self, source: Arc<dyn Source>, resume: &'a dyn Resume) -> Answer<'a, Locator> {
        self.put(source, resume)
    }

    /// Bytes of the content. Returns when the backend has begun to answer.
    fn get<'a>(&'a self, content: &'a Content, locator: &'a Locator, range: Range<u64>) -> Answer<'a, ByteStream>;

    /// The roots of the content's units, checked against the locator's address; `None` where that does not commit to
    /// them.
    fn unit_roots<'a>(&'a self, _content: &'a Content, _locator: &'a Locator) -> Answer<'a, Option<Arc<[UnitRoot]>>> {
        Box::pin(async { Ok(None) })
    }

    /// Whether it is there, as the backend says.
    fn stat<'a>(&'a self, content: &'a Content, locator: &'a Locator) -> Answer<'a, Stat>;

    /// Removes the content, or lets the backend forget it when it likes.
    fn delete<'a>(&'a self, content: &'a Content, locator: &'a Locator) -> Answer<'a, Deletion>;

    /// The same at one of its [`Backend::endpoints`] only, of which one may hang while others answer. Any other name is
    /// that of all.
    fn delete_at<'a>(&'a self, _endpoint: &'a str, content: &'a Content, locator: &'a Locator) -> Answer<'a, Deletion> {
        self.delete(content, locator)
    }

    /// How it has been doing; asks nobody.
    fn health(&self) -> Health;
}

/// What a backend says of content that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The length of the plain content, in bytes.
    pub length: u64,
    /// Base URLs of those that said so, where there are such.
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
