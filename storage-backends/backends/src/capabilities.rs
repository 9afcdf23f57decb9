//! What a backend can do, said beforehand instead of found out by failing.

/// What a backend can do. Constant for its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, read one at a time")]
pub struct Capabilities {
    /// It can tell the locator of content without storing it.
    pub known_address: bool,
    /// Telling the locator of content above one unit takes all of its bytes from the source; once told, the instance
    /// remembers it for a while.
    pub address_reads_all: bool,
    /// An upload that broke off can go on, and takes at most so many bytes again; `None` if it starts over.
    pub resume_step: Option<u64>,
    /// A delete is done some time after it was accepted.
    pub asynchronous_delete: bool,
    /// It needs the unit roots of content above one unit.
    pub needs_unit_roots: bool,
    /// Whoever knows the address can read: nothing private may go there as it is.
    pub public: bool,
    /// The longest content that it takes, in bytes; `None` where it has no such limit.
    pub max_object_size: Option<u64>,
    /// What it gives was verified, unit by unit where there are roots: nobody needs to do that again.
    pub verified: bool,
    /// How many independent holders an accepted put means.
    pub copies: u32,
}
