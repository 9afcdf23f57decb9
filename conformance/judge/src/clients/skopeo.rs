//! skopeo (containers/image): layouts pushed and pulled, many layers, an index alone.

use std::path::Path;
use std::time::Duration;

use harness::layout::Image;
use harness::verify;

use super::round::{KIB, ROW, Round, THREE_LAYERS};

pub fn run(round: &Round) -> anyhow::Result<()> {
    round.row("copy 20 MiB in 3 layers both ways by tag and digest", ROW, || both_ways(round, "image", &THREE_LAYERS));
    round.row("copy 100 layers of 1 KiB both ways", Duration::from_mins(5), || both_ways(round, "many", &[KIB; 100]));
    round.row("multi-arch index both ways", ROW, || {
        let index = round.index("index")?;
        let reference = format!("docker://{}:v1", round.reference("index"));
        copy(round, &oci(&index.layout), &reference)?;
        verify::registry_holds_index(&round.target, &round.repository("index"), "v1", &index)?;
        let into = round.folder("pulled")?;
        copy(round, &reference, &oci(&into))?;
        verify::layout_holds_index(&into, &index)
    });
    round.own_row("an index without its children is refused readably", ROW, || {
        let index = round.index("sparse")?;
        let to = format!("docker://{}:v1", round.reference("sparse"));
        // With `--preserve-digests` skopeo would retry, and hide the registry's answer behind that of the retry.
        let skopeo = round.program("skopeo")?.args(["--insecure-policy", "copy", "--dest-tls-verify=false"]);
        let skopeo = skopeo.args(["--multi-arch=index-only", &oci(&index.layout), &to]);
        verify::readable_refusal(&skopeo.run_failing()?)
    });
    Ok(())
}

fn both_ways(round: &Round, name: &str, sizes: &[u64]) -> anyhow::Result<()> {
    let image = round.image(name, sizes)?;
    let reference = round.reference(name);
    copy(round, &oci(&image.layout), &format!("docker://{reference}:v1"))?;
    verify::registry_holds(&round.target, &round.repository(name), "v1", &image)?;
    for source in [format!("docker://{reference}:v1"), format!("docker://{reference}@{}", image.digest)] {
        let into = round.folder("pulled")?;
        copy(round, &source, &oci(&into))?;
        verify::layout_holds(&into, &image)?;
    }
    Ok(())
}

/// Pulls this round's image by tag into an empty layout.
pub fn pull(round: &Round, image: &Image) -> anyhow::Result<()> {
    let into = round.folder("pulled")?;
    copy(round, &format!("docker://{}:v1", round.reference("image")), &oci(&into))?;
    verify::layout_holds(&into, image)
}

fn copy(round: &Round, from: &str, to: &str) -> anyhow::Result<()> {
    skopeo(round)?.args(["--all", from, to]).run().map(drop)
}

/// Without `--preserve-digests` skopeo compresses the layers on the way.
fn skopeo(round: &Round) -> anyhow::Result<harness::program::Program> {
    let verify = ["src", "dest"].map(|side| format!("--{side}-tls-verify={}", round.tls_verify()));
    Ok(round.program("skopeo")?.args(["--insecure-policy", "copy", "--preserve-digests"]).args(verify))
}

fn oci(layout: &Path) -> String {
    format!("oci:{}:image", layout.display())
}
