//! On whose behalf an operation runs.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// A client's request, for what is recorded and logged of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Address of the client: the peer's, or the one that a trusted proxy names.
    pub address: IpAddr,
    /// Id of the request, which the client got too.
    pub request: Arc<str>,
}

impl Caller {
    /// A command on this machine, which no client sent.
    pub fn local() -> Self {
        Caller { address: Ipv4Addr::LOCALHOST.into(), request: "local".into() }
    }
}
