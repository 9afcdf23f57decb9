//! The only interface between the service and its metadata.

pub mod command;
pub mod fact;
pub mod local;
mod page;
mod places;

pub use local::{
    Catalog, CatalogOptions, CatalogState, CatalogStatus, Clock, FactsSinceError, IndexOrigin, OpenCatalogError,
    OpenReport, Progress, RebuildReason, Replay, ReplayError,
};
pub use page::Page;
pub use places::{Backlog, Elsewhere, Lacking, LackingPage, Placement, UnitRootsList, Wanted};
