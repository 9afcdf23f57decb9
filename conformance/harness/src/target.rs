//! The server under judgement: where it is, how it is spoken to, and what is asked of it.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use rustls::ClientConfig;

use crate::client::{Connection, Request, Response};
use crate::login::{Account, Login};
use crate::tls;

/// A server to judge.
#[derive(Clone, Debug)]
pub struct Target {
    pub host: String,
    pub port: u16,
    /// Present for https.
    pub tls: Option<Arc<ClientConfig>>,
    /// The file of certificates that were named for it, for programs that are told of it.
    pub ca: Option<PathBuf>,
    /// Finds out how the server wants to be logged in to; absent where no login is ever wanted.
    pub login: Option<Arc<Login>>,
    /// Skyberth's own policy is asked of it, beyond the specification.
    pub own: bool,
}

impl Target {
    /// A server of ours that speaks http.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Target { host: host.into(), port, tls: None, ca: None, login: None, own: true }
    }

    pub fn local(port: u16) -> Self {
        Target::new("127.0.0.1", port)
    }

    /// Reads `http://HOST[:PORT]`.
    pub fn parse(url: &str) -> anyhow::Result<Self> {
        let (secure, target) = address(url)?;
        if secure {
            bail!("{url}: only http:// is spoken here");
        }
        Ok(target)
    }

    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.authority())
    }

    /// This registry, addressed without a login.
    pub fn anonymous(&self) -> Self {
        Target { login: None, ..self.clone() }
    }

    /// One request on a connection of its own.
    pub fn send(&self, request: &Request) -> anyhow::Result<Response> {
        Connection::open(self)?.send(request)
    }

    /// Whether a URL leads to this very server.
    pub fn is_at(&self, url: &str) -> bool {
        address(url).is_ok_and(|(secure, other)| {
            secure == self.tls.is_some() && other.port == self.port && other.host.eq_ignore_ascii_case(&self.host)
        })
    }
}

/// Host and port of an http or https URL, whatever follows them, and whether it is https.
pub fn address(url: &str) -> anyhow::Result<(bool, Target)> {
    let (secure, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => bail!("{url}: neither http:// nor https://"),
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        // A colon within brackets belongs to the address.
        Some((host, port)) if !port.contains(']') => (host, port.parse().with_context(|| format!("{url}: bad port"))?),
        _ => (authority, if secure { 443 } else { 80 }),
    };
    anyhow::ensure!(!host.is_empty(), "{url}: no host");
    Ok((secure, Target::new(host, port)))
}

/// The registry that a check is to judge, if it runs already.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TargetArgs {
    /// The registry to judge: `http://HOST[:PORT]` or `https://HOST[:PORT]`.
    #[arg(long)]
    url: Option<String>,
    /// A PEM file with certificates to trust, besides the system's.
    #[arg(long, value_name = "FILE", requires = "url")]
    ca: Option<PathBuf>,
    /// The account to log in with, by Basic or Bearer as the registry asks. The password is in `CONFORMANCE_PASSWORD`,
    /// or is the first line of standard input.
    #[arg(long, requires = "url")]
    username: Option<String>,
    /// Asks Skyberth's own policy of the registry too.
    #[arg(long, requires = "url")]
    own: bool,
}

impl TargetArgs {
    /// None without `--url`.
    pub fn target(&self) -> anyhow::Result<Option<Target>> {
        let Some(url) = &self.url else { return Ok(None) };
        let (secure, plain) = address(url)?;
        let tls = if secure { Some(tls::config(self.ca.as_deref())?) } else { None };
        let account = self.username.as_ref().map(|name| Account::with_password(name)).transpose()?;
        let ca = self.ca.clone();
        Ok(Some(Target { tls, ca, login: Some(Arc::new(Login::new(account))), own: self.own, ..plain }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_scheme_a_host_and_a_port() {
        let read = |url: &str| address(url).map(|(secure, target)| (secure, target.host, target.port)).unwrap();
        assert_eq!(read("http://a:5000/"), (false, "a".to_owned(), 5000));
        assert_eq!(read("https://a/v2/x:1"), (true, "a".to_owned(), 443));
        assert_eq!(read("http://[::1]:5000"), (false, "[::1]".to_owned(), 5000));
        assert_eq!(read("http://[::1]"), (false, "[::1]".to_owned(), 80));
        assert!(address("ftp://a").is_err() && address("http://a:b").is_err() && address("http://").is_err());
    }

    #[test]
    fn a_location_with_or_without_the_usual_port_leads_to_the_same_server() {
        let target = Target::new("registry.example", 80);
        assert!(target.is_at("http://registry.example/v2/x") && target.is_at("http://Registry.example:80/v2/x"));
        assert!(!target.is_at("https://registry.example:80/v2/x") && !target.is_at("http://registry.example.org/"));
    }
}
