//! Tags set together with a push by digest (rows 104, 105).

use harness::expect::{self, Faults};
use harness::manifest::IMAGE;
use harness::site::{ALGORITHMS, Site, digest, with_query};

pub fn tag_parameters(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let manifest = repo.image("one")?;
    let query = |tags: &[String]| tags.iter().map(|tag| format!("tag={tag}")).collect::<Vec<_>>().join("&");
    let put = |reference: &str, query: &str| {
        repo.put_as(&with_query(&repo.manifest(reference), query), IMAGE, &manifest.bytes)
    };
    let mut faults = Faults::default();
    let probes = [repo.tags(), repo.manifest(&manifest.digest()), repo.manifest("good")];
    let result = repo.unchanged(&probes, || {
        let answer = put(&manifest.digest(), "tag=good&tag=.bad")?;
        expect::error(&answer, &[400], &["MANIFEST_INVALID"])
    });
    faults.check("an invalid tag among them", result);
    let many: Vec<_> = (0..2000).map(|number| format!("t{number}")).collect();
    let result = repo.unchanged(&probes, || expect::status(&put(&manifest.digest(), &query(&many))?, &[414]));
    faults.check("too many", result);
    let ten: Vec<_> = (0..10).map(|number| format!("v{number}")).collect();
    let answer = put(&manifest.digest(), &query(&ten))?;
    faults.check("ten", expect::pushed(&repo, &answer, &manifest.digest(), &manifest.bytes));
    let mut accepted = expect::list(&answer, "OCI-Tag");
    accepted.sort();
    faults.check("OCI-Tag", expect::that(accepted == ten, || format!("OCI-Tag lists {accepted:?}")));
    for tag in &ten {
        faults.check(tag, expect::pulled(&repo, &repo.manifest(tag), &manifest.digest(), &manifest.bytes));
    }
    let answer = put("plain", "tag=ignored")?;
    faults.check("on a tag push", expect::pushed(&repo, &answer, &manifest.digest(), &manifest.bytes));
    faults.check("on a tag push", expect::no_header(&answer, "OCI-Tag"));
    faults.check("on a tag push", expect::absent(&repo, &repo.manifest("ignored")));
    faults.finish()
}

pub fn digest_parameter(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let mut faults = Faults::default();
    for algorithm in ALGORITHMS {
        let manifest = repo.image(algorithm)?;
        let want = digest(algorithm, &manifest.bytes);
        let path = with_query(&repo.manifest(algorithm), &format!("digest={want}"));
        let answer = repo.put_as(&path, IMAGE, &manifest.bytes)?;
        faults.check(algorithm, expect::pushed(&repo, &answer, &want, &manifest.bytes));
        for reference in [algorithm, &want] {
            faults.check(algorithm, expect::pulled(&repo, &repo.manifest(reference), &want, &manifest.bytes));
        }
        let other = with_query(&repo.manifest("other"), &format!("digest={}", digest(algorithm, b"other")));
        let answer = repo.put_as(&other, IMAGE, &manifest.bytes)?;
        faults.check("another's digest", expect::error(&answer, &[400], &["DIGEST_INVALID"]));
        faults.check("another's digest", expect::absent(&repo, &repo.manifest("other")));
    }
    faults.finish()
}
