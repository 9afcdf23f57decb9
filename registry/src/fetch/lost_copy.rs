//! Gives up copies that the backend acknowledged and does not have. `placement` reads the remembered places later.

use std::fs;
use std::path::{Path, PathBuf};

use crate::catalog::Placement;
use crate::catalog::command::Command;
use crate::catalog::fact::Locator;
use crate::content::{Error, LocalContent};
use crate::fetch::Origin;
use crate::oci::Digest;

/// Suffix of the files with remembered places. Files of resume tokens have none.
pub(crate) const PLACE: &str = ".place";

/// Records that these endpoints do not have content that they acknowledged. The content lacks a place again, and the
/// next look uploads it. Where locators name no endpoints, its place is remembered: the backend may have a part of it.
pub(crate) async fn give_up(
    content: &LocalContent,
    origin: &Origin,
    digest: &Digest,
    placement: &Placement,
    asked: Vec<String>,
) -> Result<(), Error> {
    let locator = Locator { endpoints: asked, ..placement.locator.clone() };
    let (digest, standing) = (digest.clone(), placement.sequence);
    let command = if locator.endpoints.is_empty() {
        remember_place(&origin.places, &digest, &locator).await?;
        Command::RecordUnplaced { digest, locator, standing }
    } else {
        Command::RecordMissing { digest, locator, standing }
    };
    content.catalog.commit(vec![command]).await?;
    Ok(())
}

/// Remembers an address at which the backend may have content.
pub(crate) async fn remember_place(directory: &Path, digest: &Digest, locator: &Locator) -> Result<(), Error> {
    let (path, locator) = (place_file(directory, digest), locator.clone());
    let write = move || {
        let json = serde_json::to_vec(&locator)?;
        fs::write(&path, json)
    };
    let written = tokio::task::spawn_blocking(write).await?;
    written.map_err(Error::Read)
}

/// The file that [`remember_place`] writes.
pub(crate) fn place_file(directory: &Path, digest: &Digest) -> PathBuf {
    directory.join(format!("{}{PLACE}", digest.file_name()))
}
