//! The accept loop: connections with limits in time, bytes and number, over plain HTTP/1.1 and h2c on one port.
//!
//! Every connection is one task; h2 streams are tasks of the same tracker. All end on one token, or are cut after the
//! grace. What the HTTP library does by itself and what is added here stands beside each limit in [`Limits`].

mod activity;
mod connection;
mod first_bytes;
mod gate;
mod limits;
mod listen;
mod send_queue;
pub mod signal;
mod transport;

#[cfg(test)]
mod tests;

pub use limits::Limits;
pub use listen::run;
