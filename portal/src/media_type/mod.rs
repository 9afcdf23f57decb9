//! The media type of content without a declared one: by its name, else by its first bytes, as in Go's
//! `http.ServeContent`.

mod extension;
mod sniff;

pub(crate) use extension::of_name;
pub(crate) use sniff::{SNIFFED, of_bytes};
