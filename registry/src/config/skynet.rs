//! `[storage.skynet]`: the portals that keep copies.

use backends::skynet::MAX_PORTALS;
use backends::skynet::PortalUrl;
use serde::{Deserialize, Serialize};
use skynet_formats::profile::Profile;

use super::Secret;
use super::secret::shown_url;
use super::validate::Faults;

/// The portals, their profile, and the credentials for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Skynet {
    /// URLs of the portals, the preferred ones first.
    pub portals: Vec<String>,
    /// Failure domain of each portal, in their order, in any words, such as a city. A portal that is `here` is lost
    /// together with this machine. Without any, private addresses and those of this machine are `here`.
    pub domains: Vec<String>,
    /// Number of portals on which each piece of content is placed.
    pub copies: u32,
    /// Profile of all the portals, and of the gateway. A portal with another profile stops the start.
    pub profile: String,
    /// Key of an account, sent as `Skynet-Api-Key`. Give at most one of `api_key`, `cookie` and `skyd_password`. Empty:
    /// none is sent.
    pub api_key: Secret,
    /// Session of an account, sent as the cookie `skynet-jwt`. Empty: none is sent.
    pub cookie: Secret,
    /// API password of the portals, if they are bare skyd. Empty: none is sent.
    pub skyd_password: Secret,
}

impl Default for Skynet {
    fn default() -> Self {
        Skynet {
            portals: Vec::new(),
            domains: Vec::new(),
            copies: 1,
            profile: Profile::DEFAULT.to_string(),
            api_key: Secret::default(),
            cookie: Secret::default(),
            skyd_password: Secret::default(),
        }
    }
}

impl Skynet {
    /// Reports faults. `named`: the backend is `skynet`. `attached`: an attached portal is one more, or the only one.
    pub(super) fn validate(&self, named: bool, attached: bool, faults: &mut Faults) {
        let used = named || attached;
        let portals = if named { self.portals.len() } else { 0 } + usize::from(attached);
        if used && portals == 0 {
            faults.add("storage.skynet.portals", "name at least one portal, such as http://127.0.0.1:9980");
        }
        for portal in &self.portals {
            if let Err(error) = portal.parse::<PortalUrl>() {
                faults.add("storage.skynet.portals", format!("`{}`: {error}", shown_url(portal)));
            }
        }
        if self.portals.len().max(portals) > MAX_PORTALS {
            faults.add("storage.skynet.portals", format!("more than {MAX_PORTALS} portals"));
        }
        if named && !self.domains.is_empty() && self.domains.len() != self.portals.len() {
            faults.add("storage.skynet.domains", "must be one for each of storage.skynet.portals, or none at all");
        }
        if self.domains.iter().any(|label| label.trim().is_empty()) {
            faults.add("storage.skynet.domains", "an empty label");
        }
        if self.copies == 0 || used && self.copies as usize > portals.max(1) {
            faults.add("storage.skynet.copies", "must be at least 1, and at most the number of portals");
        }
        if let Err(error) = self.profile.parse::<Profile>() {
            faults.add("storage.skynet.profile", error.to_string());
        }
        let given = [&self.api_key, &self.cookie, &self.skyd_password].iter().filter(|key| !key.is_empty()).count();
        if given > 1 {
            faults.add("storage.skynet.api_key", "give one of api_key, cookie and skyd_password");
        }
    }
}
