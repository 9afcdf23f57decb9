//! `[server]`: the listening socket with the limits of its connections.

use std::net::SocketAddr;

use reqwest::Url;
use serde::{Deserialize, Serialize};
use serving::{Network, TrustedProxies, WebPages};

use super::validate::Faults;
use super::{ByteSize, ListenAddress, OptionalAddress, RunAs, TimeSpan, Tls};

/// The listening address, and the limits of its connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Address and port to listen on; `:5000` is every IPv4 interface.
    pub listen: ListenAddress,
    /// Address and port of a second listener, which always speaks plain HTTP: for a proxy or health checks beside TLS.
    /// Empty: there is none.
    pub plain_listen: OptionalAddress,
    /// The certificate of the listeners.
    pub tls: Tls,
    /// Connections open at once on each listener. Each takes two descriptors, and up to 0.2 MiB of memory while its
    /// client reads nothing. [One client](explanation/shares.md) has half of them at most. Health checks have 16 more.
    ///
    /// 1024 stay under 256 MiB, and under the 4096 or more descriptors that containers usually get.
    pub max_connections: usize,
    /// Time for the head of a request to arrive whole, from its first byte or from the start of the connection.
    pub header_timeout: TimeSpan,
    /// Time that an open connection may wait for its next request.
    ///
    /// Clients pause between layers; nginx gives the same 75 s.
    pub keep_alive_timeout: TimeSpan,
    /// Time without progress of a body, in either direction, after which the connection is cut. A slow body that moves
    /// is cut only [while others wait](explanation/shares.md).
    pub idle_body_timeout: TimeSpan,
    /// Bytes of all header lines of a request; more are answered 431. The `Range` of a partial pull by podman has up to
    /// 26 KiB.
    pub max_header_bytes: ByteSize,
    /// Time that running requests get to finish after SIGTERM; then they are cut.
    pub shutdown_grace: TimeSpan,
    /// URL under which clients reach the registry, such as `https://registry.example`. Each `Location` begins with it.
    /// Empty: `server.locations` decides.
    pub url: String,
    /// How URLs in Location headers begin, unless the registry has a URL of its own. `relative`: with the path.
    /// `absolute`: with the host that the client asked for.
    pub locations: Locations,
    /// Addresses and networks of [proxies](how-to/proxy.md) that are trusted to name the client and the request's id.
    pub trusted_proxies: Vec<Network>,
    /// Trusted proxies begin each connection to `server.listen`, or to `skyberth portal`, with a header of the
    /// [PROXY protocol](how-to/proxy.md#proxies-that-pass-tcp-on), which names the client.
    ///
    /// It must be said: a proxy that passes bytes on unseen would also pass on a header that its client made up.
    pub proxy_protocol: bool,
    /// Host names that the registry, the portal and the gateway answer to. `*.example.org` is all names below. They
    /// always answer to addresses, to `localhost`, and to the names of their own URLs. Empty: they answer to all names,
    /// but on a loopback address without trusted proxies to no others.
    ///
    /// Otherwise a web page could let its own name resolve to this machine, and send requests like a local program.
    pub hosts: Vec<String>,
    /// Origins of web pages that may push and delete, such as `https://ui.example`. Others are refused.
    pub origins: Vec<String>,
    /// `UID:GID` of the user that a node started as root becomes before it opens anything. Empty: it stays root.
    ///
    /// The data directory is given to that user first. A node that is not started as root stays who it is.
    pub run_as: RunAs,
}

impl Default for Server {
    fn default() -> Self {
        Server {
            listen: ListenAddress::local(5000),
            plain_listen: OptionalAddress::default(),
            tls: Tls::default(),
            max_connections: 1024,
            header_timeout: TimeSpan::from_secs(15),
            keep_alive_timeout: TimeSpan::from_secs(75),
            idle_body_timeout: TimeSpan::from_secs(60),
            // Bearer tokens with many scopes reach 8 to 16 KiB. A `Range` with podman's 1,024 chunks of a large layer
            // has 26 KiB.
            max_header_bytes: ByteSize::from_kib(64),
            url: String::new(),
            locations: Locations::Relative,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            hosts: Vec::new(),
            origins: Vec::new(),
            // Docker kills a container 10 s after SIGTERM. The stop must finish before.
            shutdown_grace: TimeSpan::from_secs(5),
            run_as: RunAs(None),
        }
    }
}

impl Server {
    /// The trusted proxies.
    pub fn trusted(&self) -> TrustedProxies {
        TrustedProxies::new(self.trusted_proxies.clone())
    }

    /// The addresses of the registry.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        std::iter::once(self.listen).chain(self.plain_listen.0).map(|address| address.0).collect()
    }

    /// The addresses of the registry at which passwords travel in the clear.
    pub fn plain_addresses(&self) -> Vec<SocketAddr> {
        let plain = self.tls.files().is_none().then_some(self.listen);
        plain.into_iter().chain(self.plain_listen.0).map(|address| address.0).collect()
    }

    /// `Strict-Transport-Security` for the registry's own TLS: only if the operator says that its name is reached by
    /// https.
    pub fn strict_transport(&self) -> Option<String> {
        let url = Url::parse(&self.url).ok().filter(|url| url.scheme() == "https")?;
        let name = url.domain().filter(|name| *name != "localhost" && !name.ends_with(".localhost"));
        let seconds = self.tls.hsts.duration().as_secs();
        name.filter(|_| seconds > 0).map(|_| format!("max-age={seconds}"))
    }

    /// The rules for web pages on listeners with these addresses, this URL and these names.
    pub fn pages(&self, listen: &[SocketAddr], url: &str, names: &[String]) -> WebPages {
        let is_private = listen.iter().all(|address| address.ip().is_loopback()) && self.trusted_proxies.is_empty();
        let is_checked = is_private || !self.hosts.is_empty();
        WebPages {
            names: is_checked.then(|| [self.hosts.as_slice(), names].concat()),
            url: url.to_owned(),
            origins: self.origins.clone(),
        }
    }

    pub(super) fn validate(&self, faults: &mut Faults) {
        faults.url("server.url", &self.url);
        self.tls.validate(faults);
        if self.proxy_protocol && self.trusted_proxies.is_empty() {
            faults.add("server.proxy_protocol", "needs server.trusted_proxies, too");
        }
        if !self.hosts.iter().all(|host| is_host_pattern(host)) {
            faults.add("server.hosts", "write host names in lower case, without port, such as registry.example");
        }
        if !self.origins.iter().all(|origin| is_origin(origin)) {
            faults.add("server.origins", "write origins without a path, such as https://ui.example");
        }
        faults.count("server.max_connections", self.max_connections);
        faults.not_zero("server.header_timeout", self.header_timeout);
        faults.not_zero("server.keep_alive_timeout", self.keep_alive_timeout);
        faults.not_zero("server.idle_body_timeout", self.idle_body_timeout);
        // A bearer token does not fit into less than 8 KiB. A head of more than 1 MiB is an attack.
        let (least, most) = (ByteSize::from_kib(8), ByteSize::from_mib(1));
        faults.size_within("server.max_header_bytes", self.max_header_bytes, least, most);
    }
}

fn is_host_pattern(text: &str) -> bool {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let in_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    !name.is_empty() && name.bytes().all(in_name)
}

fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let in_host = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_:[]".contains(&byte);
    host.is_some_and(|host| !host.is_empty() && host.bytes().all(in_host))
}

/// How `Location`s begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Locations {
    /// With the path.
    Relative,
    /// With the scheme and host of the request, which a trusted proxy may override.
    Absolute,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_on_loopback_and_where_they_are_given() {
        let names = |server: &Server, listen: &str| {
            let listen: Vec<_> = listen.split(' ').map(|address| address.parse().unwrap()).collect();
            server.pages(&listen, "", &["a".to_owned()]).names
        };
        let plain = Server::default();
        assert_eq!(names(&plain, "127.0.0.1:5000"), Some(vec!["a".to_owned()]));
        assert_eq!(names(&plain, "[::1]:5000"), Some(vec!["a".to_owned()]));
        assert_eq!(names(&plain, "0.0.0.0:5000"), None);
        assert_eq!(names(&plain, "127.0.0.1:5000 0.0.0.0:5001"), None, "a second listener is public");
        let proxied = Server { trusted_proxies: vec!["127.0.0.1".parse().unwrap()], ..Server::default() };
        assert_eq!(names(&proxied, "127.0.0.1:5000"), None);
        let named = Server { hosts: vec!["b".to_owned()], ..proxied };
        for listen in ["127.0.0.1:5000", "0.0.0.0:5000"] {
            assert_eq!(names(&named, listen), Some(vec!["b".to_owned(), "a".to_owned()]), "{listen}");
        }
    }

    #[test]
    fn browsers_are_bound_to_https_only_for_a_name_that_the_operator_gave() {
        let promise = |url: &str| Server { url: url.to_owned(), ..Server::default() }.strict_transport();
        assert_eq!(promise("https://registry.example:5443/a").as_deref(), Some("max-age=15552000"));
        for url in ["", "http://registry.example", "https://localhost", "https://a.localhost:1", "https://192.0.2.1"] {
            assert_eq!(promise(url), None, "{url}");
        }
        let off = Tls { hsts: TimeSpan::ZERO, ..Tls::default() };
        let server = Server { url: "https://registry.example".to_owned(), tls: off, ..Server::default() };
        assert_eq!(server.strict_transport(), None);
    }

    #[test]
    fn names_and_origins_of_pages_are_checked() {
        for name in ["a", "registry.example", "*.example", "my_host"] {
            assert!(is_host_pattern(name), "{name}");
        }
        for name in ["", "*", "*.", "A", "a:80", "http://a", "a/b", "a*.b"] {
            assert!(!is_host_pattern(name), "{name}");
        }
        assert!(is_origin("https://ui.example") && is_origin("http://[::1]:80"));
        for origin in ["", "ui.example", "https://", "https://ui.example/", "null", "*"] {
            assert!(!is_origin(origin), "{origin}");
        }
    }
}
