//! What each route costs, besides a place for its connection and memory for its request.

use http::Method;

use super::route::Route;
use crate::Resource;

impl Route {
    /// The resources that a request uses up. The dispatcher takes the permit of an upload.
    pub(super) fn costs(&self, method: &Method) -> &'static [Resource] {
        use Resource::{
            Ahead, Archives, Bodies, Disk, Entries, EntryWrites, Lookups, Pins, Proofs, ResumableUploads, Sectors,
            Uploads,
        };
        match self {
            Route::TusUpload(_) if *method == Method::PATCH => &[Bodies, Ahead, Disk],
            Route::Root
            | Route::Live
            | Route::Metrics
            | Route::Stats
            | Route::Identity
            | Route::Portals
            | Route::Blocklist
            | Route::Unpin(_)
            | Route::SkylinkHealth(_)
            | Route::TusUpload(_)
            | Route::TusSkylink(_)
            | Route::LeftOut(_) => &[],
            Route::Registry if *method == Method::POST => &[EntryWrites, Entries],
            Route::RegistryMulti => &[EntryWrites, Entries],
            Route::Registry | Route::EntryHealth | Route::Resolve(_) => &[Lookups],
            Route::Skyfile | Route::Restore => &[Uploads, Disk],
            Route::SectorBytes | Route::BaseSector(_) | Route::Trustless(_) | Route::Metadata(_) => &[Sectors],
            Route::TrustlessFile(_) => &[Proofs, Sectors],
            Route::Download(_) => &[Archives, Proofs, Sectors],
            Route::Pin(_) => &[Pins, Sectors, Disk],
            Route::Tus => &[ResumableUploads, Bodies, Ahead, Disk],
        }
    }
}
