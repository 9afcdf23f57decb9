//! The accept loop. Its connections have limits of time, bytes and number, and speak HTTP/1.1 or HTTP/2 on one port,
//! plain or over TLS.
//!
//! Every connection is one task. h2 streams are tasks of the same tracker. All end on one token, or are cut after the
//! grace. [`Limits`] describes each limit, and `buffers` the memory that connections share.

mod activity;
mod arriving;
mod buffers;
mod connection;
mod first_bytes;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod gate;
mod limits;
mod line_ends;
mod listen;
mod opening;
mod place;
mod proxy_header;
mod refused;
mod send_queue;
mod shared;
pub mod signal;
mod socket;
mod transport;

#[cfg(test)]
mod tests;

pub use limits::Limits;
pub use listen::run;
pub use opening::Entry;
pub use refused::HeadLog;
