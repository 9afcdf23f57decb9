//! crane (go-containerregistry): layouts pushed and pulled, mounts by copy, two writers of one tag.

use std::path::Path;

use anyhow::ensure;
use harness::site::sha256;
use harness::verify;

use super::raw;
use super::round::{KIB, ROW, Round, THREE_LAYERS, mounted};

pub fn run(round: &Round) -> anyhow::Result<()> {
    round.row("push and pull 20 MiB in 3 layers by tag and digest", ROW, || {
        let image = round.image("image", &THREE_LAYERS)?;
        let reference = round.reference("image");
        push(round, &image.layout, &format!("{reference}:v1"))?;
        verify::registry_holds(&round.target, &round.repository("image"), "v1", &image)?;
        for source in [format!("{reference}:v1"), format!("{reference}@{}", image.digest)] {
            let pulled = pull(round, &source)?;
            verify::layout_holds(&pulled, &image)?;
        }
        Ok(())
    });
    round.row("multi-arch index both ways", ROW, || {
        let index = round.index("index")?;
        let reference = format!("{}:v1", round.reference("index"));
        push(round, &index.layout, &reference)?;
        verify::registry_holds_index(&round.target, &round.repository("index"), "v1", &index)?;
        verify::layout_holds_index(&pull(round, &reference)?, &index)
    });
    round.row("blobs of 0 and 1 byte", ROW, || {
        let repository = round.repository("tiny");
        raw::push_artifact(&round.target, &repository, "v1", &[b"", b"x"])?;
        for content in [&b""[..], b"x"] {
            let blob = format!("{}@{}", round.reference("tiny"), sha256(content));
            let got = round.program("crane")?.args(["blob", &blob]).run()?.stdout;
            ensure!(got == content, "crane blob gave {} bytes", got.len());
        }
        Ok(())
    });
    round.row("copy to another repository mounts every layer", ROW, || mount(round));
    round.row("two cranes push one tag at once", ROW, || race(round));
    Ok(())
}

fn push(round: &Round, layout: &Path, reference: &str) -> anyhow::Result<()> {
    round.program("crane")?.arg("push").arg(layout).arg(reference).run().map(drop)
}

/// Pulls into a new layout.
fn pull(round: &Round, reference: &str) -> anyhow::Result<std::path::PathBuf> {
    let into = round.folder("pulled")?;
    round.program("crane")?.args(["pull", "--format=oci", reference]).arg(&into).run()?;
    Ok(into)
}

fn mount(round: &Round) -> anyhow::Result<()> {
    let proxy = round.proxy()?;
    let image = round.image("mounted", &[300 * KIB, 20 * KIB])?;
    let reference = |name: &str| format!("{}/{}:v1", proxy.authority(), round.repository(name));
    push(round, &image.layout, &reference("mount-from"))?;
    round.program("crane")?.args(["copy", &reference("mount-from"), &reference("mount-to")]).run()?;
    mounted(round, &proxy, 3)?;
    verify::registry_holds(&round.target, &round.repository("mount-to"), "v1", &image)
}

/// Two pushes of one tag must both succeed. The tag then names one of the images, and both are complete.
fn race(round: &Round) -> anyhow::Result<()> {
    let images = [round.image("racer-one", &[2000 * KIB])?, round.image("racer-two", &[2000 * KIB])?];
    let repository = round.repository("race");
    for turn in 0..round.pick(5, 30) {
        let reference = format!("{}:v{turn}", round.reference("race"));
        let running = images
            .iter()
            .map(|image| round.program("crane")?.arg("push").arg(&image.layout).arg(&reference).start())
            .collect::<anyhow::Result<Vec<_>>>()?;
        for one in running {
            let ended = one.wait()?;
            ensure!(ended.status.success(), "a push lost the race: {}", ended.said());
        }
        let winner = sha256(&verify::manifest(&round.target, &repository, &format!("v{turn}"))?);
        ensure!(images.iter().any(|image| image.digest == winner), "the tag names neither: {winner}");
        for image in &images {
            verify::registry_holds(&round.target, &repository, &image.digest, image)?;
        }
    }
    Ok(())
}
