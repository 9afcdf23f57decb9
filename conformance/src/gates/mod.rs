//! Gates: what must survive losses and rot.

mod operate;
pub mod power_loss;
mod seeded;
