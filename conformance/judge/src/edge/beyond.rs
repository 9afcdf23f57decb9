//! Optional features that the numbered table lacks (rows B1-B10).

use anyhow::{Context, ensure};
use harness::client::{Request, Response};
use harness::expect::{self, Faults};
use harness::manifest::{IMAGE, INDEX, Manifest, index};
use harness::site::{ALGORITHMS, Session, Site, digest, local_path, reading, sha256, with_query};
use serde_json::json;

use super::referrers::{descriptors, listed};

pub fn tag_parameters_of_every_algorithm(site: &Site) -> anyhow::Result<()> {
    let mut faults = Faults::default();
    for algorithm in ALGORITHMS {
        let repo = site.repo(algorithm);
        let manifest = repo.image("one")?;
        let want = digest(algorithm, &manifest.bytes);
        let path = with_query(&repo.manifest(&want), "tag=b&tag=a&tag=b");
        let answer = repo.put_as(&path, IMAGE, &manifest.bytes)?;
        faults.check(algorithm, expect::pushed(&repo, &answer, &want, &manifest.bytes));
        let mut tags = expect::list(&answer, "OCI-Tag");
        tags.sort();
        tags.dedup();
        faults.check(algorithm, expect::that(tags == ["a", "b"], || format!("OCI-Tag lists {tags:?}")));
        for tag in ["a", "b"] {
            faults.check(algorithm, expect::pulled(&repo, &repo.manifest(tag), &want, &manifest.bytes));
        }
        let listed = expect::tag_names(&repo.get(&repo.tags())?);
        faults.check(algorithm, listed.and_then(|tags| expect::that(tags == ["a", "b"], || format!("tags {tags:?}"))));
    }
    faults.finish()
}

pub fn extensions_are_discovered(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    repo.push_image("latest")?;
    let mut faults = Faults::default();
    let mut absent = 0;
    for path in ["/v2/_oci/ext/discover".to_owned(), repo.path("_oci/ext/discover")] {
        let answer = site.send(&Request::get(path.clone()))?;
        absent += usize::from(answer.status == 404);
        faults.check(&path, if answer.status == 404 { Ok(()) } else { extension_list(&answer) });
    }
    faults.finish()?;
    if absent == 2 {
        Err(expect::not_here("this registry has no extension discovery, which is optional"))
    } else {
        Ok(())
    }
}

fn extension_list(answer: &Response) -> anyhow::Result<()> {
    answer.expect(200)?;
    let body = answer.json()?;
    let list = body["extensions"].as_array().context("extensions is not a list")?;
    for extension in list {
        for member in ["name", "url"] {
            ensure!(extension[member].is_string(), "no {member} in {extension}");
        }
        ensure!(extension["endpoints"].is_array(), "no endpoints in {extension}");
    }
    Ok(())
}

pub fn the_largest_chunk(site: &Site) -> anyhow::Result<()> {
    const TRIED: usize = 128 << 20;
    let repo = site.repo("a");
    let begun = repo.send(&Request::new("POST", repo.uploads()))?;
    let Some(most) = begun.header("OCI-Chunk-Max-Length") else {
        return Err(expect::not_here("no OCI-Chunk-Max-Length, which is optional"));
    };
    let most: usize = most.parse().context("OCI-Chunk-Max-Length")?;
    ensure!(most > 0, "no chunk is allowed");
    if let Some(least) = begun.header("OCI-Chunk-Min-Length") {
        ensure!(least.parse::<usize>()? <= most, "OCI-Chunk-Min-Length {least} over the maximum {most}");
    }
    if most > TRIED {
        return Ok(());
    }
    let bytes = site.noise("chunk", most + 1);
    let session = Session::of(&site.target, &begun)?;
    expect::status(&session.send(&session.ranged(0, &bytes[..most]))?, &[202])?;
    session.holds(most)?;
    // The header is advice to clients. One byte more may be accepted; a refusal must say that it is too large.
    let other = repo.begin()?;
    let over = other.send(&other.ranged(0, &bytes))?;
    if over.status == 202 {
        return other.holds(most + 1);
    }
    expect::error(&over, &[413], &["SIZE_INVALID"])?;
    other.holds(0)
}

pub fn referrers_in_pages(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let subject = repo.push_image("subject")?;
    let mut want = Vec::new();
    for number in 0..7 {
        let kind = if number % 2 == 0 { "application/vnd.example.even" } else { "application/vnd.example.odd" };
        want.push(repo.attach(kind, &subject.descriptor(), &json!({"number": number.to_string()}))?.digest());
    }
    want.sort();
    let mut faults = Faults::default();
    for query in ["n=3", "n=7", "n=1000", "n=1"] {
        let all = listed(&repo, &subject.digest(), query);
        faults.check(
            query,
            all.and_then(|all| expect::that(all == want, || format!("{} of 7 over all pages", all.len()))),
        );
    }
    let path = with_query(&repo.referrers(&subject.digest()), "n=3");
    let first = repo.get(&path)?;
    let shown = first.json()?["manifests"].as_array().map_or(0, Vec::len);
    faults.check("page size", expect::that(shown == 3, || format!("n=3 gives {shown}")));
    faults.check("Link", expect::that(expect::next_link(&first)?.is_some(), || "no Link after 3 of 7".to_owned()));
    let even = descriptors(&repo, &subject.digest(), "n=1&artifactType=application/vnd.example.even")?;
    faults.check("a filter over pages", expect::that(even.len() == 4, || format!("{} of 4", even.len())));
    faults.finish()
}

pub fn catalog_in_pages(site: &Site) -> anyhow::Result<()> {
    let word = site.word();
    let names: Vec<_> = ["a", "b", "c"].iter().map(|tail| format!("{word}/{tail}")).collect();
    for name in &names {
        site.repo_named(name).push_image("latest")?;
    }
    let ask = |path: &str| {
        let answer = site.send(&Request::get(path))?;
        answer.expect(200)?;
        anyhow::Ok((expect::strings(&answer.json()?, "repositories")?, expect::next_link(&answer)?))
    };
    let (first, link) = ask(&format!("/v2/_catalog?n=2&last={word}"))?;
    ensure!(first == names[..2], "n=2 from {word} on gives {first:?}");
    let next = local_path(&site.target, &link.context("no Link with a repository left")?)?;
    let (second, _) = ask(&next)?;
    ensure!(second.first() == names.last(), "the next page begins with {:?}", second.first());
    for same in [format!("/v2/_catalog/?n=2&last={word}"), format!("/v2/_catalog?n=&last={word}")] {
        let (shown, _) = ask(&same)?;
        ensure!(shown.starts_with(&names[..2]), "{same} gives {shown:?}");
    }
    let (none, link) = ask("/v2/_catalog?n=0")?;
    ensure!(none.is_empty() && link.is_none(), "n=0 gives {none:?}, Link {link:?}");
    let answer = site.send(&Request::get("/v2/_catalog?n=abc"))?;
    expect::error(&answer, &[400], &["UNSUPPORTED"])
}

pub fn fallback_tags_do_not_double(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let subject = repo.push_image("subject")?;
    let one = repo.attach("application/vnd.example.one", &subject.descriptor(), &json!({}))?;
    let fallback = subject.digest().replace(':', "-");
    let list = index(&[one.descriptor()]);
    repo.store(&fallback, &list)?;
    let found = listed(&repo, &subject.digest(), "")?;
    ensure!(found == [one.digest()], "with its fallback tag {found:?}");
    expect::pulled(&repo, &repo.manifest(&fallback), &list.digest(), &list.bytes)?;
    expect::status(&repo.delete(&repo.manifest(&fallback))?, &[202])?;
    let found = listed(&repo, &subject.digest(), "")?;
    ensure!(found == [one.digest()], "without its fallback tag {found:?}");
    Ok(())
}

pub fn blobs_by_condition(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let digest = repo.push_blob(&site.noise("blob", 3000))?;
    super::pulls::conditional(site, &repo.blob(&digest), &digest)
}

pub fn every_algorithm_by_every_style(site: &Site) -> anyhow::Result<()> {
    let mut faults = Faults::default();
    for algorithm in site.algorithms() {
        for (number, style) in site.styles().iter().enumerate() {
            let repo = site.repo(&format!("{algorithm}-{number}"));
            let bytes = site.noise(&format!("{algorithm} {number}"), 70_001);
            let want = digest(algorithm, &bytes);
            let result = repo.push_blob_as(*style, &want, &bytes);
            let result = result.and_then(|answer| expect::pushed(&repo, &answer, &want, &bytes));
            faults.check(&format!("{algorithm} {style:?}"), result);
        }
        let repo = site.repo(&format!("{algorithm}-manifest"));
        let manifest = repo.image("one")?;
        let want = digest(algorithm, &manifest.bytes);
        let result = repo.put(&want, &manifest);
        let result = result.and_then(|answer| expect::pushed(&repo, &answer, &want, &manifest.bytes));
        faults.check(&format!("{algorithm} manifest"), result);
    }
    faults.finish()
}

pub fn every_answer_names_the_api(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let manifest = repo.push_image("latest")?;
    let blob = repo.push_blob(b"{}")?;
    let session = repo.begin()?;
    let paths = [
        "/v2/".to_owned(),
        "/v2/nothing-here".to_owned(),
        repo.manifest("latest"),
        repo.manifest("nope"),
        repo.blob(&blob),
        repo.blob("sha256:short"),
        repo.tags(),
        repo.referrers(&manifest.digest()),
        session.location.clone(),
        "/v2/Bad/tags/list".to_owned(),
    ];
    let mut faults = Faults::default();
    for path in paths {
        for method in ["GET", "HEAD", "PROPFIND"] {
            let answer = site.send(&Request::new(method, path.clone()))?;
            let named = expect::header(&answer, "Docker-Distribution-Api-Version", "registry/2.0");
            faults.check(&format!("{method} {path}"), named);
        }
    }
    faults.finish()
}

pub fn blobs_come_as_they_are(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let bytes = vec![b'a'; 100_000];
    let digest = repo.push_blob(&bytes)?;
    let list = Manifest::new(INDEX, &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}));
    repo.store("latest", &list)?;
    let mut faults = Faults::default();
    for (path, want) in [(repo.blob(&digest), bytes), (repo.manifest("latest"), list.bytes.clone())] {
        let answer = repo.send(&reading("GET", &path).header("Accept-Encoding", "gzip, zstd, br, deflate"))?;
        faults.check(&path, expect::no_header(&answer, "Content-Encoding"));
        faults.check(&path, expect::that(answer.body == want, || "other bytes than were pushed".to_owned()));
        if site.target.own {
            faults.check(&path, expect::header(&answer, "ETag", &format!("\"{}\"", sha256(&want))));
        }
    }
    if !site.target.own {
        return faults.finish();
    }
    let answer = repo.get(&repo.blob(&digest))?;
    faults.check("blob", expect::header(&answer, "Accept-Ranges", "bytes"));
    faults.check("blob", expect::header(&answer, "Content-Type", "application/octet-stream"));
    faults.finish()
}

/// In a query `+` is a plus (RFC 3986), unlike in HTML forms.
pub fn a_plus_in_a_query_is_a_plus(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let subject = repo.push_image("subject")?;
    let kind = "application/vnd.example.signature+json";
    let one = repo.attach(kind, &subject.descriptor(), &json!({}))?;
    let mut faults = Faults::default();
    for (text, count) in [(kind.to_owned(), 1), (kind.replace('+', "%2B"), 1), (kind.replace('+', "%20"), 0)] {
        let found = listed(&repo, &subject.digest(), &format!("artifactType={text}"))?;
        let right = found == vec![one.digest(); count];
        faults.check(&text, expect::that(right, || format!("{} referrers instead of {count}", found.len())));
    }
    // In values that cannot contain a plus, both forms are invalid.
    let (digest, image) = (subject.digest(), repo.image("other")?);
    let odd = digest.replace(':', "+x:");
    for (method, path, query) in [
        ("GET", repo.tags(), "n=1+1".to_owned()),
        ("GET", repo.tags(), "last=a+b".to_owned()),
        ("GET", "/v2/_catalog".to_owned(), "last=a+b".to_owned()),
        ("POST", repo.uploads(), format!("digest={odd}")),
        ("POST", repo.uploads(), format!("mount={odd}&from=a")),
        ("POST", repo.uploads(), format!("mount={digest}&from=a+b")),
        ("PUT", repo.manifest(&image.digest()), "tag=a+b".to_owned()),
        ("PUT", repo.manifest("x"), format!("digest={odd}")),
    ] {
        let ask = |query: &str| {
            let request = Request::new(method, with_query(&path, query));
            let request = if method == "PUT" { request.body(image.bytes.clone()) } else { request };
            let answer = repo.send(&request.header("Content-Type", IMAGE))?;
            anyhow::Ok((answer.status, if answer.status < 300 { Vec::new() } else { answer.body }))
        };
        let (plain, encoded) = (ask(&query)?, ask(&query.replace('+', "%2B"))?);
        faults.check(&query, expect::that(plain == encoded, || format!("{} but {} encoded", plain.0, encoded.0)));
    }
    faults.finish()
}

pub fn if_match_on_reads(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let manifest = repo.push_image("latest")?;
    let blob = repo.push_blob(&site.noise("blob", 3000))?;
    let mut faults = Faults::default();
    for (path, digest) in [
        (repo.manifest("latest"), manifest.digest()),
        (repo.manifest(&manifest.digest()), manifest.digest()),
        (repo.blob(&blob), blob.clone()),
    ] {
        let etag = format!("\"{digest}\"");
        for (asked, none, status) in [
            (etag.clone(), None, 200),
            (format!("\"x,y\" , {etag}"), None, 200),
            ("*".to_owned(), None, 200),
            ("\"sha256:0000\"".to_owned(), None, 412),
            (format!("W/{etag}"), None, 412),
            (digest.clone(), None, 412),
            ("\"sha256:0000\"".to_owned(), Some(&etag), 412),
            (etag.clone(), Some(&etag), 304),
        ] {
            for method in ["GET", "HEAD"] {
                let request = reading(method, &path).header("If-Match", &asked).header("Range", "bytes=9000-");
                let request = none.map_or(request.clone(), |none| request.header("If-None-Match", none));
                // Conditions are evaluated before the range, which lies beyond the end of the blob.
                let want = if status == 200 && method == "GET" && path == repo.blob(&blob) { 416 } else { status };
                let answer = repo.send(&request)?;
                faults.check(&format!("{method} {path} {asked}"), expect::status(&answer, &[want]));
            }
        }
    }
    let nothing = repo.send(&reading("GET", &repo.manifest("nope")).header("If-Match", "\"x\""))?;
    faults.check("what is not there", expect::status(&nothing, &[404]));
    faults.finish()
}

pub fn conditional_deletes(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let manifest = repo.push_image("latest")?;
    let blob = repo.push_blob(&site.noise("blob", 3000))?;
    let mut faults = Faults::default();
    for (path, digest) in [
        (repo.blob(&blob), blob.clone()),
        (repo.manifest("latest"), manifest.digest()),
        (repo.manifest(&manifest.digest()), manifest.digest()),
    ] {
        let etag = format!("\"{digest}\"");
        for (name, asked, status) in [
            ("If-Match", "\"sha256:0000\"".to_owned(), 412),
            ("If-Match", format!("W/{etag}"), 412),
            ("If-None-Match", "*".to_owned(), 412),
            ("If-None-Match", etag.clone(), 412),
            ("If-Match", format!("\"x\", {etag}"), 202),
            // Conditions count only where the request would succeed without them (RFC 9110 13.2.1).
            ("If-Match", "*".to_owned(), 404),
        ] {
            let answer = repo.send(&Request::new("DELETE", path.clone()).header(name, &asked))?;
            faults.check(&format!("DELETE {path} {name}: {asked}"), expect::status(&answer, &[status]));
            let there = reading("HEAD", &path);
            let want = if status == 412 { 200 } else { 404 };
            faults.check(&format!("{path} after {name}: {asked}"), expect::status(&repo.send(&there)?, &[want]));
        }
    }
    faults.finish()
}

/// RFC 9110 8.6: no `Content-Length` with 204, and with 304 only the one that GET would have.
pub fn no_length_without_content(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let manifest = repo.push_image("latest")?;
    let blob = repo.push_blob(&site.noise("blob", 3000))?;
    let session = repo.begin()?;
    let mut faults = Faults::default();
    let methods: &[&str] = if site.target.own { &["GET", "HEAD", "DELETE"] } else { &["GET"] };
    for method in methods {
        let answer = repo.send(&Request::new(method, session.location.clone()))?;
        faults.check(method, expect::status(&answer, &[204]));
        faults.check(method, expect::no_header(&answer, "Content-Length"));
    }
    for (path, length) in [(repo.manifest("latest"), manifest.bytes.len()), (repo.blob(&blob), 3000)] {
        for method in ["GET", "HEAD"] {
            let answer = repo.send(&reading(method, &path).header("If-None-Match", "*"))?;
            if !answer.own && answer.status != 304 {
                continue;
            }
            faults.check(method, expect::status(&answer, &[304]));
            let said = answer.header("Content-Length").map(str::to_owned);
            let right = said.is_none() || said == Some(length.to_string());
            faults.check(method, expect::that(right, || format!("{method} {path}: Content-Length {said:?}")));
        }
    }
    faults.finish()
}
