//! Our own plain client: an upload that continues after the server was killed, and pushes that tools cannot make.

use anyhow::{Context, ensure};
use harness::client::{Request, Response, Target, local_path};
use harness::layout::{INDEX, MANIFEST};
use harness::server::Server;
use harness::site::sha256;
use harness::verify;
use serde_json::json;

use super::round::{MIB, ROW, Round};

/// Repository of an upload across a kill.
const RESUMED: &str = "raw/resume";

pub fn run(round: &Round) -> anyhow::Result<()> {
    let chunk = round.pick(4 * MIB, 64 * MIB) as usize;
    let content = harness::noise::noise("raw resume", 5 * chunk + 17);
    round.row_with_own_server(
        "chunked upload goes on after kill -9 of the server",
        ROW,
        |server| resume_after_kill(server, &content, chunk),
        |target| is_whole(target, &content),
    );
    round.own_row("an index without one of its children is refused and names it", ROW, || {
        let index = round.index("sparse")?;
        let repository = round.repository("sparse");
        let answer = put_manifest(&round.target, &repository, "v1", INDEX, &index.manifest)?;
        ensure!(answer.status == 400, "status {}", answer.status);
        let codes = answer.text().matches("MANIFEST_BLOB_UNKNOWN").count();
        ensure!(codes >= 1, "no MANIFEST_BLOB_UNKNOWN in {}", answer.text());
        index.children.iter().try_for_each(|child| {
            ensure!(answer.text().contains(&child.digest), "{} is not named", child.digest);
            Ok(())
        })
    });
    Ok(())
}

/// Sends three acknowledged chunks, kills the server, and sends the rest. Acknowledged bytes must still be there.
fn resume_after_kill(server: Server, content: &[u8], chunk: usize) -> anyhow::Result<Server> {
    let target = server.target();
    let start = format!("/v2/{RESUMED}/blobs/uploads/");
    let mut location = location(&target, target.send(&Request::new("POST", start))?.expect(202)?)?;
    for number in 0..3 {
        location = patch(&target, &location, content, number * chunk..(number + 1) * chunk)?;
    }
    let server = server.kill()?.start()?;
    let status = target.send(&Request::get(location.as_str()))?;
    let held = end_of(status.expect(204)?)?;
    ensure!(held == 3 * chunk, "{held} bytes after the kill, {} were acknowledged", 3 * chunk);
    location = self::location(&target, &status)?;
    location = patch(&target, &location, content, held..5 * chunk)?;
    let digest = sha256(content);
    let separator = if location.contains('?') { '&' } else { '?' };
    let last = content[5 * chunk..].to_vec();
    let put = Request::new("PUT", format!("{location}{separator}digest={digest}"))
        .header("Content-Range", format!("{}-{}", 5 * chunk, content.len() - 1))
        .body(last);
    target.send(&put)?.expect(201)?;
    is_whole(&target, content)?;
    Ok(server)
}

fn is_whole(target: &Target, content: &[u8]) -> anyhow::Result<()> {
    let size = verify::blob(target, RESUMED, &sha256(content))?;
    ensure!(size == content.len() as u64, "{size} bytes");
    Ok(())
}

fn patch(target: &Target, at: &str, content: &[u8], range: std::ops::Range<usize>) -> anyhow::Result<String> {
    let request = Request::new("PATCH", at)
        .header("Content-Type", "application/octet-stream")
        .header("Content-Range", format!("{}-{}", range.start, range.end - 1))
        .body(&content[range.clone()]);
    let answer = target.send(&request)?;
    answer.expect(202)?;
    let end = end_of(&answer)?;
    ensure!(end == range.end, "the answer to PATCH says {end} bytes instead of {}", range.end);
    location(target, &answer)
}

/// The number of bytes acknowledged by `Range: 0-N`.
fn end_of(answer: &Response) -> anyhow::Result<usize> {
    let range = answer.need("Range")?;
    let last = range.strip_prefix("0-").with_context(|| format!("Range: {range}"))?;
    Ok(last.parse::<usize>()? + 1)
}

/// Path and query of `Location`, which may be absolute.
fn location(target: &Target, answer: &Response) -> anyhow::Result<String> {
    local_path(target, answer.need("Location")?)
}

/// Pushes a blob by POST and PUT.
pub fn push_blob(target: &Target, repository: &str, content: &[u8]) -> anyhow::Result<String> {
    let digest = sha256(content);
    let answer = target.send(&Request::new("POST", format!("/v2/{repository}/blobs/uploads/")))?;
    let location = location(target, answer.expect(202)?)?;
    let separator = if location.contains('?') { '&' } else { '?' };
    let put = Request::new("PUT", format!("{location}{separator}digest={digest}"))
        .header("Content-Type", "application/octet-stream")
        .body(content);
    target.send(&put)?.expect(201)?;
    Ok(digest)
}

/// Pushes an artifact whose layers are these contents.
pub fn push_artifact(target: &Target, repository: &str, tag: &str, contents: &[&[u8]]) -> anyhow::Result<()> {
    let config = push_blob(target, repository, b"{}")?;
    let mut layers = Vec::new();
    for content in contents {
        let digest = push_blob(target, repository, content)?;
        layers.push(json!({"mediaType": "application/octet-stream", "digest": digest, "size": content.len()}));
    }
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.example.tiny",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2}, "layers": layers,
    });
    put_manifest(target, repository, tag, MANIFEST, &serde_json::to_vec(&manifest)?)?.expect(201).map(drop)
}

pub fn put_manifest(
    target: &Target,
    repository: &str,
    reference: &str,
    media_type: &str,
    manifest: &[u8],
) -> anyhow::Result<Response> {
    let request = Request::new("PUT", format!("/v2/{repository}/manifests/{reference}"));
    target.send(&request.header("Content-Type", media_type).body(manifest))
}
