//! Manifest bodies and media types: accepted with every byte kept, or refused (rows 83-90, 98-103).

use anyhow::{anyhow, ensure};
use harness::client::Request;
use harness::expect::{self, Faults};
use harness::manifest::{CONFIG, DOCKER_IMAGE, IMAGE, INDEX, LAYER, Manifest, described, image, index};
use harness::site::{Repo, Site, sha256};
use serde_json::{Value, json};

/// Expects a push by tag to be accepted, and the same bytes and type under its digest.
pub fn accepted(repo: &Repo, tag: &str, manifest: &Manifest) -> anyhow::Result<()> {
    let answer = repo.put(tag, manifest)?;
    expect::pushed(repo, &answer, &manifest.digest(), &manifest.bytes)?;
    for reference in [tag, &manifest.digest()] {
        expect::pulled(repo, &repo.manifest(reference), &manifest.digest(), &manifest.bytes)?;
        expect::header(&repo.get(&repo.manifest(reference))?, "Content-Type", &manifest.media_type)?;
    }
    Ok(())
}

/// Expects a refusal by tag and by digest, with this code, and no change.
pub fn refused(repo: &Repo, manifest: &Manifest, code: &str) -> anyhow::Result<()> {
    let digest = manifest.digest();
    repo.unchanged(&[repo.tags(), repo.manifest("latest"), repo.manifest(&digest)], || {
        expect::error(&repo.put("latest", manifest)?, &[400], &[code])?;
        expect::error(&repo.put(&digest, manifest)?, &[400], &[code])
    })
}

fn refused_all(site: &Site, cases: Vec<(&str, Manifest)>) -> anyhow::Result<()> {
    let repo = site.repo("a");
    repo.push_image("latest")?;
    let mut faults = Faults::default();
    for (what, manifest) in cases {
        faults.check(what, refused(&repo, &manifest, "MANIFEST_INVALID"));
    }
    faults.finish()
}

pub fn manifests_up_to_4_mib(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let base = repo.image("big")?;
    let largest = if site.target.own { 4 << 20 } else { 4_000_000 };
    for size in [3_900_000, largest] {
        let empty = base.with("annotations", json!({"pad": ""}));
        let pad = "x".repeat(size - empty.bytes.len());
        let big = base.with("annotations", json!({"pad": pad}));
        ensure!(big.bytes.len() == size, "the builder made {} bytes", big.bytes.len());
        accepted(&repo, "big", &big)?;
    }
    let chunked = base.with("annotations", json!({"pad": "y".repeat(3_900_000)}));
    let put = Request::new("PUT", repo.manifest("chunked")).header("Content-Type", IMAGE);
    let answer = repo.send(&put.chunked(chunked.bytes.clone(), 60_000))?;
    expect::pushed(&repo, &answer, &chunked.digest(), &chunked.bytes)
}

pub fn bodies_that_are_no_manifest(site: &Site) -> anyhow::Result<()> {
    let good = site.repo("a").image("good")?.bytes;
    let raw = |bytes: Vec<u8>| Manifest::raw(IMAGE, bytes);
    let text = String::from_utf8(good.clone())?;
    let depth = format!("{{\"schemaVersion\":2,\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let cases = vec![
        ("empty", raw(Vec::new())),
        ("not JSON", raw(b"hello".to_vec())),
        ("a list", raw(b"[]".to_vec())),
        ("null", raw(b"null".to_vec())),
        ("truncated", raw(good[..good.len() - 1].to_vec())),
        ("BOM", raw([b"\xef\xbb\xbf".to_vec(), good.clone()].concat())),
        (
            "invalid UTF-8",
            raw(text
                .replace("layer", "la\u{1}yer")
                .into_bytes()
                .iter()
                .map(|b| if *b == 1 { 0xff } else { *b })
                .collect()),
        ),
        ("trailing garbage", raw([good.clone(), b"x".to_vec()].concat())),
        ("two objects", raw([good.clone(), good].concat())),
        ("a depth bomb", raw(depth.into_bytes())),
        ("an unclosed depth bomb", raw("[".repeat(1_000_000).into_bytes())),
    ];
    refused_all(site, cases)
}

pub fn odd_but_valid_bodies_are_kept(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let good = repo.image("good")?;
    let body = good.body();
    let layer = body["layers"][0].clone();
    let (config, layers) = (&body["config"], &body["layers"]);
    let reordered =
        format!("{{\n\t\"layers\" : {layers},\"config\":{config} ,\"mediaType\":\"{IMAGE}\",\"schemaVersion\":2}}");
    let cases = [
        ("trailing whitespace", Manifest::raw(IMAGE, [good.bytes.clone(), b" \r\n\t\n".to_vec()].concat())),
        ("odd key order", Manifest::raw(IMAGE, reordered)),
        ("unknown fields", good.with("org.example.unknown", json!({"deep": [1, 2.5, null, "é"]}))),
        ("duplicate layers", good.with("layers", json!([layer, layer, layer]))),
    ];
    let mut faults = Faults::default();
    for (number, (what, manifest)) in cases.iter().enumerate() {
        faults.check(what, accepted(&repo, &format!("t{number}"), manifest));
    }
    faults.finish()
}

pub fn schema_version_is_2(site: &Site) -> anyhow::Result<()> {
    let good = site.repo("a").image("good")?;
    let signed = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    let schema1 =
        json!({"schemaVersion": 1, "name": "a", "tag": "b", "architecture": "amd64", "fsLayers": [], "history": []});
    let mut cases = Vec::new();
    // Other registries may still accept what predates OCI.
    if site.target.own {
        cases.push(("schema1", Manifest::new(signed, &schema1)));
    }
    for version in [json!(1), json!(3), json!("2"), json!(null)] {
        cases.push(("schemaVersion", good.with("schemaVersion", version)));
    }
    refused_all(site, cases)
}

pub fn media_type_of_body_and_header_agree(site: &Site) -> anyhow::Result<()> {
    let good = site.repo("a").image("good")?;
    let list = index(&[]);
    refused_all(
        site,
        vec![
            ("image sent as index", Manifest::raw(INDEX, good.bytes.clone())),
            ("image sent as Docker's", Manifest::raw(DOCKER_IMAGE, good.bytes.clone())),
            ("index sent as image", Manifest::raw(IMAGE, list.bytes)),
            ("a mediaType that is no string", good.with("mediaType", json!(7))),
        ],
    )
}

pub fn content_type_with_parameters_or_missing(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let mut faults = Faults::default();
    let good = repo.push_image("latest")?;
    let answer = repo.put_as(&repo.manifest("p"), &format!("{IMAGE}; charset=utf-8"), &good.bytes)?;
    faults.check("parameters", expect::pushed(&repo, &answer, &good.digest(), &good.bytes));
    faults.check("parameters", typed(&repo, "p", IMAGE));
    if !site.target.own {
        return faults.finish();
    }
    let mut bare = repo.image("bare")?.body();
    bare.as_object_mut().ok_or_else(|| anyhow!("no object"))?.remove("mediaType");
    let bare_index = json!({"schemaVersion": 2, "manifests": []});
    let cases = [("body", good.body(), IMAGE), ("image", bare, IMAGE), ("index", bare_index, INDEX)];
    for (what, body, want) in cases {
        let put = Request::new("PUT", repo.manifest(what)).body(body.to_string());
        faults.check(what, repo.send(&put)?.expect(201).map(drop));
        faults.check(what, typed(&repo, what, want));
    }
    let shapeless = Request::new("PUT", repo.manifest("shapeless")).body("{\"schemaVersion\":2}");
    faults.check("shapeless", expect::error(&repo.send(&shapeless)?, &[400], &["MANIFEST_INVALID"]));
    faults.check("shapeless", expect::absent(&repo, &repo.manifest("shapeless")));
    faults.finish()
}

fn typed(repo: &Repo, tag: &str, want: &str) -> anyhow::Result<()> {
    expect::header(repo.get(&repo.manifest(tag))?.expect(200)?, "Content-Type", want)
}

pub fn the_header_alone_gives_the_type(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let mut body = repo.image("bare")?.body();
    body.as_object_mut().ok_or_else(|| anyhow!("no object"))?.remove("mediaType");
    let mut faults = Faults::default();
    faults.check("image", accepted(&repo, "image", &Manifest::new(IMAGE, &body)));
    body["layers"] = json!([]);
    faults.check("no layers", accepted(&repo, "bare", &Manifest::new(IMAGE, &body)));
    let list = Manifest::new(INDEX, &json!({"schemaVersion": 2, "manifests": []}));
    faults.check("index", accepted(&repo, "index", &list));
    faults.finish()
}

pub fn unknown_manifest_types(site: &Site) -> anyhow::Result<()> {
    let good = site.repo("a").image("good")?;
    let other = "application/vnd.example.unknown.v1+json";
    let said = good.with("mediaType", json!(other));
    refused_all(
        site,
        vec![
            ("unknown", Manifest::raw(other, said.bytes)),
            (
                "octets",
                Manifest::raw(
                    "application/octet-stream",
                    good.with("mediaType", json!("application/octet-stream")).bytes,
                ),
            ),
            ("a config's type", Manifest::raw(CONFIG, good.with("mediaType", json!(CONFIG)).bytes)),
        ],
    )
}

pub fn embedded_data_must_match(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    repo.push_image("latest")?;
    let layer = b"layer with data";
    repo.push_blob(b"{}")?;
    repo.push_blob(layer)?;
    let with_data = |data: &str| {
        let mut config = described(CONFIG, b"{}");
        config["data"] = Value::from(data);
        image(&config, &[described(LAYER, layer)])
    };
    // "e30=" is {} in base64, "W10=" is [].
    let mut faults = Faults::default();
    faults.check("matching", accepted(&repo, "data", &with_data("e30=")));
    faults.check("other bytes", refused(&repo, &with_data("W10="), "MANIFEST_INVALID"));
    faults.finish()
}

/// Go's clients ignore the case of keys, others do not. So they would see different manifests.
pub fn keys_that_clients_read_differently(site: &Site) -> anyhow::Result<()> {
    let good = String::from_utf8(site.repo("a").image("good")?.bytes)?;
    let raw = |text: String| Manifest::raw(IMAGE, text.into_bytes());
    let at_the_top = |more: &str| raw(good.replacen('{', &format!("{{{more},"), 1));
    let in_the_config = |more: &str| raw(good.replacen("\"digest\"", &format!("{more},\"digest\""), 1));
    let cases = vec![
        ("layers in capitals", at_the_top(r#""Layers":[]"#)),
        ("an index in capitals", at_the_top(r#""Manifests":[]"#)),
        ("layers twice", at_the_top(r#""layers":[]"#)),
        ("an unknown key twice", at_the_top(r#""x":1,"x":2"#)),
        ("a long s", at_the_top(r#""layerſ":[]"#)),
        ("an escaped capital", at_the_top(r#""\u004cayers":[]"#)),
        ("a digest in capitals", in_the_config(r#""Digest":"sha256:00""#)),
        ("a size in capitals", in_the_config(r#""SIZE":1"#)),
    ];
    refused_all(site, cases)?;
    let repo = site.repo("a");
    let annotated = repo.image("annotated")?.with("annotations", json!({"a": "1", "A": "2", "Layers": "3"}));
    accepted(&repo, "annotated", &annotated)
}

pub fn empty_lists_and_nested_indexes(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let child = repo.push_image("child")?;
    let config = child.body()["config"].clone();
    let inner = index(&[child.descriptor()]);
    let cases = [
        ("no-layers", image(&config, &[])),
        ("no-manifests", index(&[])),
        ("inner", inner.clone()),
        ("nested", index(&[inner.descriptor(), child.descriptor()])),
    ];
    let mut faults = Faults::default();
    for (tag, manifest) in cases {
        faults.check(tag, accepted(&repo, tag, &manifest));
    }
    faults.finish()
}

pub fn put_by_another_digest(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let good = repo.image("good")?;
    let spaced = Manifest::raw(IMAGE, [good.bytes.clone(), b"\n".to_vec()].concat());
    let mut faults = Faults::default();
    for (what, claimed) in [("another", sha256(b"another")), ("whitespace", good.digest())] {
        let probes = [repo.tags(), repo.manifest(&claimed), repo.manifest(&spaced.digest())];
        let result = repo.unchanged(&probes, || {
            let answer = repo.put(&claimed, &spaced)?;
            // The refusal is required, its form only recommended.
            let statuses: &[u16] = if answer.own { &[400] } else { &[400, 404, 409, 422] };
            expect::error(&answer, statuses, &["DIGEST_INVALID"])
        });
        faults.check(what, result);
    }
    faults.finish()
}

pub fn putting_again_changes_nothing(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let good = repo.push_image("latest")?;
    repo.unchanged(&[repo.tags(), repo.manifest("latest"), repo.manifest(&good.digest())], || {
        for reference in ["latest", &good.digest(), "latest"] {
            expect::pushed(&repo, &repo.put(reference, &good)?, &good.digest(), &good.bytes)?;
        }
        Ok(())
    })
}

pub fn two_clients_put_one_tag(site: &Site) -> anyhow::Result<()> {
    const ROUNDS: usize = 20;
    let repo = site.repo("a");
    for round in 0..ROUNDS {
        let both = [repo.image(&format!("{round} left"))?, repo.image(&format!("{round} right"))?];
        let answers = std::thread::scope(|scope| {
            let running = both.each_ref().map(|manifest| scope.spawn(|| repo.put("latest", manifest)));
            running.map(std::thread::ScopedJoinHandle::join)
        });
        for (answer, manifest) in answers.into_iter().zip(&both) {
            let answer = answer.map_err(|_| anyhow!("a client's thread died"))??;
            // A Location with the tag leads to whichever push was last.
            if answer.own {
                expect::pushed(&repo, &answer, &manifest.digest(), &manifest.bytes)?;
            }
            answer.expect(201)?;
            expect::pulled(&repo, &repo.manifest(&manifest.digest()), &manifest.digest(), &manifest.bytes)?;
        }
        let tagged = repo.get(&repo.manifest("latest"))?;
        ensure!(both.iter().any(|manifest| manifest.bytes == tagged.body), "the tag is neither");
    }
    Ok(())
}

pub fn conditional_puts(site: &Site) -> anyhow::Result<()> {
    let repo = site.repo("a");
    let (old, new) = (repo.push_image("latest")?, repo.image("new")?);
    let put = |tag: &str, name: &str, value: &str| {
        let request = Request::new("PUT", repo.manifest(tag)).header("Content-Type", IMAGE).header(name, value);
        repo.send(&request.body(new.bytes.clone()))
    };
    let probes = [repo.tags(), repo.manifest("latest")];
    let first = put("elsewhere", "If-Match", "\"sha256:0000\"")?;
    if first.status == 201 {
        return Err(expect::not_here("If-Match is ignored on PUT, which the table leaves optional"));
    }
    expect::status(&first, &[412])?;
    repo.unchanged(&probes, || {
        expect::status(&put("latest", "If-None-Match", "*")?, &[412])?;
        expect::status(&put("latest", "If-Match", &format!("\"{}\"", new.digest()))?, &[412])?;
        for known in [format!("\"x\", \"{}\"", old.digest()), format!("W/\"{}\"", old.digest())] {
            expect::status(&put("latest", "If-None-Match", &known)?, &[412])?;
        }
        Ok(())
    })?;
    expect::status(&put("fresh", "If-None-Match", "*")?, &[201])?;
    expect::status(&put("fresh", "If-None-Match", &format!("\"{}\"", old.digest()))?, &[201])?;
    expect::status(&put("latest", "If-Match", &format!("\"{}\"", old.digest()))?, &[201])?;
    expect::pulled(&repo, &repo.manifest("latest"), &new.digest(), &new.bytes)
}
