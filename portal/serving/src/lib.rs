//! What every server of ours needs of HTTP besides its library: request bodies that end in time, ranges, conditions and
//! query strings. Knows neither registries nor portals.

mod conditions;
mod idle;
mod multipart;
mod query;
mod range;
mod request_body;

pub use conditions::{EntityTag, EntityTags, entity_tags, precondition, range_applies};
pub use idle::{IdleTimeout, IdleTimeoutError};
pub use multipart::{Multipart, Piece};
pub use query::Query;
pub use range::{ByteRange, Ranges, parse_range};
pub use request_body::{BodyError, RequestBody};
