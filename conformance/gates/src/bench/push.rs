//! Pushes of a large blob, in the ways that clients use, and of small images.

use std::io::Write;

use anyhow::Context;
use harness::client::{Connection, Request, Response, Target};
use harness::site::sha256;

use super::content::{BLOCK, LargeBlob, SmallImage};

/// The way of sending a large blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// POST, then one PUT with everything and its length.
    Put,
    /// POST, one PATCH without announced length, then an empty PUT, as docker and most others do.
    Stream,
    /// POST, a PATCH with `Content-Range` per 16 MiB, then an empty PUT, which passes a proxy's limit on bodies.
    Chunks,
}

/// Pushes the blob into `repository`.
pub(super) fn push_large(target: &Target, repository: &str, blob: &LargeBlob, way: Way) -> anyhow::Result<()> {
    let mut connection = Connection::open(target)?;
    let mut location = begin(&mut connection, repository)?;
    match way {
        Way::Put => {
            let head =
                format!("PUT {} HTTP/1.1\r\nContent-Length: {}\r\n", closing(&location, &blob.digest), blob.length());
            send(&mut connection, target, &head, (0..blob.blocks).map(|_| &blob.block[..]))?.expect(201)?;
            return Ok(());
        }
        Way::Stream => {
            let head = format!("PATCH {location} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n");
            let pieces = (0..blob.blocks).map(|_| &blob.coded[..]).chain([&b"0\r\n\r\n"[..]]);
            let answer = send(&mut connection, target, &head, pieces)?;
            location = next_location(answer.expect(202)?)?;
        }
        Way::Chunks => {
            for first in (0..blob.blocks).map(|index| index * BLOCK) {
                let last = first + BLOCK - 1;
                let head = format!(
                    "PATCH {location} HTTP/1.1\r\nContent-Length: {BLOCK}\r\nContent-Range: {first}-{last}\r\n"
                );
                let answer = send(&mut connection, target, &head, [&blob.block[..]])?;
                location = next_location(answer.expect(202)?)?;
            }
        }
    }
    connection.send(&Request::new("PUT", closing(&location, &blob.digest)))?.expect(201)?;
    Ok(())
}

/// Pushes an image: each blob by POST and PUT, then the manifest under a tag.
pub(super) fn push_image(
    connection: &mut Connection,
    repository: &str,
    tag: &str,
    image: &SmallImage,
) -> anyhow::Result<()> {
    for blob in [&image.layer, &image.config] {
        let location = begin(connection, repository)?;
        let put = Request::new("PUT", closing(&location, &sha256(blob)))
            .header("Content-Type", "application/octet-stream")
            .body(&blob[..]);
        connection.send(&put)?.expect(201)?;
    }
    let put = Request::new("PUT", format!("/v2/{repository}/manifests/{tag}"))
        .header("Content-Type", "application/vnd.oci.image.manifest.v1+json")
        .body(&image.manifest[..]);
    connection.send(&put)?.expect(201)?;
    Ok(())
}

pub(super) fn begin(connection: &mut Connection, repository: &str) -> anyhow::Result<String> {
    let answer = connection.send(&Request::new("POST", format!("/v2/{repository}/blobs/uploads/")))?;
    next_location(answer.expect(202)?)
}

/// The path and query of `Location`, which may be absolute.
fn next_location(answer: &Response) -> anyhow::Result<String> {
    let location = answer.need("Location")?;
    let path = match location.split_once("://") {
        Some((_, rest)) => rest.find('/').map(|slash| &rest[slash..]).context("a Location without path")?,
        None => location,
    };
    Ok(path.to_owned())
}

pub(super) fn closing(location: &str, digest: &str) -> String {
    let separator = if location.contains('?') { '&' } else { '?' };
    format!("{location}{separator}digest={digest}")
}

/// Sends a head with the common header lines, and a body that is never in memory as a whole.
fn send<'a>(
    connection: &mut Connection,
    target: &Target,
    head: &str,
    body: impl IntoIterator<Item = &'a [u8]>,
) -> anyhow::Result<Response> {
    let head = format!("{head}Host: {}\r\nContent-Type: application/octet-stream\r\n\r\n", target.authority());
    let mut out = connection.stream();
    out.write_all(head.as_bytes())?;
    for piece in body {
        out.write_all(piece).context("body")?;
    }
    connection.read(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_may_be_absolute_and_carry_a_query() {
        let location = "http://127.0.0.1:5000/v2/a/blobs/uploads/1?_state=x";
        let answer =
            Response { status: 202, headers: vec![("Location".into(), location.into())], body: Vec::new(), own: true };
        let path = next_location(&answer).unwrap();
        assert_eq!(closing(&path, "sha256:0"), "/v2/a/blobs/uploads/1?_state=x&digest=sha256:0");
        assert_eq!(closing("/v2/a", "sha256:0"), "/v2/a?digest=sha256:0");
    }
}
