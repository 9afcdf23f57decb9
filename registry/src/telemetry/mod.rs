//! What the node tells its operator.

mod backend;
pub mod labels;
pub mod logs;
pub mod metrics;

pub use backend::BackendMetrics;
