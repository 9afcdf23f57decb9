//! The capabilities of a backend, declared beforehand instead of discovered by a failure.

/// The capabilities of a backend. Constant for its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, read one at a time")]
pub struct Capabilities {
    /// It can compute the locator of content without storing it.
    pub known_address: bool,
    /// Computing the locator of content above one unit reads all of its bytes from the source. The instance caches the
    /// result for a while.
    pub address_reads_all: bool,
    /// Most bytes that an interrupted upload sends again when it resumes; `None` if it starts over.
    pub resume_step: Option<u64>,
    /// A delete takes effect some time after it was accepted.
    pub asynchronous_delete: bool,
    /// It needs the unit roots of content above one unit.
    pub needs_unit_roots: bool,
    /// Anyone who knows the address can read: private content must not be stored there in plain form.
    pub public: bool,
    /// The longest content that it accepts, in bytes; `None` for no limit.
    pub max_object_size: Option<u64>,
    /// Its bytes are already verified, unit by unit if there are roots, so no caller needs to verify them again.
    pub verified: bool,
    /// The number of independent copies that an accepted put means.
    pub copies: u32,
}
