//! Gates: what must survive losses and rot.

mod answers;
mod jobs;
mod operate;
pub mod power_loss;
pub mod rot;
mod seeded;
