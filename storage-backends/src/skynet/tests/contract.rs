//! The contract: for one portal as it is, for a bare skyd, and for three portals with all wrappers.

use std::sync::Arc;

use crate::backend::Backend;
use crate::backend::testing::Fixture;
use crate::skynet::profile::Profile;
use crate::skynet::testing::TestPortal;
use crate::skynet::{Access, Portal, Secret, SkynetConfig, skynet_backend};

const MAX_OBJECT_SIZE: u64 = 24 * 1024 * 1024;

fn portal(of: &TestPortal, profile: Profile) -> Portal {
    Portal::new(of.config(), profile, super::PATIENT, Some(MAX_OBJECT_SIZE), super::random).unwrap()
}

struct One(TestPortal);

impl Fixture for One {
    async fn start() -> Self {
        One(TestPortal::start(Profile::DEFAULT).await)
    }

    async fn instance(&self) -> Arc<dyn Backend> {
        let portal = portal(&self.0, Profile::DEFAULT);
        portal.check().await.unwrap();
        Arc::new(portal)
    }
}

struct Bare(TestPortal);

impl Fixture for Bare {
    async fn start() -> Self {
        Bare(TestPortal::start_with(Profile::DEFAULT, Access::Skyd(Secret::new("password"))).await)
    }

    async fn instance(&self) -> Arc<dyn Backend> {
        let portal = portal(&self.0, Profile::DEFAULT);
        portal.check().await.unwrap();
        Arc::new(portal)
    }
}

struct Three([TestPortal; 3]);

impl Fixture for Three {
    async fn start() -> Self {
        let start = || TestPortal::start(Profile::DEFAULT);
        Three([start().await, start().await, start().await])
    }

    async fn instance(&self) -> Arc<dyn Backend> {
        let portals = self.0.iter().map(TestPortal::config).collect();
        let config = SkynetConfig { copies: 2, max_object_size: Some(MAX_OBJECT_SIZE), ..SkynetConfig::new(portals) };
        let backend = skynet_backend(&config).unwrap();
        backend.check().await.unwrap();
        backend
    }
}

mod one {
    crate::backend_contract!(super::One);
}

mod bare {
    crate::backend_contract!(super::Bare);
}

mod three {
    crate::backend_contract!(super::Three);
}
