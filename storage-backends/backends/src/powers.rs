//! Powers that only some backends have, each a trait of its own.

use std::sync::Arc;

use super::{Answer, Content, Locator, UnitProof};

/// Addresses that commit to the units of content.
pub trait UnitProofs: Send + Sync {
    /// A proof of the content's units, checked against the locator's address; `None` where that does not commit to
    /// them.
    fn unit_proof<'a>(&'a self, content: &'a Content, locator: &'a Locator) -> Answer<'a, Option<Arc<dyn UnitProof>>>;
}

/// A list of everything that this registry stored at an endpoint. Content of others there is never listed.
pub trait Listing: Send + Sync {
    /// A page of the list after `after`, in a fixed order.
    fn list<'a>(&'a self, after: Option<&'a str>) -> Answer<'a, ListingPage>;
}

/// One stored object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its address, as in locators.
    pub address: String,
    /// Its length, in bytes.
    pub stored_size: u64,
}

/// A page of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListingPage {
    /// The objects.
    pub items: Vec<Listed>,
    /// Where to continue, even if nothing was listed; `None` at the end.
    pub next: Option<String>,
}
