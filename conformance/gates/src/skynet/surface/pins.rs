//! Pins.

use anyhow::ensure;
use harness::client::Request;
use harness::expect::{header, status};

use super::{SurfaceRow, row};
use crate::skynet::site::Site;

pub const ROWS: &[SurfaceRow] = &[
    row("a pin is answered with its skylink and a path", pin),
    row("an unpin is 204, also of what is not pinned", unpin),
];

fn post(path: String) -> Request {
    Request::new("POST", path)
}

fn pin(site: &Site) -> anyhow::Result<()> {
    let link = site.raw("pinned", &site.text("pinned"))?.link;
    let answer = site.send(&post(format!("/skynet/pin/{link}")))?;
    header(answer.expect(200)?, "Skynet-Skylink", &link.to_string())?;
    let said = answer.json()?;
    ensure!(said["siapath"].as_str().is_some_and(|path| !path.is_empty()), "the body is {said}");
    Ok(())
}

fn unpin(site: &Site) -> anyhow::Result<()> {
    let link = site.raw("unpinned", &site.text("unpinned"))?.link;
    for link in [&link, &link, &link.unknown()] {
        status(&site.send(&post(format!("/skynet/unpin/{link}")))?, &[204])?;
    }
    Ok(())
}
