//! Options for the registry to judge and its login.

use std::path::PathBuf;
use std::sync::Arc;

use crate::client::login::{Account, Login};
use crate::client::{Target, address};
use crate::tls;

/// The registry to judge, if it already runs.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TargetArgs {
    /// The registry to judge: `http://HOST[:PORT]` or `https://HOST[:PORT]`.
    #[arg(long)]
    url: Option<String>,
    /// A PEM file with certificates to trust, besides the system's.
    #[arg(long, value_name = "FILE", requires = "url")]
    ca: Option<PathBuf>,
    /// The account to log in with, by Basic or Bearer as the registry requires. The password comes from
    /// `CONFORMANCE_PASSWORD`, or from the first line of standard input.
    #[arg(long, requires = "url")]
    username: Option<String>,
    /// A second account, without rights on what the first one pushes, for rows 5 and 47. Its password is in
    /// `CONFORMANCE_ALT_PASSWORD`, or is the second line of standard input.
    #[arg(long, requires = "username")]
    alt_username: Option<String>,
    /// Also require Skyberth's own policy of the registry.
    #[arg(long, requires = "url")]
    own: bool,
}

impl TargetArgs {
    /// The target; `None` without `--url`.
    pub fn target(&self) -> anyhow::Result<Option<Target>> {
        let Some(url) = &self.url else { return Ok(None) };
        let (secure, plain) = address(url)?;
        let tls = if secure { Some(tls::config(self.ca.as_deref())?) } else { None };
        let account = |name: &String, variable| Account::with_password(name, variable);
        let first = self.username.as_ref().map(|name| account(name, "CONFORMANCE_PASSWORD")).transpose()?;
        let second = self.alt_username.as_ref().map(|name| account(name, "CONFORMANCE_ALT_PASSWORD")).transpose()?;
        let login = Some(Arc::new(Login::new(first)));
        let alt = second.map(|account| Arc::new(Login::new(Some(account))));
        Ok(Some(Target { tls, ca: self.ca.clone(), login, alt, own: self.own, ..plain }))
    }
}
