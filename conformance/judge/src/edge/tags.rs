//! Tag lists and their pages (rows 114, 115, 117-120).

use anyhow::{Context, ensure};
use harness::expect::{self, Faults};
use harness::manifest::index;
use harness::site::{Repo, Site, with_query};

/// A repository with these tags on one manifest.
pub fn tagged(site: &Site, tags: &[&str]) -> anyhow::Result<Repo> {
    let repo = site.repo("a");
    for tag in tags {
        repo.store(tag, &index(&[]))?;
    }
    Ok(repo)
}

/// One page, and whether it has a `Link` to a next one.
fn page(repo: &Repo, query: &str) -> anyhow::Result<(Vec<String>, Option<String>)> {
    let answer = repo.get(&with_query(&repo.tags(), query))?;
    let tags = expect::tag_names(&answer).with_context(|| query.to_owned())?;
    expect::header(&answer, "Content-Type", "application/json")
        .or_else(|_| expect::header(&answer, "Content-Type", "application/json; charset=utf-8"))?;
    Ok((tags, expect::next_link(&answer)?))
}

/// Expects a page with exactly these tags, and with or without a `Link`.
pub fn is_page(repo: &Repo, query: &str, want: &[&str], more: bool) -> anyhow::Result<()> {
    let (tags, link) = page(repo, query)?;
    ensure!(tags == want, "?{query} gives {tags:?}, not {want:?}");
    // Other registries need not send a `Link`, and must not send one if no tags were requested.
    let links = link.is_some() == more || (!repo.target.own && !query.starts_with("n=0"));
    ensure!(links, "?{query} has Link {link:?}");
    Ok(())
}

/// All pages from a query on, following `Link`. Limited, so that a Link to itself ends.
pub fn follow(repo: &Repo, query: &str) -> anyhow::Result<Vec<String>> {
    let mut all = Vec::new();
    let mut path = with_query(&repo.tags(), query);
    for _ in 0..100 {
        let answer = repo.get(&path)?;
        let tags = expect::tag_names(&answer)?;
        let last = tags.last().cloned();
        all.extend(tags);
        match (expect::next_link(&answer)?, last) {
            (Some(next), _) => path = harness::site::local_path(&repo.target, &next)?,
            // `Link` is optional.
            (None, Some(last)) if !repo.target.own => path = with_query(&repo.tags(), &format!("{query}&last={last}")),
            (None, _) => return Ok(all),
        }
    }
    anyhow::bail!("100 pages and no end")
}

pub fn a_page_of_none(site: &Site) -> anyhow::Result<()> {
    let repo = tagged(site, &["a", "b"])?;
    is_page(&repo, "n=0", &[], false)?;
    is_page(&repo, "n=0&last=a", &[], false)
}

pub fn page_sizes_that_are_no_number(site: &Site) -> anyhow::Result<()> {
    let repo = tagged(site, &["a", "b"])?;
    let mut faults = Faults::default();
    for size in ["-1", "abc", "1.5", "9223372036854775808", "99999999999999999999999"] {
        let answer = repo.get(&with_query(&repo.tags(), &format!("n={size}")))?;
        faults.check(size, expect::error(&answer, &[400], &["UNSUPPORTED"]));
    }
    faults.finish()
}

pub fn exactly_the_last_page(site: &Site) -> anyhow::Result<()> {
    let repo = tagged(site, &["d", "b", "a", "c"])?;
    let mut faults = Faults::default();
    faults.check("whole", is_page(&repo, "", &["a", "b", "c", "d"], false));
    faults.check("n=4", is_page(&repo, "n=4", &["a", "b", "c", "d"], false));
    faults.check("n=5", is_page(&repo, "n=5", &["a", "b", "c", "d"], false));
    faults.check("n=2", is_page(&repo, "n=2", &["a", "b"], true));
    faults.check("rest", is_page(&repo, "n=2&last=b", &["c", "d"], false));
    for size in 1..=3 {
        let all = follow(&repo, &format!("n={size}"));
        let all =
            all.and_then(|all| expect::that(all == ["a", "b", "c", "d"], || format!("pages of {size} give {all:?}")));
        faults.check("follow", all);
    }
    faults.finish()
}

pub fn last_need_not_exist(site: &Site) -> anyhow::Result<()> {
    let repo = tagged(site, &["B", "a", "b", "c"])?;
    let mut faults = Faults::default();
    // Byte order and case-insensitive order agree about the tags after these.
    for (query, want) in [
        ("last=aa", vec!["b", "c"]),
        ("last=b", vec!["c"]),
        ("last=zzz", vec![]),
        ("n=1&last=bb", vec!["c"]),
        ("last=.not-a-tag!", vec!["B", "a", "b", "c"]),
    ] {
        if !site.target.own && query.contains("not-a-tag") {
            continue;
        }
        let result = page(&repo, query).and_then(|(tags, _)| {
            // In a case-insensitive order B may be next to b.
            let tags: Vec<_> = tags.into_iter().filter(|tag| tag != "B" || want.contains(&"B")).collect();
            let mut sorted = tags.clone();
            sorted.sort();
            expect::that(sorted == want, || format!("?{query} gives {tags:?}"))
        });
        faults.check(query, result);
    }
    if repo.delete(&repo.manifest("b"))?.status == 202 {
        faults.check("deleted", is_page(&repo, "last=b", &["c"], false));
    }
    faults.finish()
}

pub fn a_repository_without_tags(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let manifest = index(&[]);
    repo.store(&manifest.digest(), &manifest)?;
    let mut faults = Faults::default();
    faults.check("pushed by digest only", is_page(&repo, "", &[], false));
    repo.store("gone", &manifest)?;
    expect::status(&repo.delete(&repo.manifest("gone"))?, &[202])?;
    faults.check("its only tag deleted", is_page(&repo, "", &[], false));
    expect::status(&repo.delete(&repo.manifest(&manifest.digest()))?, &[202])?;
    faults.check("its only manifest deleted", is_page(&repo, "", &[], false));
    faults.finish()
}

pub fn tags_that_come_and_go_while_paging(site: &Site) -> anyhow::Result<()> {
    let repo = tagged(site, &["b", "d", "f", "h"])?;
    let (first, link) = page(&repo, "n=2")?;
    ensure!(first == ["b", "d"], "first page {first:?}");
    let Some(next) = link else { return Err(expect::not_here("no Link on a page that is not the last")) };
    for tag in ["a", "e"] {
        repo.store(tag, &index(&[]))?;
    }
    expect::status(&repo.delete(&repo.manifest("b"))?, &[202])?;
    let answer = repo.get(&harness::site::local_path(&repo.target, &next)?)?;
    let second = expect::tag_names(&answer)?;
    ensure!(second == ["e", "f"], "second page {second:?}");
    is_page(&repo, "n=2&last=f", &["h"], false)
}
