//! The caller of an operation.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use serving::Holder;

use crate::access::Identity;

/// A client's request, for logs and records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Address of the client: the peer's, or the one named by a trusted proxy.
    pub address: IpAddr,
    /// Who it is.
    pub identity: Identity,
    /// The holder of its permits.
    pub holder: Holder,
    /// Id of the request, as sent to the client.
    pub request: Arc<str>,
}

impl Caller {
    /// A command on this machine instead of a client's request. It needs no identity, since nobody asks for its rights.
    pub fn local() -> Self {
        Caller {
            address: Ipv4Addr::LOCALHOST.into(),
            identity: Identity::Anonymous,
            holder: Holder::SHARED,
            request: "local".into(),
        }
    }
}
