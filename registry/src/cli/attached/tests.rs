//! A node with its portal, in one process, on addresses that the system gives.

use backends::UNIT;
use bytes::Bytes;
use futures_util::stream;
use tempfile::TempDir;

use super::*;
use crate::catalog::{Backlog, Placement};
use crate::cli::backend;
use crate::cli::node::Node;
use crate::oci::{Algorithm, Digest};
use crate::placement;
use crate::service::Error;
use crate::testing::incoming;

/// Longer than any step takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A node whose placement runs.
struct Running {
    node: Node,
    attached: Option<AttachedPortal>,
    placing: JoinHandle<()>,
    end: CancellationToken,
}

fn config(folder: &TempDir) -> Config {
    let mut config = Config::default();
    config.storage.data = folder.path().join("data");
    config.storage.reserve = crate::config::ByteSize::from_bytes(0);
    config.portal.attached = true;
    config.portal.listen = "127.0.0.1:0".parse().unwrap();
    config
}

async fn start(config: &Config) -> Running {
    let attachment = Attachment::listen(config).await.unwrap();
    let beside = Beside::of_running(config, attachment.as_ref());
    let node = Node::open(config, beside, Arc::new(Metrics::new())).unwrap();
    let attached = AttachedPortal::start(attachment, config, node.data.path()).await.unwrap();
    if let Some(backend) = &node.backend {
        backend::check(&**backend).await.unwrap();
    }
    let end = CancellationToken::new();
    let (content, remote, stop) = (Arc::clone(node.registry.content()), node.registry.remote().cloned(), end.clone());
    let placing = tokio::spawn(async move {
        if let Some(remote) = remote {
            placement::run(content, remote, stop).await;
        }
    });
    Running { node, attached, placing, end }
}

impl Running {
    async fn push(&self, bytes: impl AsRef<[u8]>) -> Digest {
        let bytes = Bytes::copy_from_slice(bytes.as_ref());
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        let body = incoming(&self.node.registry, stream::iter([Ok::<_, Error>(bytes)])).await;
        let repository = "a".parse().unwrap();
        self.node
            .registry
            .upload_at_once(&crate::service::Caller::local(), &repository, digest.clone(), body)
            .await
            .unwrap();
        digest
    }

    fn backlog(&self) -> Backlog {
        self.node.registry.durability().unwrap().backlog
    }

    async fn until_safe(&self) {
        self.until(|running| running.backlog().count == 0).await;
    }

    async fn until_read_back(&self, digest: &Digest) {
        self.until(|running| running.places(digest).iter().any(|placement| placement.read_back)).await;
    }

    async fn until(&self, holds: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{:?}", self.node.registry.durability()));
    }

    fn places(&self, digest: &Digest) -> Vec<Placement> {
        self.node.registry.catalog().placements(digest).unwrap()
    }

    fn url(&self) -> String {
        format!("http://{}", self.attached.as_ref().unwrap().address)
    }

    /// The names in locators of all portals, as they are now.
    fn names(&self) -> Vec<String> {
        backends::endpoints(&**self.node.backend.as_ref().unwrap())
    }

    async fn stop(self) {
        self.end.cancel();
        self.placing.await.unwrap();
        self.node.registry.catalog().close();
        if let Some(attached) = self.attached {
            attached.stop(Duration::ZERO).await.unwrap();
        }
    }
}

fn delete_file(config: &Config, digest: &Digest) {
    let hex = digest.encoded();
    std::fs::remove_file(config.storage.data.join("blobs/sha256").join(&hex[..2]).join(hex)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_one_placement_of_those_that_are_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let one = config(&folder);
    let running = start(&one).await;
    let digest = running.push(b"once").await;
    running.until_safe().await;
    let places = running.places(&digest);
    assert_eq!(places.len(), 1);
    assert_eq!(places[0].locator.endpoints, running.names());
    let wanted = running.node.registry.catalog().wanted().unwrap();
    assert_eq!((wanted.copies, wanted.counts(&places[0])), (1, 1));
    running.stop().await;

    // The other portal does not answer, so two copies are impossible.
    let mut two = one.clone();
    two.storage.backend = Backend::Skynet;
    two.storage.skynet.portals = vec!["http://127.0.0.1:1".to_owned()];
    two.storage.skynet.copies = 2;
    assert_eq!(two.validate(), Ok(()));
    let running = start(&two).await;
    running.push(b"twice").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    // Content with one copy lacks a copy, too.
    assert_eq!(running.backlog(), Backlog { count: 2, bytes: 9 });
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_keys_let_the_registry_in_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let config: Config = {
        let (data, toml) =
            (folder.path().join("data"), "[portal]\nattached = true\nlisten = '[::]:0'\napi_keys = ['k1', 'k2']");
        let file = folder.path().join("config.toml");
        std::fs::write(&file, toml).unwrap();
        let flags = crate::config::Flags { data: Some(data), ..Default::default() };
        Config::load(Some(&file), std::iter::empty(), flags).unwrap().config
    };
    let running = start(&config).await;
    let port = running.attached.as_ref().unwrap().address.port();
    running.push(b"with a key").await;
    running.until_safe().await;
    // It listens on all addresses, and is reached over loopback.
    let health = running.node.backend.as_ref().unwrap().health();
    assert_eq!(health.endpoints[0].name, format!("http://[::1]:{port}"));
    let client =
        reqwest::Client::builder().tls_backend_preconfigured(tls_roots::client_config()).no_proxy().build().unwrap();
    let post = client.post(format!("http://[::1]:{port}/skynet/skyfile")).body("without");
    assert_eq!(post.send().await.unwrap().status().as_u16(), 401);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_had_one_says_so_and_knows_what_is_only_there() {
    let folder = tempfile::tempdir().unwrap();
    let with = config(&folder);
    let without = Config { portal: crate::config::Portal::default(), ..with.clone() };
    let running = start(&with).await;
    assert!(running.node.registry.notes()[0].contains("runs in this process"));
    let digests = [running.push(b"here and there").await, running.push(b"there").await];
    for digest in &digests {
        running.until_read_back(digest).await;
    }
    let (url, names) = (running.url(), running.names());
    running.stop().await;
    delete_file(&with, &digests[1]);

    // Stopped: the directory decides, whatever the configuration says.
    for config in [&with, &without] {
        let node = Node::open(config, Beside::of_stopped(config).unwrap(), Arc::new(Metrics::new())).unwrap();
        assert_eq!(node.registry.durability().unwrap().only_here, 2);
        let safety = crate::admin::of_records(&node.registry).await.unwrap().safety;
        assert!(safety.safe == crate::admin::reply::Safe::No && safety.only_here == Some(2), "{safety:?}");
        assert!(node.registry.notes()[0].contains("does not run now"));
        node.registry.catalog().close();
    }
    // A portal at the same address is named in the configuration. It was not asked yet whether it is the same one.
    let mut named = without.clone();
    named.storage.backend = Backend::Skynet;
    named.storage.skynet.portals = vec![url.clone()];
    let node = Node::open(&named, Beside::of_stopped(&named).unwrap(), Arc::new(Metrics::new())).unwrap();
    assert_eq!(node.registry.durability().unwrap().backlog.count, 2);
    node.registry.catalog().close();
    drop(node);
    // Served without a portal: no backend, and a note says so.
    let running = start(&without).await;
    assert!(running.node.backend.is_none() && running.node.registry.durability().is_none());
    assert!(running.node.registry.notes()[0].contains("left from a start with --with-portal"));
    assert_eq!(count_absent(&running.node.registry, || false).unwrap(), Absent { count: 1, bytes: 5 });
    running.stop().await;
    // With the portal again nothing is missing, at whatever address.
    let running = start(&with).await;
    assert_eq!(running.backlog(), Backlog::default());
    assert_eq!(running.node.registry.catalog().wanted().unwrap().endpoints, names);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_portal_has_nothing_whatever_was_placed_before() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&folder);
    let running = start(&config).await;
    let digests = [running.push(b"here").await, running.push(b"not here").await];
    // Without that, the new portal would be asked for the second copy, which no portal has.
    for digest in &digests {
        running.until_read_back(digest).await;
    }
    let (old, before) = (running.names(), running.places(&digests[1]));
    running.stop().await;
    delete_file(&config, &digests[1]);
    std::fs::remove_dir_all(data_dir::attached_portal(&config.storage.data)).unwrap();

    let running = start(&config).await;
    let new = running.names();
    assert_ne!(new, old, "a new directory makes another portal, wherever it listens");
    // The portal where the other content is recorded is gone.
    running.until(|running| running.backlog().count == 1).await;
    running.until(|running| running.places(&digests[0])[0].locator.endpoints.contains(&new[0])).await;
    // Content without a local file cannot be placed again. It may still be elsewhere.
    let after = running.places(&digests[1]);
    assert_eq!(after[0].locator, before[0].locator);
    // The new portal does have it.
    let locator = &running.places(&digests[0])[0].locator;
    let content = backends::Content::new(digests[0].clone(), 4).unwrap();
    assert!(running.node.backend.as_ref().unwrap().stat(&content, locator).await.is_ok());
    running.stop().await;
}

/// A list of unit roots that is also a blob counts as content of that portal, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_portal_has_no_lists_of_unit_roots_either() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&folder);
    config.portal.profile = "64KiB/2+1".parse().unwrap();
    config.storage.skynet.profile = "64KiB/2+1".to_owned();
    assert_eq!(config.validate(), Ok(()));
    let running = start(&config).await;
    // The first has everything local, the second only its list, the third only its content, the fourth nothing.
    let mut pushed = Vec::new();
    for byte in 0..4 {
        let digest = running.push(vec![byte; (UNIT + 5) as usize]).await;
        running.until_read_back(&digest).await;
        let list = running.node.registry.catalog().unit_roots(&digest).unwrap().unwrap().list;
        running.until_read_back(&list).await;
        pushed.push((digest, list));
    }
    let before = running.places(&pushed[3].1);
    running.stop().await;
    for lost in [&pushed[1].0, &pushed[2].1, &pushed[3].0, &pushed[3].1] {
        delete_file(&config, lost);
    }
    std::fs::remove_dir_all(data_dir::attached_portal(&config.storage.data)).unwrap();

    let running = start(&config).await;
    // Two pieces of content and a list are at no known place.
    running.until(|running| running.backlog().count == 3).await;
    let backend = running.node.backend.as_ref().unwrap();
    let there = async |digest: &Digest| {
        let locator = &running.places(digest)[0].locator;
        let content = backends::Content::new(digest.clone(), locator.stored_size).unwrap();
        backend.stat(&content, locator).await.is_ok()
    };
    for (number, expected) in [(true, true), (false, true), (true, true), (false, false)].into_iter().enumerate() {
        let (digest, list) = &pushed[number];
        assert_eq!((there(digest).await, there(list).await), expected, "{number}");
    }
    assert_eq!(running.places(&pushed[3].1)[0].locator, before[0].locator, "it may still be elsewhere");
    running.stop().await;
}
