//! The fixture of the contract suite, and samples of content.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use content_store::digest::Algorithm;
use futures_util::TryStreamExt as _;

use crate::{Backend, BackendError, BytesSource, Locator, Source as _, UNIT, UnitHashes};

/// A backend that is being made. Boxed, so that each clause is compiled once and not for each storage.
pub type Instance<'a> = Pin<Box<dyn Future<Output = Arc<dyn Backend>> + Send + 'a>>;

/// The storage of a backend, made for one test.
pub trait Fixture: Send + Sync {
    /// Empty storage.
    fn start() -> impl Future<Output = Self> + Send
    where
        Self: Sized;

    /// A backend over this storage, checked. Another call simulates a restart.
    fn instance(&self) -> Instance<'_>;

    /// What the clauses leave to each backend.
    fn expected(&self) -> Expected {
        Expected::default()
    }
}

/// What the clauses leave to each backend, and the suite must know.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, read one at a time")]
pub struct Expected {
    /// It can compute the locator of content without storing it.
    pub known_address: bool,
    /// Computing the locator of content above one unit reads all of its bytes from the source. The instance caches the
    /// result for a while.
    pub address_reads_all: bool,
    /// Most bytes that an interrupted upload sends again when it resumes; `None` if it starts over.
    pub resume_step: Option<u64>,
    /// A delete takes effect some time after it was accepted.
    pub asynchronous_delete: bool,
    /// The longest content that it accepts, in bytes; `None` for no limit.
    pub max_object_size: Option<u64>,
    /// The number of copies of a put.
    pub copies: u64,
    /// It can prove who it is.
    pub has_identity: bool,
    /// It can list its content.
    pub lists: bool,
}

impl Default for Expected {
    fn default() -> Self {
        Expected {
            known_address: true,
            address_reads_all: false,
            resume_step: None,
            asynchronous_delete: false,
            max_object_size: None,
            copies: 1,
            has_identity: false,
            lists: false,
        }
    }
}

/// Content of this length, with the hashes of its units if it is above one unit; other seeds make other content.
pub fn sample(length: u64, seed: u64) -> BytesSource {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length as usize + 8);
    while (bytes.len() as u64) < length {
        // xorshift64: fast, and no two units are alike.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length as usize);
    let hashes = (length > UNIT).then(|| UnitHashes::of(&bytes));
    let source = BytesSource::new(Algorithm::Sha256, Bytes::from(bytes));
    match hashes {
        None => source,
        Some(hashes) => source.with_proof(Arc::new(hashes)).expect("there is one for each unit"),
    }
}

/// The bytes of a range as the backend gives them.
pub async fn read(
    backend: &dyn Backend,
    source: &BytesSource,
    locator: &Locator,
    range: Range<u64>,
) -> Result<Bytes, BackendError> {
    let stream = backend.get(source.content(), locator, range).await?;
    let pieces: Vec<Bytes> = stream.try_collect().await?;
    Ok(pieces.concat().into())
}
