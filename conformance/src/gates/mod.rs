//! Gates: what must survive kills and losses.

pub mod crash;
mod files;
pub mod index_loss;
mod pusher;
//! Gates: what must survive losses and rot.

mod answers;
mod jobs;
mod operate;
pub mod power_loss;
pub mod rot;
mod seeded;
