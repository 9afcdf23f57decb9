//! The contract, stamped for each backend.

use std::sync::Arc;

use super::testing::{Fixture, Instance};
use super::{Backend, FsBackend, FsBackendConfig, MemoryBackend};

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
}

struct MemoryFixture(MemoryBackend);

impl Fixture for MemoryFixture {
    async fn start() -> Self {
        MemoryFixture(MemoryBackend::new().with_max_object_size(24 * 1024 * 1024))
    }

    fn instance(&self) -> Instance<'_> {
        Box::pin(async move { Arc::new(self.0.clone()) as Arc<dyn Backend> })
    }
}

mod memory {
    crate::backend_contract!(super::MemoryFixture);
}

mod fs {
    crate::backend_contract!(super::FsFixture);
}
