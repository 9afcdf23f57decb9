//! The description of a resource that clients share.

/// The account of a resource, in words for operators.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    /// The resource, as errors name it.
    pub name: &'static str,
    /// The setting of its limit, or the fixed limit.
    pub limit: &'static str,
    /// The most of it that one client may have.
    pub share: &'static str,
    /// What a client gets if it is used up.
    pub used_up: &'static str,
    /// When it comes back.
    pub back: &'static str,
}
