//! The caller of an operation.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use serving::Holder;

use crate::access::Identity;
use crate::catalog::command::Command;
use crate::catalog::fact::Visibility;
use crate::oci::RepositoryName;

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
    /// The visibility of repositories that it creates.
    pub visibility: Visibility,
}

impl Caller {
    /// A command on this machine instead of a client's request. It needs no identity, since nobody asks for its rights.
    pub fn local() -> Self {
        Caller {
            address: Ipv4Addr::LOCALHOST.into(),
            identity: Identity::Anonymous,
            holder: Holder::SHARED,
            request: "local".into(),
            visibility: Visibility::default(),
        }
    }

    /// The command that creates the repository if it is new, in front of those that fill it.
    pub(super) fn creating(&self, repository: &RepositoryName) -> Command {
        Command::CreateRepository { repository: repository.clone(), visibility: self.visibility }
    }
}
