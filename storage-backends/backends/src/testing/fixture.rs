//! The fixture of the contract suite, and samples of content.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use content_store::digest::Algorithm;
use futures_util::TryStreamExt as _;
use skynet_formats::profile::SectorSize;
use skynet_formats::unit_roots::UnitRoots;

use crate::{Backend, BackendError, BytesSource, Locator, Source as _, UNIT};

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
}

/// Content of this length, with roots if it is above one unit; other seeds make other content.
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
    let mut roots = UnitRoots::new(SectorSize::STANDARD);
    if length > UNIT {
        roots.update(&bytes);
    }
    let source = BytesSource::new(Algorithm::Sha256, Bytes::from(bytes));
    match roots.finish() {
        none if none.is_empty() => source,
        roots => source.with_unit_roots(roots.into()).expect("there is one for each unit"),
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
