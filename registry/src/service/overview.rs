//! The data of the start page: names, tags, dates and sizes, at limited cost however many clients ask.
//!
//! One read runs at a time, on a blocking thread, and visits a limited number of index entries. Its result serves all
//! clients for a few seconds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serving::UsedUp;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{Error, Registry};
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
/// Most pages kept besides the first one, each up to 250 KiB.
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

/// Pages by the name after which they begin, each with the time of its read.
type Pages = HashMap<Option<String>, (Instant, Arc<Overview>)>;

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

    fn fresh(&self, after: Option<&String>) -> Option<Arc<Overview>> {
        let pages = self.pages();
        let (read, page) = pages.get(&after.cloned())?;
        (read.elapsed() < FRESH).then(|| Arc::clone(page))
    }

    fn keep(&self, after: Option<String>, page: Overview) -> Arc<Overview> {
        let (mut pages, page) = (self.pages(), Arc::new(page));
        pages.retain(|_, (read, _)| read.elapsed() < FRESH);
        // The first page, which most clients request, is always kept.
        let others = pages.keys().filter(|after| after.is_some()).count();
        if after.is_none() || others < PAGES {
            pages.insert(after, (Instant::now(), Arc::clone(&page)));
        }
        page
    }
}

impl Registry {
    /// Repositories after `after`, which need not exist. The data is at most a few seconds old.
    pub async fn overview(self: &Arc<Self>, after: Option<String>) -> Result<Arc<Overview>, Error> {
        if let Some(page) = self.overviews.fresh(after.as_ref()) {
            return Ok(page);
        }
        let _waiting = self.overviews.waiting.try_acquire().map_err(|_| BUSY)?;
        let Ok(Ok(turn)) = timeout(PATIENCE, Arc::clone(&self.overviews.turn).acquire_owned()).await else {
            return Err(BUSY.into());
        };
        if let Some(page) = self.overviews.fresh(after.as_ref()) {
            return Ok(page);
        }
        let registry = Arc::clone(self);
        let page = self.reading(move |catalog| {
            let page = read(catalog, after.as_deref(), LOOKUPS).map(|page| registry.overviews.keep(after, page));
            // The permit stays with the work, not with the request. So a client that leaves permits no second read, and
            // the result still serves others.
            drop(turn);
            page
        });
        page.await
    }
}

fn read(catalog: &Catalog, after: Option<&str>, mut lookups: usize) -> Result<Overview, Error> {
    let page = catalog.catalogued(after, REPOSITORIES)?;
    let mut repositories = Vec::with_capacity(page.items.len());
    for name in page.items {
        let (tags, more) = read_tags(catalog, &name, &mut lookups)?;
        repositories.push(RepositoryOverview { name, tags, more });
    }
    Ok(Overview { repositories, more: page.more })
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

    #[tokio::test(flavor = "multi_thread")]
    async fn a_page_has_sizes_and_dates() {
        let fixture = Fixture::new(GRACE);
        let config = fixture.push_blob(b"five!").await;
        let digest = fixture.push_manifest(&config, 5).await;
        let page = fixture.registry.overview(None).await.unwrap();
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
        let size = |lookups| read(catalog, None, lookups).unwrap().repositories[0].tags[0].size;
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
        let page = read(fixture.registry.catalog(), None, LOOKUPS).unwrap();
        let known: Vec<_> = page.repositories[0].tags.iter().map(|tag| tag.size.is_some()).collect();
        assert_eq!(known, [true, true, false, true], "depth 1 to 3, and the image");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_read_serves_everybody_for_a_while() {
        let fixture = Fixture::new(GRACE);
        let first = fixture.registry.overview(None).await.unwrap();
        let config = fixture.push_blob(b"five!").await;
        fixture.push_manifest(&config, 5).await;
        assert!(Arc::ptr_eq(&first, &fixture.registry.overview(None).await.unwrap()));
        let other = fixture.registry.overview(Some("A".to_owned())).await.unwrap();
        assert_eq!(other.repositories.len(), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn pages_that_nobody_can_share_are_bounded() {
        let fixture = Fixture::new(GRACE);
        for number in 0..2 * PAGES {
            fixture.registry.overview(Some(number.to_string())).await.unwrap();
        }
        assert!(fixture.registry.overviews.pages().len() <= PAGES);
        // With many other pages in the cache, each client of the first page read it again.
        let first = fixture.registry.overview(None).await.unwrap();
        assert!(Arc::ptr_eq(&first, &fixture.registry.overview(None).await.unwrap()));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn requests_that_wait_for_a_page_are_bounded() {
        let fixture = Fixture::new(GRACE);
        let turn = Arc::clone(&fixture.registry.overviews.turn).acquire_owned().await.unwrap();
        let mut waiting: Vec<_> =
            (0..WAITING).map(|number| Box::pin(fixture.registry.overview(Some(number.to_string())))).collect();
        for request in &mut waiting {
            assert!(request.as_mut().now_or_never().is_none());
        }
        let further = fixture.registry.overview(None).now_or_never().expect("it is refused at once");
        assert!(matches!(further, Err(Error::UsedUp(UsedUp::Pool(_)))), "{further:?}");
        drop((turn, waiting));
        fixture.registry.overview(None).await.unwrap();
    }

    /// A client that left during the read left no result to later clients.
    #[test]
    fn a_page_is_kept_though_its_client_leaves() {
        // The only thread for reads is busy until the client has left.
        let runtime = tokio::runtime::Builder::new_multi_thread().max_blocking_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::new(GRACE);
            let (go, wait) = std::sync::mpsc::channel::<()>();
            let busy = tokio::task::spawn_blocking(move || wait.recv());
            assert!(fixture.registry.overview(None).now_or_never().is_none());
            drop(go);
            // The permit is free again when the read has ended.
            drop(fixture.registry.overviews.turn.acquire().await.unwrap());
            assert!(fixture.registry.overviews.fresh(None).is_some());
            busy.await.unwrap().unwrap_err();
        });
    }
}
