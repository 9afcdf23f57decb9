//! Gates: what must survive kills and losses.

pub mod crash;
mod files;
pub mod index_loss;
mod pusher;
