//! The media type of content that came without one: by its name, else by its first bytes, as Go's `http.ServeContent`.

mod extension;
mod sniff;

pub(crate) use extension::of_name;
pub(crate) use sniff::{SNIFFED, of_bytes};
