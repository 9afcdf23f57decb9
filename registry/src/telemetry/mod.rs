//! What the node tells its operator.

mod backend;
pub mod logs;
pub mod metrics;

pub use backend::BackendMetrics;
