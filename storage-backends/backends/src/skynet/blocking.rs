//! Work on threads that may block.

use tokio::task::{JoinError, spawn_blocking};

use crate::BackendError;

/// Its result, once a thread has done it.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, BackendError> {
    spawn_blocking(work).await.map_err(ended)
}

/// The task panicked, or the runtime ends.
pub(super) fn ended(error: JoinError) -> BackendError {
    BackendError::Unavailable { retry_after: None, cause: Box::new(error) }
}
