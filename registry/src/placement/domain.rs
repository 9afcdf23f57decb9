//! What may be lost together with an endpoint.

use std::net::{IpAddr, ToSocketAddrs, UdpSocket};

/// The label of endpoints that are lost together with this machine.
pub const HERE: &str = "here";

/// The failure domain of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Domain {
    /// As the operator says.
    Labelled(String),
    /// Its host. One that leads to this machine, or to a private network, is taken for this machine: a service of the
    /// same compose file is no other machine.
    Host(String),
}

impl Domain {
    /// True if the endpoint is lost together with this machine, as far as that is known without a lookup of names.
    pub fn is_plainly_here(&self) -> bool {
        match self {
            Domain::Labelled(label) => label == HERE,
            Domain::Host(host) => host == "localhost" || literal(host).is_some_and(is_near),
        }
    }

    /// True if the endpoint may be lost together with this machine. A name that leads nowhere now may lead to this
    /// machine. Blocks while a name is looked up.
    pub fn is_here(&self) -> bool {
        match self {
            Domain::Labelled(label) => label == HERE,
            Domain::Host(host) => match addresses(host) {
                addresses if addresses.is_empty() => true,
                addresses => addresses.into_iter().any(is_near),
            },
        }
    }
}

/// The addresses of the host of a URL, which may be an address in brackets.
fn addresses(host: &str) -> Vec<IpAddr> {
    if let Some(address) = literal(host) {
        return vec![address];
    }
    (host, 0).to_socket_addrs().map(|found| found.map(|address| address.ip()).collect()).unwrap_or_default()
}

fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn is_near(address: IpAddr) -> bool {
    let private = match address.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            // The last are addresses behind a carrier's NAT (RFC 6598).
            let carrier = a == 100 && (64..128).contains(&b);
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified() || carrier
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local(),
    };
    // Only an address of this machine can be bound.
    private || UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_and_own_addresses_are_here_unless_labelled() {
        for here in
            ["127.0.0.1", "localhost", "[::1]", "10.1.2.3", "192.168.0.7", "172.16.0.1", "100.64.0.1", "fd00::1"]
        {
            assert!(Domain::Host(here.to_owned()).is_here(), "{here}");
        }
        // Addresses for documentation: no machine has them.
        for away in ["192.0.2.1", "[2001:db8::1]", "172.32.0.1", "100.128.0.1"] {
            assert!(!Domain::Host(away.to_owned()).is_here(), "{away}");
        }
        let unknown = Domain::Host("no.such.host.invalid".to_owned());
        assert!(unknown.is_here() && !unknown.is_plainly_here(), "it may lead here");
        assert!(Domain::Labelled(HERE.to_owned()).is_here() && !Domain::Labelled("rack 2".to_owned()).is_here());
    }
}
