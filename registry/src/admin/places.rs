//! `ls NAME@DIGEST` on a node with a backend: where each piece of an image is.

use std::sync::Arc;

use super::Output;
use crate::catalog::{Placement, Wanted};
use crate::oci::{Digest, RepositoryName};
use crate::service::{Error, Registry};
use crate::units::bytes;

/// One line for the manifest and for each thing that it needs and the repository has.
pub(super) async fn list(
    registry: &Arc<Registry>,
    name: &RepositoryName,
    manifest: &Digest,
    out: &Output,
) -> Result<(), Error> {
    let (name, manifest) = (name.clone(), manifest.clone());
    let reading = registry.reading(move |catalog| {
        let record = catalog.manifest(&name, &manifest)?.ok_or(Error::ManifestUnknown)?;
        let mut lines = Vec::new();
        for digest in std::iter::once(&manifest).chain(&record.references) {
            if let Some(size) = catalog.held_size(digest)? {
                lines.push((digest.clone(), size, catalog.placements(digest)?));
            }
        }
        Ok(lines)
    });
    for (digest, size, placements) in reading.await? {
        let wanted = digest.clone();
        let here = registry.blocking(move |store| store.stat(&wanted)).await?.is_some();
        let here = if here { "here" } else { "not here" };
        out.line(format!("{digest}\t{}\t{here}", bytes(size))).await;
        for placement in placements {
            out.line(format!("  {}", describe(&placement, registry.catalog().wanted()))).await;
        }
    }
    Ok(())
}

fn describe(placement: &Placement, wanted: Option<&Wanted>) -> String {
    let locator = &placement.locator;
    let state = match (placement.unpin_pending, placement.read_back) {
        (true, _) => "to be removed there",
        (false, true) => "read back",
        (false, false) => "acknowledged",
    };
    let profile = if locator.profile.is_empty() { String::new() } else { format!(" {}", locator.profile) };
    let named = |endpoint: &String| match wanted {
        Some(wanted) if !wanted.endpoints.contains(endpoint) => format!("{endpoint} (not configured)"),
        _ => endpoint.clone(),
    };
    let endpoints: Vec<String> = locator.endpoints.iter().map(named).collect();
    let at = if endpoints.is_empty() { String::new() } else { format!(" at {}", endpoints.join(" ")) };
    format!("{}{profile} {}{at}, {state}", locator.kind, locator.address)
}
