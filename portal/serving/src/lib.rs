//! HTTP that all servers here share, besides the library: request bodies that end in time, ranges, conditions, query
//! strings, the client behind proxies and its share of what all use, rules for web pages, an access log, and pages of
//! metrics. It knows neither registries nor portals.

mod access_log;
mod account;
mod blocking_body;
mod client;
mod conditions;
mod forwarded;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod idle;
pub mod metrics;
mod multipart;
mod origin;
mod pace;
mod pool;
mod query;
mod range;
mod request_body;
mod request_id;
mod standstill;
mod web_pages;

pub use access_log::{AccessLog, CLIENT_LEFT, Pending, Sent, loggable, loggable_method, on_end};
pub use account::Account;
pub use blocking_body::{Frames, Incomplete, pass_on};
pub use client::{InvalidNetwork, Network, TrustedProxies, client_network};
pub use conditions::{EntityTag, EntityTags, entity_tags, precondition, range_applies};
pub use idle::{IdleTimeout, IdleTimeoutError};
pub use multipart::{Multipart, Piece};
pub use origin::Scheme;
pub use pace::Pace;
pub use pool::{Holder, PERMIT_PATIENCE, Permit, Pool, UsedUp};
pub use query::Query;
pub use range::{ByteRange, Ranges, parse_range};
pub use request_body::{BodyError, RequestBody};
pub use request_id::{REQUEST_ID, inbound_request_id};
pub use standstill::after_standstill;
pub use web_pages::{ForeignRequest, WebPages, is_local_program};
