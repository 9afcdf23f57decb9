//! Queries about copies of content, and about content that lacks them. They work on the index and on a view.

use super::queries::{self, page, read_json};
use super::schema::{HolderKind, Key, KeyReader, Table};
use super::source::{Fault, Source};
use crate::catalog::fact::{Locator, Visibility};
use crate::catalog::page::Page;
use crate::catalog::places::{Elsewhere, Lacking, LackingPage, Placement, UnitRootsList, Wanted};
use crate::oci::{Digest, RepositoryName};

/// Bytes of one root in a list of unit roots.
const ROOT_BYTES: u64 = 32;

/// Sorts after all holders of a digest, since no kind of holder has this byte.
const AFTER_HOLDERS: u8 = 0xff;

/// The list of unit roots of content; `None` if it is unknown.
pub(crate) fn unit_roots(source: &impl Source, digest: &Digest) -> Result<Option<UnitRootsList>, Fault> {
    let payload = source.get(&Key::of(Table::UnitRoots).digest(digest).bytes())?;
    payload.map(|payload| read_json(&payload)).transpose()
}

/// The record of one copy of content.
pub(crate) fn placement(source: &impl Source, digest: &Digest, locator: &Locator) -> Result<Option<Placement>, Fault> {
    let payload = source.get(&Key::of(Table::Placement).digest(digest).locator(locator).bytes())?;
    payload.map(|payload| read_json(&payload)).transpose()
}

/// The placements of content, including those with a pending unpin.
pub(crate) fn placements(source: &impl Source, digest: &Digest, limit: usize) -> Result<Vec<Placement>, Fault> {
    let prefix = Key::of(Table::Placement).digest(digest).bytes();
    Ok(page(source, &prefix, None, limit, |_, payload| serde_json::from_slice(payload).ok())?.items)
}

/// Placements with a pending unpin after `after`, in the order of digest and locator.
pub(crate) fn pending_unpins(
    source: &impl Source,
    after: Option<&(Digest, Locator)>,
    limit: usize,
) -> Result<Page<(Digest, Placement)>, Fault> {
    let prefix = Key::of(Table::Unpin);
    let after = after.map(|(digest, locator)| prefix.clone().digest(digest).locator(locator).bytes());
    let prefix = prefix.bytes();
    let found =
        page(source, &prefix, after.as_deref(), limit, |mut key, _| Some((key.digest()?, key.rest().to_vec())))?;
    let mut items = Vec::with_capacity(found.items.len());
    for (digest, place) in found.items {
        let key = [Key::of(Table::Placement).digest(&digest).bytes(), place].concat();
        // An entry removed since the scan is skipped.
        if let Some(payload) = source.get(&key)? {
            items.push((digest, read_json(&payload)?));
        }
    }
    Ok(Page { items, more: found.more })
}

/// The length of content; `None` if it is unreferenced.
pub(crate) fn referenced_size(source: &impl Source, digest: &Digest) -> Result<Option<u64>, Fault> {
    match holders(source, digest, 1)?.pop() {
        Some(holder) => size_by(source, digest, &holder),
        None => Ok(None),
    }
}

fn size_by(source: &impl Source, digest: &Digest, holder: &Holder) -> Result<Option<u64>, Fault> {
    match holder {
        Holder::Repository(HolderKind::Blob, repository) => queries::blob(source, repository, digest),
        Holder::Repository(_, repository) => {
            Ok(queries::manifest(source, repository, digest)?.map(|manifest| manifest.size))
        }
        Holder::Content(of) => Ok(unit_roots(source, of)?.map(|roots| roots.units * ROOT_BYTES)),
    }
}

/// The length of referenced content without enough copies; `None` for other content.
pub(crate) fn lacking(source: &impl Source, digest: &Digest, wanted: &Wanted) -> Result<Option<u64>, Fault> {
    referenced_unless(source, digest, wanted, Wanted::is_met)
}

/// The state of a piece of content at this node's backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stands {
    /// Its length, if it is referenced and lacks copies.
    pub(crate) lacking: Option<u64>,
    /// True if it is referenced, and its copies are not yet safe to rely on.
    pub(crate) unsettled: bool,
    /// True if it is referenced, and its copies are safe to rely on but lost with this machine.
    pub(crate) only_here: bool,
    /// True if it is referenced, and missing at an endpoint that had it.
    pub(crate) missing: bool,
    /// Its share in the counts of copies elsewhere.
    pub(crate) elsewhere: Elsewhere,
}

/// The state of a piece of content, for the counts.
pub(crate) fn stands(source: &impl Source, digest: &Digest, wanted: &Wanted) -> Result<Stands, Fault> {
    let placements = placements(source, digest, usize::MAX)?;
    let stuck = placements.iter().filter(|placement| placement.unpin_pending && !wanted.reaches(&placement.locator));
    let mut elsewhere = Elsewhere { content: 0, unpins: stuck.count() as u64 };
    let Some(holder) = holders(source, digest, 1)?.pop() else {
        return Ok(Stands { elsewhere, ..Stands::default() });
    };
    let away = |placement: &Placement| !placement.unpin_pending && wanted.is_partly_elsewhere(&placement.locator);
    elsewhere.content = placements.iter().any(away).into();
    // Repositories sort first.
    let only_a_list = matches!(holder, Holder::Content(_));
    let needs_none = only_a_list && !wanted.lists;
    let unsettled = !needs_none && !wanted.is_safe(&placements);
    let only_here = !needs_none && !unsettled && !wanted.survives(&placements);
    let placed = needs_none || wanted.is_met(&placements);
    let lacking = if placed { None } else { size_by(source, digest, &holder)? };
    let missing = placements.iter().any(|placement| wanted.is_missing(placement));
    Ok(Stands { lacking, unsettled, only_here, missing, elsewhere })
}

/// The length of referenced content whose placements are not `enough`.
fn referenced_unless(
    source: &impl Source,
    digest: &Digest,
    wanted: &Wanted,
    enough: Enough,
) -> Result<Option<u64>, Fault> {
    let Some(holder) = holders(source, digest, 1)?.pop() else { return Ok(None) };
    // Repositories sort first.
    let only_a_list = matches!(holder, Holder::Content(_));
    if (only_a_list && !wanted.lists) || enough(wanted, &placements(source, digest, usize::MAX)?) {
        return Ok(None);
    }
    size_by(source, digest, &holder)
}

/// The content whose unit roots are in this list.
pub(crate) fn listed(source: &impl Source, list: &Digest, limit: usize) -> Result<Vec<Digest>, Fault> {
    let prefix = Key::of(Table::Holder).digest(list).kind(HolderKind::UnitRoots).bytes();
    Ok(page(source, &prefix, None, limit, |mut key, _| key.digest())?.items)
}

/// True if content is a list of unit roots and nothing else references it.
pub(crate) fn is_only_a_list(source: &impl Source, digest: &Digest) -> Result<bool, Fault> {
    // Repositories sort first.
    Ok(matches!(holders(source, digest, 1)?.first(), Some(Holder::Content(_))))
}

/// True if a public repository references the content, or the content whose unit roots it lists.
pub(crate) fn is_public(source: &impl Source, digest: &Digest) -> Result<bool, Fault> {
    for holder in holders(source, digest, usize::MAX)? {
        let public = match holder {
            Holder::Repository(_, name) => queries::repository(source, &name)? == Some(Visibility::Public),
            // Lists of lists are not made by this program, so they are not followed further.
            Holder::Content(of) => {
                let mut public = false;
                for holder in holders(source, &of, usize::MAX)? {
                    if let Holder::Repository(_, name) = holder {
                        public |= queries::repository(source, &name)? == Some(Visibility::Public);
                    }
                }
                public
            }
        };
        if public {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Decides whether placements suffice.
pub(crate) type Enough = fn(&Wanted, &[Placement]) -> bool;

/// Examines up to `looks` referenced digests after `after`, and returns those whose placements are not `enough`.
pub(crate) fn referenced_page(
    source: &impl Source,
    wanted: &Wanted,
    after: Option<&Digest>,
    looks: usize,
    enough: Enough,
) -> Result<LackingPage, Fault> {
    let mut found = LackingPage { items: Vec::new(), next: None };
    let mut last = after.cloned();
    for _ in 0..looks {
        let Some(digest) = next_referenced(source, last.as_ref())? else { return Ok(found) };
        if let Some(size) = referenced_unless(source, &digest, wanted, enough)? {
            let public = is_public(source, &digest)?;
            found.items.push(Lacking { digest: digest.clone(), size, public });
        }
        last = Some(digest);
    }
    found.next = last;
    Ok(found)
}

/// Up to `limit` referenced digests after `after`. Fewer means the end.
pub(crate) fn referenced_after(
    source: &impl Source,
    after: Option<&Digest>,
    limit: usize,
) -> Result<Vec<Digest>, Fault> {
    let mut found: Vec<Digest> = Vec::new();
    while found.len() < limit {
        let Some(digest) = next_referenced(source, found.last().or(after))? else { break };
        found.push(digest);
    }
    Ok(found)
}

/// The next referenced digest.
pub(crate) fn next_referenced(source: &impl Source, after: Option<&Digest>) -> Result<Option<Digest>, Fault> {
    let prefix = Key::of(Table::Holder);
    let after = after.map(|digest| [prefix.clone().digest(digest).bytes(), vec![AFTER_HOLDERS]].concat());
    let prefix = prefix.bytes();
    Ok(page(source, &prefix, after.as_deref(), 1, |mut key, _| key.digest())?.items.pop())
}

/// A reference to content.
enum Holder {
    Repository(HolderKind, RepositoryName),
    Content(Digest),
}

fn holders(source: &impl Source, digest: &Digest, limit: usize) -> Result<Vec<Holder>, Fault> {
    let prefix = Key::of(Table::Holder).digest(digest).bytes();
    let holder = |mut key: KeyReader<'_>, _: &[u8]| match key.kind()? {
        HolderKind::UnitRoots => key.digest().map(Holder::Content),
        kind => key.repository().map(|name| Holder::Repository(kind, name)),
    };
    Ok(page(source, &prefix, None, limit, holder)?.items)
}

#[cfg(test)]
mod tests {
    use super::super::{Index, Stamp, View, project};
    use super::*;
    use crate::catalog::fact::Fact;

    fn digest(number: u64) -> Digest {
        format!("sha256:{number:064x}").parse().unwrap()
    }

    #[test]
    fn what_only_private_repositories_hold_is_told_apart() {
        let place = tempfile::tempdir().unwrap();
        let index = Index::open(place.path(), 1, 1 << 20, "journal").unwrap();
        let mut view = View::new(&index);
        let repository = |name: &str| name.parse::<RepositoryName>().unwrap();
        let exists = |name, visibility| Fact::Repository { repository: repository(name), visibility };
        let linked = |name, number| Fact::BlobLinked { repository: repository(name), digest: digest(number), size: 5 };
        let facts = [
            exists("secret", Visibility::Private),
            exists("z-open", Visibility::Public),
            linked("secret", 1),
            linked("secret", 2),
            linked("z-open", 2),
            Fact::UnitRoots { digest: digest(1), list: digest(11), units: 2 },
            Fact::UnitRoots { digest: digest(2), list: digest(12), units: 2 },
        ];
        for fact in &facts {
            project(fact, Stamp { sequence: 1, time: 1 }, &mut view).unwrap();
        }
        let (kind, profile) = ("memory".into(), String::new());
        let wanted = Wanted { kind, profile, endpoints: Vec::new(), here: Vec::new(), copies: 1, lists: true };
        let page = referenced_page(&view, &wanted, None, 10, Wanted::is_met).unwrap();
        let found: Vec<_> = page.items.into_iter().map(|item| (item.digest, item.size, item.public)).collect();
        let expected = [(1, 5, false), (2, 5, true), (11, 64, false), (12, 64, true)];
        assert_eq!(found, expected.map(|(number, size, public)| (digest(number), size, public)));
        let without = Wanted { lists: false, ..wanted };
        assert_eq!(referenced_page(&view, &without, None, 10, Wanted::is_met).unwrap().items.len(), 2);
    }
}
