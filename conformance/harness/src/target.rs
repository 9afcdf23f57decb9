//! The registry that a check is told to judge, and the login to it.

use std::path::PathBuf;
use std::sync::Arc;

use crate::client::login::{Account, Login};
use crate::client::{Target, address};
use crate::tls;

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
