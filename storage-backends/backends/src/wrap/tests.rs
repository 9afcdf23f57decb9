//! The effect of each wrapper around a backend in memory that fails on request.

mod contract;
mod limit;
mod metrics;
mod retry;
mod verify;

use std::sync::Arc;

use super::Faults;
use crate::{Backend, BackendError, BytesSource, Locator, MemoryBackend, ProgressInMemory, Put};

fn faulty() -> Faults {
    Faults::new(Arc::new(MemoryBackend::new()))
}

async fn put(backend: &dyn Backend, source: &BytesSource) -> Locator {
    backend.put(Arc::new(source.clone()), Put::IfAbsent, &ProgressInMemory::default()).await.unwrap()
}

fn unavailable() -> BackendError {
    BackendError::Unavailable { retry_after: None, cause: "for a test".into() }
}
