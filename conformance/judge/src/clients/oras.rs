//! oras: images, artifacts with empty files, attached referrers.

use std::fs;

use anyhow::{Context, ensure};
use harness::layout::Image;
use harness::site::sha256;
use harness::verify;

use super::round::{ROW, Round, THREE_LAYERS};

pub fn run(round: &Round) -> anyhow::Result<()> {
    round.row("copy 20 MiB in 3 layers both ways by tag and digest", ROW, || {
        let image = round.image("image", &THREE_LAYERS)?;
        let reference = round.reference("image");
        let source = format!("{}:image", image.layout.display());
        round
            .program("oras")?
            .args(["cp", "--from-oci-layout", &source])
            .args(round.plain("--to-plain-http"))
            .arg(format!("{reference}:v1"))
            .run()?;
        verify::registry_holds(&round.target, &round.repository("image"), "v1", &image)?;
        for source in [format!("{reference}:v1"), format!("{reference}@{}", image.digest)] {
            let into = round.folder("pulled")?;
            let to = format!("{}:image", into.display());
            round
                .program("oras")?
                .args(["cp", "--to-oci-layout", &source, &to])
                .args(round.plain("--from-plain-http"))
                .run()?;
            verify::layout_holds(&into, &image)?;
        }
        Ok(())
    });
    round.row("multi-arch index both ways", ROW, || {
        let index = round.index("index")?;
        let reference = format!("{}:v1", round.reference("index"));
        let source = format!("{}:image", index.layout.display());
        round
            .program("oras")?
            .args(["cp", "--from-oci-layout", &source, &reference])
            .args(round.plain("--to-plain-http"))
            .run()?;
        verify::registry_holds_index(&round.target, &round.repository("index"), "v1", &index)?;
        let into = round.folder("pulled")?;
        let to = format!("{}:image", into.display());
        round
            .program("oras")?
            .args(["cp", "--to-oci-layout", &reference, &to])
            .args(round.plain("--from-plain-http"))
            .run()?;
        verify::layout_holds_index(&into, &index)
    });
    round.row("artifact with files of 0 and 1 byte", ROW, || tiny_files(round));
    round.row("attach, then discover with and without a filter", ROW, || attach(round));
    round.own_row("an index without one of its children is refused readably", ROW, || {
        let index = round.index("sparse")?;
        let path = round.path("sparse.json");
        fs::write(&path, &index.manifest)?;
        let reference = format!("{}:v1", round.reference("sparse"));
        let oras =
            round.program("oras")?.args(["manifest", "push", &reference]).arg(&path).args(round.plain("--plain-http"));
        verify::readable_refusal(&oras.run_failing()?)
    });
    Ok(())
}

/// Pulls this round's image by tag into an empty layout.
pub fn pull(round: &Round, image: &Image) -> anyhow::Result<()> {
    let into = round.folder("pulled")?;
    let (source, to) = (format!("{}:v1", round.reference("image")), format!("{}:image", into.display()));
    round
        .program("oras")?
        .args(["cp", "--to-oci-layout", &source, &to])
        .args(round.plain("--from-plain-http"))
        .run()?;
    verify::layout_holds(&into, image)
}

fn tiny_files(round: &Round) -> anyhow::Result<()> {
    let (from, into) = (round.folder("tiny")?, round.folder("tiny-pulled")?);
    fs::write(from.join("empty"), b"")?;
    fs::write(from.join("one"), b"x")?;
    let reference = format!("{}:v1", round.reference("tiny"));
    let push = ["push", "--artifact-type", "application/vnd.example.tiny", &reference];
    round.program("oras")?.folder(&from).args(push).args(["empty", "one"]).args(round.plain("--plain-http")).run()?;
    round.program("oras")?.folder(&into).args(["pull", &reference]).args(round.plain("--plain-http")).run()?;
    ensure!(fs::read(into.join("empty"))?.is_empty(), "the empty file came back with content");
    ensure!(fs::read(into.join("one"))? == b"x", "the file of one byte differs");
    Ok(())
}

fn attach(round: &Round) -> anyhow::Result<()> {
    let folder = round.folder("attached")?;
    fs::write(folder.join("sbom.json"), br#"{"packages":[]}"#)?;
    let subject = format!("{}:v1", round.reference("tiny"));
    for kind in ["application/vnd.example.sbom", "application/vnd.example.scan"] {
        let attach = ["attach", "--artifact-type", kind, "--annotation", "by=judge", &subject];
        round.program("oras")?.folder(&folder).args(attach).arg("sbom.json").args(round.plain("--plain-http")).run()?;
    }
    let repository = round.repository("tiny");
    let digest = sha256(&verify::manifest(&round.target, &repository, "v1")?);
    let listed = verify::referrers(&round.target, &repository, &digest)?;
    ensure!(listed == 2, "the registry lists {listed} of 2 referrers");
    let discover = |filter: &[&str]| -> anyhow::Result<Vec<String>> {
        let oras = round.program("oras")?.args(["discover", "--format", "json"]).args(round.plain("--plain-http"));
        let found = oras.args(filter).arg(&subject).run()?.json()?;
        let listed = found["referrers"].as_array().or_else(|| found["manifests"].as_array()).context("no list")?;
        ensure!(listed.iter().all(|one| one["annotations"]["by"] == "judge"), "annotations are missing: {found}");
        Ok(listed.iter().filter_map(|one| one["artifactType"].as_str().map(str::to_owned)).collect())
    };
    let mut all = discover(&[])?;
    all.sort();
    ensure!(all == ["application/vnd.example.sbom", "application/vnd.example.scan"], "discovered {all:?}");
    let filtered = discover(&["--artifact-type", "application/vnd.example.scan"])?;
    ensure!(filtered == ["application/vnd.example.scan"], "discovered with a filter {filtered:?}");
    Ok(())
}
