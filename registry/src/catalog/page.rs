//! A part of a listing.

/// Items in order, and whether there are more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// At most as many as were asked for.
    pub items: Vec<T>,
    /// There is at least one after these; for a limit of 0: there is one at all.
    pub more: bool,
}
