//! The contract: for one portal as it is, for a bare skyd, for three portals with all wrappers, and for profiles of several
//! data pieces.

use std::sync::Arc;

use skynet_formats::profile::Profile;

use crate::skynet::testing::TestPortal;
use crate::skynet::{Access, Portal, Secret, SkynetConfig, skynet_backend};
use crate::testing::{Expected, Fixture, Instance};
use crate::{Backend, UNIT};

const MAX_OBJECT_SIZE: u64 = 24 * 1024 * 1024;

fn portal(of: &TestPortal, profile: Profile) -> Portal {
    Portal::new(of.config(), profile, super::PATIENT, Some(MAX_OBJECT_SIZE), super::random).unwrap()
}

/// What no portal can do otherwise. `chunk`: bytes that an upload may repeat, twice.
fn expected(chunk: u64, copies: u64) -> Expected {
    Expected {
        address_reads_all: true,
        resume_step: Some(2 * chunk),
        asynchronous_delete: true,
        max_object_size: Some(MAX_OBJECT_SIZE),
        copies,
        ..Expected::default()
    }
}

struct One(TestPortal);

impl Fixture for One {
    async fn start() -> Self {
        One(TestPortal::start(Profile::DEFAULT).await)
    }

    fn instance(&self) -> Instance<'_> {
        Box::pin(async move {
            let portal = portal(&self.0, Profile::DEFAULT);
            portal.check().await.unwrap();
            Arc::new(portal) as Arc<dyn Backend>
        })
    }

    fn expected(&self) -> Expected {
        Expected { has_identity: true, ..expected(UNIT, 1) }
    }
}

struct Bare(TestPortal);

impl Fixture for Bare {
    async fn start() -> Self {
        Bare(TestPortal::start_with(Profile::DEFAULT, Access::Skyd(Secret::new("password"))).await)
    }

    fn instance(&self) -> Instance<'_> {
        Box::pin(async move {
            let portal = portal(&self.0, Profile::DEFAULT);
            portal.check().await.unwrap();
            Arc::new(portal) as Arc<dyn Backend>
        })
    }

    fn expected(&self) -> Expected {
        expected(UNIT, 1)
    }
}

struct Three([TestPortal; 3]);

impl Fixture for Three {
    async fn start() -> Self {
        let start = || TestPortal::start(Profile::DEFAULT);
        Three([start().await, start().await, start().await])
    }

    fn instance(&self) -> Instance<'_> {
        Box::pin(async move {
            let portals = self.0.iter().map(TestPortal::config).collect();
            let config =
                SkynetConfig { copies: 2, max_object_size: Some(MAX_OBJECT_SIZE), ..SkynetConfig::new(portals) };
            let backend = skynet_backend(&config).unwrap();
            backend.check().await.unwrap();
            backend
        })
    }

    fn expected(&self) -> Expected {
        expected(UNIT, 2)
    }
}

/// Release skyd, and others that have its profile.
struct TenOfThirty([TestPortal; 2]);

impl Fixture for TenOfThirty {
    async fn start() -> Self {
        let start = || TestPortal::start("4MiB/10+20".parse().unwrap());
        TenOfThirty([start().await, start().await])
    }

    fn instance(&self) -> Instance<'_> {
        Box::pin(async move { several_pieces("4MiB/10+20", &self.0).await })
    }

    fn expected(&self) -> Expected {
        expected(10 * UNIT, 1)
    }
}

/// Small chunks, of which the samples have many.
struct ThreeOfFive([TestPortal; 2]);

impl Fixture for ThreeOfFive {
    async fn start() -> Self {
        let start = || TestPortal::start("64KiB/3+2".parse().unwrap());
        ThreeOfFive([start().await, start().await])
    }

    fn instance(&self) -> Instance<'_> {
        Box::pin(async move { several_pieces("64KiB/3+2", &self.0).await })
    }

    fn expected(&self) -> Expected {
        expected(UNIT, 1)
    }
}

async fn several_pieces(profile: &str, portals: &[TestPortal]) -> Arc<dyn Backend> {
    let config = SkynetConfig {
        profile: profile.parse().unwrap(),
        max_object_size: Some(MAX_OBJECT_SIZE),
        ..SkynetConfig::new(portals.iter().map(TestPortal::config).collect())
    };
    let backend = skynet_backend(&config).unwrap();
    backend.check().await.unwrap();
    backend
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

mod ten_of_thirty {
    crate::backend_contract!(super::TenOfThirty);
}

mod three_of_five {
    crate::backend_contract!(super::ThreeOfFive);
}
