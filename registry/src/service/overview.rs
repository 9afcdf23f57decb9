//! The data of the start page: names, tags, dates and sizes, at limited cost however many clients ask.
//!
//! One read runs at a time, on a blocking thread, and visits a limited number of index entries. Its result serves for a
//! few seconds all clients that may see the same repositories.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serving::UsedUp;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::listing::Names;
use super::{Error, MayPull, Registry};
use crate::catalog::Catalog;
use crate::oci::{Digest, RepositoryName, Tag};
use crate::resources::Resource;

/// Repositories on one page.
const REPOSITORIES: usize = 50;
/// Most tags shown of each repository.
const TAGS: usize = 20;
/// Most manifests and blobs looked up for the sizes of one page. Sizes beyond that are omitted.
const LOOKUPS: usize = 2000;
/// Levels of nested indexes that a size includes.
const MAX_NESTING: usize = 3;
/// How long a page is served.
const FRESH: Duration = Duration::from_secs(5);
/// Longest time that a request waits for its turn to read.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most pages kept, each up to 250 KiB: so many first ones, and so many others.
const PAGES: usize = 16;
/// Most requests that read or wait. Others are refused.
const WAITING: usize = 32;
/// The answer to those.
const BUSY: UsedUp = UsedUp::Pool(Resource::StartPage.name());

/// A page of repositories in byte order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// Repositories with a manifest.
    pub repositories: Vec<RepositoryOverview>,
    /// True if more follow.
    pub more: bool,
}

/// A repository with its first tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryOverview {
    /// Its name.
    pub name: RepositoryName,
    /// Tags in byte order.
    pub tags: Vec<TagOverview>,
    /// True if more follow.
    pub more: bool,
}

/// A tag with its manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagOverview {
    /// The tag.
    pub tag: Tag,
    /// The manifest.
    pub digest: Digest,
    /// Bytes that a pull transfers; absent if adding them up would have taken too long.
    pub size: Option<u64>,
    /// When the tag was set, in milliseconds since the Unix epoch; absent if an older version set it.
    pub set_at: Option<u64>,
}

/// Pages by their names, each with the time of its read, and whether it is the first one of a client.
type Pages = HashMap<Names, Kept>;

#[derive(Debug)]
struct Kept {
    read: Instant,
    is_first: bool,
    page: Arc<Overview>,
}

/// The recently read pages, and the permit to read another one.
#[derive(Debug)]
pub(super) struct Overviews {
    pages: Mutex<Pages>,
    turn: Arc<Semaphore>,
    waiting: Semaphore,
}

impl Overviews {
    pub(super) fn new() -> Self {
        Overviews { pages: Mutex::default(), turn: Arc::new(Semaphore::new(1)), waiting: Semaphore::new(WAITING) }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        // The map contains only whole pages, even after a panic.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fresh(&self, names: &Names) -> Option<Arc<Overview>> {
        let pages = self.pages();
        let kept = pages.get(names)?;
        (kept.read.elapsed() < FRESH).then(|| Arc::clone(&kept.page))
    }

    fn keep(&self, names: Names, is_first: bool, page: Overview) -> Arc<Overview> {
        let (mut pages, page) = (self.pages(), Arc::new(page));
        pages.retain(|_, kept| kept.read.elapsed() < FRESH);
        // First pages, which most clients request, have room of their own.
        if pages.values().filter(|kept| kept.is_first == is_first).count() < PAGES {
            pages.insert(names, Kept { read: Instant::now(), is_first, page: Arc::clone(&page) });
        }
        page
    }
}

impl Registry {
    /// Repositories that the caller may see, after `after`, which need not exist. Those that it may not see have no effect
    /// on the answer. Tags, dates and sizes are at most a few seconds old.
    pub async fn overview(self: &Arc<Self>, after: Option<String>, visible: MayPull) -> Result<Arc<Overview>, Error> {
        let is_first = after.is_none();
        let names = self.repositories(after, REPOSITORIES, visible).await?;
        if let Some(page) = self.overviews.fresh(&names) {
            return Ok(page);
        }
        let _waiting = self.overviews.waiting.try_acquire().map_err(|_| BUSY)?;
        let Ok(Ok(turn)) = timeout(PATIENCE, Arc::clone(&self.overviews.turn).acquire_owned()).await else {
            return Err(BUSY.into());
        };
        if let Some(page) = self.overviews.fresh(&names) {
            return Ok(page);
        }
        let registry = Arc::clone(self);
        let page = self.reading(move |catalog| {
            let page = read(catalog, &names, LOOKUPS).map(|page| registry.overviews.keep(names, is_first, page));
            // The permit stays with the work, not with the request. So a client that leaves permits no second read, and
            // the result still serves others.
            drop(turn);
            page
        });
        page.await
    }
}

fn read(catalog: &Catalog, names: &Names, mut lookups: usize) -> Result<Overview, Error> {
    let mut repositories = Vec::with_capacity(names.names.len());
    for name in &names.names {
        let (tags, more) = read_tags(catalog, name, &mut lookups)?;
        repositories.push(RepositoryOverview { name: name.clone(), tags, more });
    }
    Ok(Overview { repositories, more: names.more })
}

fn read_tags(catalog: &Catalog, name: &RepositoryName, lookups: &mut usize) -> Result<(Vec<TagOverview>, bool), Error> {
    let page = catalog.tags(name, None, TAGS)?;
    let mut tags = Vec::with_capacity(page.items.len());
    // Several tags often point to one manifest.
    let mut sizes: HashMap<Digest, Option<u64>> = HashMap::new();
    for tag in page.items {
        // The tag may have been deleted since it was listed.
        let Some(digest) = catalog.tag(name, &tag)? else { continue };
        let size = if let Some(size) = sizes.get(&digest) {
            *size
        } else {
            let (bytes, all) = image_size(catalog, name, &digest, lookups)?;
            *sizes.entry(digest.clone()).or_insert(all.then_some(bytes))
        };
        let set_at = catalog.tag_set_at(name, &digest, &tag)?;
        tags.push(TagOverview { tag, digest, size, set_at });
    }
    Ok((tags, page.more))
}

/// Bytes that a pull of the manifest transfers, as far as the repository has them, and whether they are complete.
/// Adding up ends when `lookups` are used up. For display only.
pub(super) fn image_size(
    catalog: &Catalog,
    repository: &RepositoryName,
    digest: &Digest,
    lookups: &mut usize,
) -> Result<(u64, bool), Error> {
    let (mut size, mut all) = (0_u64, true);
    let mut waiting = vec![(digest.clone(), 0)];
    while let Some((digest, depth)) = waiting.pop() {
        let Some(left) = lookups.checked_sub(1) else { return Ok((size, false)) };
        *lookups = left;
        if let Some(blob) = catalog.blob(repository, &digest)? {
            size = size.saturating_add(blob);
        } else if depth >= MAX_NESTING {
            // Not read, since a record may be long.
            all = false;
        } else if let Some(record) = catalog.manifest(repository, &digest)? {
            size = size.saturating_add(record.size);
            // A record with more references than may be followed took long to read. No further record is read.
            if record.references.len() > *lookups {
                *lookups = 0;
                return Ok((size, false));
            }
            waiting.extend(record.references.into_iter().map(|child| (child, depth + 1)));
        }
    }
    Ok((size, all))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::oci::{FixedTags, Reference};
    use crate::service::ManifestPush;
    use crate::testing::Fixture;

    const GRACE: Duration = Duration::from_hours(1);

    fn all() -> MayPull {
        MayPull::only(|_| true)
    }

    fn names(fixture: &Fixture) -> Names {
        Names { names: vec![fixture.repository.clone()], more: false }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_page_has_sizes_and_dates() {
        let fixture = Fixture::new(GRACE);
        let config = fixture.push_blob(b"five!").await;
        let digest = fixture.push_manifest(&config, 5).await;
        let page = fixture.registry.overview(None, all()).await.unwrap();
        let [RepositoryOverview { name, tags, more: false }] = &page.repositories[..] else { panic!("{page:?}") };
        let [TagOverview { tag, digest: shown, size: Some(size), set_at: Some(set_at) }] = &tags[..] else {
            panic!("{page:?}")
        };
        assert_eq!((name, tag.as_str(), shown), (&fixture.repository, "latest", &digest));
        let manifest = fixture.registry.stat_manifest(name, &crate::oci::Reference::Digest(digest.clone())).unwrap();
        assert_eq!(*size, 5 + manifest.size);
        let age =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64 - set_at;
        assert!(age < 60_000, "{age} ms ago");
    }

    /// One request visited 2,000 digests for each of 1,000 tags.
    #[tokio::test(flavor = "multi_thread")]
    async fn sizes_of_one_page_take_a_limited_number_of_lookups() {
        let fixture = Fixture::new(GRACE);
        let config = fixture.push_blob(b"five!").await;
        fixture.push_manifest(&config, 5).await;
        let catalog = fixture.registry.catalog();
        let size = |lookups| read(catalog, &names(&fixture), lookups).unwrap().repositories[0].tags[0].size;
        // The manifest and its config.
        assert!(size(2).is_some());
        assert_eq!(size(1), None);
        assert_eq!(size(0), None);
    }

    /// Content nested too deep was read but left out of the sum, which was still called complete.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_size_that_leaves_out_deep_manifests_is_none() {
        let fixture = Fixture::new(GRACE);
        let config = fixture.push_blob(b"five!").await;
        let mut inner = fixture.push_manifest(&config, 5).await;
        for depth in 1..=MAX_NESTING {
            let media_type = if depth == 1 { "manifest" } else { "index" };
            let size = fixture.registry.catalog().manifest(&fixture.repository, &inner).unwrap().unwrap().size;
            let body = format!(
                r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{{
                "mediaType":"application/vnd.oci.image.{media_type}.v1+json","digest":"{inner}","size":{size}}}]}}"#
            );
            let push = ManifestPush {
                reference: Reference::Tag(format!("depth-{depth}").parse().unwrap()),
                digest: None,
                tags: Vec::new(),
                content_type: None,
                precondition: None,
                fixed: FixedTags::none(),
                body: body.into(),
                memory: None,
            };
            let caller = crate::service::Caller::local();
            inner = fixture.registry.put_manifest(&caller, &fixture.repository, push).await.unwrap().digest;
        }
        let page = read(fixture.registry.catalog(), &names(&fixture), LOOKUPS).unwrap();
        let known: Vec<_> = page.repositories[0].tags.iter().map(|tag| tag.size.is_some()).collect();
        assert_eq!(known, [true, true, false, true], "depth 1 to 3, and the image");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_read_serves_everybody_for_a_while() {
        let fixture = Fixture::new(GRACE);
        let config = fixture.push_blob(b"five!").await;
        fixture.push_manifest(&config, 5).await;
        let first = fixture.registry.overview(None, all()).await.unwrap();
        assert_eq!(first.repositories.len(), 1);
        assert!(Arc::ptr_eq(&first, &fixture.registry.overview(None, all()).await.unwrap()));
        assert!(Arc::ptr_eq(&first, &fixture.registry.overview(Some("A".to_owned()), all()).await.unwrap()));
        let none = fixture.registry.overview(None, MayPull::only(|_| false)).await.unwrap();
        assert_eq!(*none, Overview::default());
    }

    /// The link to the next page told which names follow that the caller may not see.
    #[tokio::test(flavor = "multi_thread")]
    async fn hidden_repositories_have_no_effect_on_a_page() {
        let fixture = Fixture::new(GRACE);
        let config = fixture.push_blob(b"five!").await;
        fixture.push_manifest(&config, 5).await;
        let page = async |after: &str| {
            let hidden = MayPull::only(|_| false);
            Overview::clone(&*fixture.registry.overview(Some(after.to_owned()), hidden).await.unwrap())
        };
        for after in ["", "A", "zzz"] {
            assert_eq!(page(after).await, Overview::default(), "{after}");
        }
        assert_eq!(fixture.registry.overview(None, all()).await.unwrap().repositories.len(), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn pages_that_nobody_can_share_are_bounded() {
        let fixture = Fixture::new(GRACE);
        let overviews = &fixture.registry.overviews;
        for number in 0..2 * PAGES {
            let names = vec![format!("a/{number}").parse().unwrap()];
            overviews.keep(Names { names, more: false }, false, Overview::default());
        }
        assert_eq!(overviews.pages().len(), PAGES);
        // With many other pages in the cache, each client of the first page read it again.
        let first = fixture.registry.overview(None, all()).await.unwrap();
        assert!(Arc::ptr_eq(&first, &fixture.registry.overview(None, all()).await.unwrap()));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn requests_that_wait_for_a_page_are_bounded() {
        let fixture = Fixture::new(GRACE);
        let turn = Arc::clone(&fixture.registry.overviews.turn).acquire_owned().await.unwrap();
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..WAITING {
            let registry = Arc::clone(&fixture.registry);
            waiting.spawn(async move { registry.overview(None, all()).await });
        }
        while fixture.registry.overviews.waiting.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let further = fixture.registry.overview(None, all()).await;
        assert!(matches!(further, Err(Error::UsedUp(UsedUp::Pool(_)))), "{further:?}");
        drop((turn, waiting));
        fixture.registry.overview(None, all()).await.unwrap();
    }

    /// A client that left during the read left no result to later clients.
    #[test]
    fn a_page_is_kept_though_its_client_leaves() {
        // The only thread for reads is busy until the client has left.
        let runtime = tokio::runtime::Builder::new_multi_thread().max_blocking_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::new(GRACE);
            let block = || {
                let (go, wait) = std::sync::mpsc::channel::<()>();
                (go, tokio::task::spawn_blocking(move || wait.recv()))
            };
            let (names_go, names_busy) = block();
            let mut request = Box::pin(fixture.registry.overview(None, all()));
            assert!(request.as_mut().now_or_never().is_none());
            // This one is behind the read of the names, and before that of the page.
            let (page_go, page_busy) = block();
            drop(names_go);
            names_busy.await.unwrap().unwrap_err();
            while fixture.registry.overviews.turn.available_permits() > 0 {
                assert!(request.as_mut().now_or_never().is_none());
                tokio::task::yield_now().await;
            }
            drop(request);
            drop(page_go);
            // The permit is free again when the read has ended.
            drop(fixture.registry.overviews.turn.acquire().await.unwrap());
            assert!(fixture.registry.overviews.fresh(&Names { names: Vec::new(), more: false }).is_some());
            page_busy.await.unwrap().unwrap_err();
        });
    }
}
