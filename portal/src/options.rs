//! What the operator of a portal chooses; each has a key of the same name in the configuration.

use std::time::Duration;

/// The settings of one portal.
#[derive(Clone, Debug)]
pub struct PortalOptions {
    /// Base URL under which clients reach the portal, such as `https://portal.example`; empty: what the request's `Host`
    /// says, over plain HTTP.
    pub url: String,
    /// Name of the host below which every skylink has its own origin, `<base32 skylink>.<hostname>`.
    pub hostname: String,
    /// A body of which nothing comes for so long is given up.
    pub idle_body_timeout: Duration,
    /// Serve `/metrics`.
    pub metrics: bool,
}
