//! The contract, stamped for each backend.

use std::sync::Arc;

use content_store::SYNC_STEP;

use super::testing::{Expected, Fixture, Instance};
use super::{Backend, FsBackend, FsBackendConfig, MAX_READ, MemoryBackend};

const LIMIT: u64 = 24 * 1024 * 1024;

/// The directory is removed with it.
struct FsFixture(tempfile::TempDir);

impl Fixture for FsFixture {
    async fn start() -> Self {
        FsFixture(tempfile::tempdir().unwrap())
    }

    fn instance(&self) -> Instance<'_> {
        Box::pin(async move {
            let config = FsBackendConfig { directory: self.0.path().join("copies"), label: "disk".into() };
            let backend = FsBackend::open(config).unwrap();
            backend.check().await.unwrap();
            Arc::new(backend) as Arc<dyn Backend>
        })
    }

    fn expected(&self) -> Expected {
        Expected { resume_step: Some(SYNC_STEP), has_identity: true, ..Expected::default() }
    }
}

struct MemoryFixture(MemoryBackend);

impl Fixture for MemoryFixture {
    async fn start() -> Self {
        MemoryFixture(MemoryBackend::new().with_max_object_size(LIMIT))
    }

    fn instance(&self) -> Instance<'_> {
        Box::pin(async move { Arc::new(self.0.clone()) as Arc<dyn Backend> })
    }

    fn expected(&self) -> Expected {
        Expected {
            resume_step: Some(MAX_READ),
            max_object_size: Some(LIMIT),
            has_identity: true,
            lists: true,
            ..Expected::default()
        }
    }
}

mod memory {
    crate::backend_contract!(super::MemoryFixture);
}

mod fs {
    crate::backend_contract!(super::FsFixture);
}
