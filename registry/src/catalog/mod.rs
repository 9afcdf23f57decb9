//! The one seam between the service and metadata.

pub mod command;
pub mod fact;
pub mod local;
