//! regctl (regclient): images, tiny artifacts, and a chunked upload that outlives the server.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use harness::layout::Image;
use harness::proxy::{Fault, Proxy};
use harness::server::Server;
use harness::site::sha256;
use harness::verify;

use super::round::{MIB, ROW, Round, THREE_LAYERS};

/// Repository on a server that is killed in mid-push.
const RESTARTED: &str = "regctl/restarted";

pub fn run(round: &Round) -> anyhow::Result<()> {
    set_up(round, &round.target.authority(), &[])?;
    round.row("copy 20 MiB in 3 layers both ways by tag and digest", ROW, || {
        let image = round.image("image", &THREE_LAYERS)?;
        let reference = round.reference("image");
        copy(round, &ocidir(&image.layout), &format!("{reference}:v1"))?;
        verify::registry_holds(&round.target, &round.repository("image"), "v1", &image)?;
        for source in [format!("{reference}:v1"), format!("{reference}@{}", image.digest)] {
            let into = round.folder("pulled")?;
            copy(round, &source, &ocidir(&into))?;
            verify::layout_holds(&into, &image)?;
        }
        Ok(())
    });
    round.row("multi-arch index both ways", ROW, || {
        let index = round.index("index")?;
        let reference = format!("{}:v1", round.reference("index"));
        copy(round, &ocidir(&index.layout), &reference)?;
        verify::registry_holds_index(&round.target, &round.repository("index"), "v1", &index)?;
        let into = round.folder("pulled")?;
        copy(round, &reference, &ocidir(&into))?;
        verify::layout_holds_index(&into, &index)
    });
    round.row("artifact with files of 0 and 1 byte", ROW, || tiny_files(round));
    round.own_row("an index without one of its children is refused readably", ROW, || {
        let index = round.index("sparse")?;
        let reference = format!("{}:v1", round.reference("sparse"));
        let put = ["manifest", "put", "--content-type", harness::layout::INDEX, &reference];
        let regctl = round.program("regctl")?.args(put).input(&index.manifest)?;
        verify::readable_refusal(&regctl.run_failing()?)
    });
    round.row_with_own_server(
        "chunked push goes on after kill -9 and restart of the server",
        ROW,
        |server| push_over_restart(round, server),
        |target| verify::registry_holds(target, RESTARTED, "v1", &restarted(round)?),
    );
    Ok(())
}

fn tiny_files(round: &Round) -> anyhow::Result<()> {
    let folder = round.folder("tiny")?;
    let reference = format!("{}:v1", round.reference("tiny"));
    let mut put = round.program("regctl")?.folder(&folder).args(["artifact", "put", "--file-title"]);
    put = put.args(["--artifact-type", "application/vnd.example.tiny"]);
    for (name, content) in [("empty", &b""[..]), ("one", b"x")] {
        fs::write(folder.join(name), content)?;
        put = put.args(["--file", name, "--file-media-type", "application/octet-stream"]);
    }
    put.arg(&reference).run()?;
    for content in [&b""[..], b"x"] {
        let get = ["blob", "get", &round.reference("tiny"), &sha256(content)];
        let got = round.program("regctl")?.args(get).run()?.stdout;
        ensure!(got == content, "regctl blob get gave {} bytes", got.len());
    }
    let into = round.folder("tiny-pulled")?;
    round.program("regctl")?.args(["artifact", "get", "--output"]).arg(&into).arg(&reference).run()?;
    ensure!(fs::read(into.join("empty"))?.is_empty(), "the empty file came back with content");
    ensure!(fs::read(into.join("one"))? == b"x", "the file of one byte differs");
    Ok(())
}

/// Slows the upload, kills the server between or during chunks, and starts it again. regctl must retry by itself.
fn push_over_restart(round: &Round, server: Server) -> anyhow::Result<Server> {
    let proxy = Proxy::before(&server.target())?;
    let chunked = ["--blob-chunk", "1048576", "--blob-max", "1048576"];
    set_up(round, &proxy.authority(), &chunked)?;
    let image = restarted(round)?;
    let reference = format!("{}/{RESTARTED}:v1", proxy.authority());
    proxy.set(Fault::Trickle(8 * MIB));
    let mut push = round.program("regctl")?.args(["image", "copy", &ocidir(&image.layout), &reference]).start()?;
    proxy.wait_received(8 * MIB + MIB / 2, || push.runs())?;
    let server = server.kill()?.start()?;
    proxy.set(Fault::None);
    let ended = push.wait()?;
    ensure!(ended.status.success(), "regctl gave up: {}", ended.said());
    let exchanges = proxy.exchanges();
    let sessions = exchanges.iter().filter(|one| one.method == "POST" && one.status == Some(202)).count();
    let chunks = exchanges.iter().filter(|one| one.method == "PATCH" && one.status == Some(202)).count();
    ensure!(sessions == 2, "{sessions} upload sessions for 2 blobs: the layer was begun again");
    ensure!(chunks >= 24, "only {chunks} chunks: the upload was not chunked");
    verify::registry_holds(&server.target(), RESTARTED, "v1", &image)?;
    Ok(server)
}

fn restarted(round: &Round) -> anyhow::Result<Image> {
    round.image("restarted", &[24 * MIB])
}

/// Tells regctl how to reach a registry.
fn set_up(round: &Round, host: &str, options: &[&str]) -> anyhow::Result<()> {
    let set = ["registry", "set", "--tls", round.plain("disabled").unwrap_or("enabled"), "--skip-check"];
    round.program("regctl")?.args(set).args(options).arg(host).limit(Duration::from_secs(20)).run().map(drop)
}

fn copy(round: &Round, from: &str, to: &str) -> anyhow::Result<()> {
    round.program("regctl")?.args(["image", "copy", from, to]).run().map(drop)
}

fn ocidir(layout: &Path) -> String {
    format!("ocidir://{}:image", layout.display())
}
