//! Starts that fail half-way, and the steps of a stop.

use std::path::Path;
use std::time::Duration;

use backends::skynet::testing::TestPortal;
use bytes::Bytes;
use futures_util::stream;
use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::catalog::IndexOrigin;
use crate::config::{Backend, ByteSize};
use crate::data_dir::{DataDir, Kind, attached_portal};
use crate::oci::{Algorithm, Digest};
use crate::service::Error;
use crate::testing::incoming;

/// Longer than any step takes on a busy machine, and shorter than the limit of a flush.
const PATIENCE: Duration = Duration::from_secs(30);

/// An address that was free a moment ago.
fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A configuration with every part of a node, each on an address of its own.
fn config(folder: &TempDir) -> Config {
    let mut config = Config::default();
    config.storage.data = folder.path().join("data");
    config.storage.reserve = ByteSize::from_bytes(0);
    config.server.listen = free_address().to_string().parse().unwrap();
    config.gateway.listen = free_address().to_string().try_into().unwrap();
    config.portal.attached = true;
    config.portal.listen = free_address().to_string().parse().unwrap();
    assert_eq!(config.validate(), Ok(()));
    config
}

async fn start(config: &Config) -> anyhow::Result<Running> {
    timeout(PATIENCE, Running::start(config.clone(), CancellationToken::new())).await.expect("no end of the start")
}

async fn fails(config: &Config) -> String {
    format!("{:#}", start(config).await.expect_err("a start that fails"))
}

async fn stop(running: Running) {
    timeout(PATIENCE, running.stop()).await.expect("no end of the stop").unwrap();
}

/// Checks that the next process can use every address and lock of the node.
fn assert_nothing_is_held(config: &Config) {
    let addresses = [config.server.listen, config.gateway.listen.0.unwrap(), config.portal.listen];
    for address in addresses {
        drop(std::net::TcpListener::bind(address.0).unwrap_or_else(|error| panic!("{}: {error}", address.0)));
    }
    drop(DataDir::open(&config.storage.data, Kind::Registry).unwrap());
    drop(DataDir::open(&attached_portal(&config.storage.data), Kind::Portal).unwrap());
}

/// The state in which the last run left the index.
fn index_of(config: &Config) -> IndexOrigin {
    let node = Node::open(config, Beside::default(), Arc::new(Metrics::new())).unwrap();
    node.registry.catalog().close();
    node.report.index.clone()
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> = path.read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names.into_iter().map(|name| name.into_string().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_ends_the_start_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&folder);
    let addresses = [
        (config.server.listen, "--listen"),
        (config.gateway.listen.0.unwrap(), "gateway.listen"),
        (config.portal.listen, "portal.listen"),
    ];
    for (address, setting) in addresses {
        let taken = std::net::TcpListener::bind(address.0).unwrap();
        let error = fails(&config).await;
        assert!(error.contains(&address.0.to_string()) && error.contains(setting), "{error}");
        assert!(!config.storage.data.exists());
        drop(taken);
    }
    // No address that was bound before stays bound.
    stop(start(&config).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_directory_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&folder);
    std::fs::create_dir(&config.storage.data).unwrap();
    std::fs::write(config.storage.data.join("thesis.tex"), "x").unwrap();
    let error = fails(&config).await;
    assert!(error.contains("not a Skyberth data directory"), "{error}");
    assert_eq!(names(&config.storage.data), ["thesis.tex"]);
    std::fs::remove_file(config.storage.data.join("thesis.tex")).unwrap();
    assert_nothing_is_held(&config);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_does_not_suit_ends_gateway_and_attached_portal_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&folder);
    let other = TestPortal::start("4KiB/1+4".parse().unwrap()).await;
    config.storage.backend = Backend::Skynet;
    config.storage.skynet.portals = vec![other.config().url.to_string()];
    let error = fails(&config).await;
    assert!(error.contains("4KiB/1+4"), "{error}");
    assert_nothing_is_held(&config);
    // Its catalog was closed, as at any stop.
    config.storage.backend = Backend::Fs;
    assert_eq!(index_of(&config), IndexOrigin::Reused);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attached_portal_that_cannot_open_ends_the_gateway_too() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&folder);
    stop(start(&config).await.unwrap()).await;
    let in_use = DataDir::open(&attached_portal(&config.storage.data), Kind::Portal).unwrap();
    let error = fails(&config).await;
    assert!(error.contains("the attached portal") && error.contains("in use"), "{error}");
    drop(in_use);
    assert_nothing_is_held(&config);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_socket_that_cannot_be_made_ends_placement_too() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&folder);
    std::fs::create_dir_all(&config.storage.data).unwrap();
    drop(DataDir::open(&config.storage.data, Kind::Registry).unwrap());
    let socket = data_dir::socket(&config.storage.data);
    std::fs::create_dir(&socket).unwrap();
    let error = fails(&config).await;
    assert!(error.contains("local socket"), "{error}");
    assert_nothing_is_held(&config);
    assert_eq!(index_of(&config), IndexOrigin::Reused);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pushed_last_is_at_the_attached_portal_when_all_has_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&folder);
    let running = start(&config).await.unwrap();
    let registry = Arc::clone(&running.node.as_ref().unwrap().registry);
    let bytes = Bytes::from_static(b"the last push");
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let body = incoming(&registry, stream::iter([Ok::<_, Error>(bytes)])).await;
    registry
        .upload_at_once(&crate::service::Caller::local(), &"a".parse().unwrap(), digest.clone(), body)
        .await
        .unwrap();
    drop(registry);
    stop(running).await;
    assert_nothing_is_held(&config);

    let again = Node::open(&config, Beside::of_stopped(&config).unwrap(), Arc::new(Metrics::new())).unwrap();
    assert_eq!(again.report.index, IndexOrigin::Reused);
    assert_eq!(again.registry.durability().unwrap().backlog.count, 0);
    assert_eq!(again.registry.catalog().placements(&digest).unwrap().len(), 1);
    again.registry.catalog().close();
}
