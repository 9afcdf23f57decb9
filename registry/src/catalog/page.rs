//! A page of a listing.

/// Items in order, and whether more follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// At most as many items as requested.
    pub items: Vec<T>,
    /// True if more items follow. With a limit of 0: true if there are any items.
    pub more: bool,
}
