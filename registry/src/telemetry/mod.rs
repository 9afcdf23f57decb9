//! What the node tells its operator.

pub mod logs;
pub mod metrics;
