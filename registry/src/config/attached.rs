//! `portal.attached`: validates the sections that must agree when a portal runs within `skyberth serve`.
//!
//! The portal has the settings of `[portal]`, except that its directory is `portal` within the registry's. It is the
//! first portal that the registry stores to. If `storage.backend` is `skynet`, those of `storage.skynet.portals`
//! follow. It counts as one of `storage.skynet.copies`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use reqwest::Url;

use super::secret::shown_url;
use super::validate::Faults;
use super::{Backend, Config, Source};

/// Settings that count only with a backend or an attached portal.
const OF_BACKENDS: [&str; 13] = [
    "storage.cache_size",
    "storage.private",
    "storage.staging_limit",
    "storage.transfers",
    "storage.cold_wait",
    "storage.flush_timeout",
    "storage.unpin_settle",
    "storage.skynet.portals",
    "storage.skynet.domains",
    "storage.skynet.copies",
    "storage.skynet.api_key",
    "storage.skynet.cookie",
    "storage.skynet.skyd_password",
];

impl Config {
    pub(super) fn validate_attached(&self, faults: &mut Faults) {
        let (portal, skynet) = (&self.portal, &self.storage.skynet);
        if !portal.attached {
            return;
        }
        if skynet.profile.parse() != Ok(portal.profile) {
            faults.add(
                "storage.skynet.profile",
                format!("must be the profile of the attached portal, {}", portal.profile),
            );
        }
        if !portal.api_keys.iter().take(1).all(|key| key.expose().bytes().all(|byte| byte.is_ascii_graphic())) {
            faults
                .add("portal.api_keys", "the first key must be visible ASCII characters: the registry itself sends it");
        }
        // A portal named in the list, too, would count as two.
        for named in skynet.portals.iter().filter(|named| is_loopback(named, portal.listen.0.port())) {
            faults.add(
                "storage.skynet.portals",
                format!("`{}` is the attached portal: remove it from the list, it counts already", shown_url(named)),
            );
        }
    }

    /// Warns of settings that are allowed but probably not meant, among them those of a backend that is not used.
    pub(super) fn warn_without_effect(&self, sources: &BTreeMap<String, Source>, warnings: &mut Vec<String>) {
        if self.portal.attached {
            self.warn_attached(sources, warnings);
        } else if self.storage.backend == Backend::Fs {
            let is_set = |key: &&str| sources.get(*key).is_some_and(|source| *source != Source::Default);
            let without_effect = |key| format!("{key} has no effect: storage.backend is fs");
            warnings.extend(OF_BACKENDS.iter().copied().filter(is_set).map(without_effect));
        }
    }

    fn warn_attached(&self, sources: &BTreeMap<String, Source>, warnings: &mut Vec<String>) {
        let is_set = |key: &str| sources.get(key).is_some_and(|source| *source != Source::Default);
        if is_set("portal.data") {
            let place = self.storage.data.join("portal");
            warnings
                .push(format!("portal.data has no effect on the attached portal; its store is {}", place.display()));
        }
        let skynet = &self.storage.skynet;
        if self.storage.backend == Backend::Skynet && !skynet.portals.is_empty() && skynet.copies == 1 {
            let why = "storage.skynet.copies is 1: the attached portal gets each blob, and the others get none";
            warnings.push(format!("{why} while it answers"));
        }
        if self.storage.backend == Backend::Fs && !skynet.portals.is_empty() {
            let why = "storage.skynet.portals has no effect: storage.backend is not skynet";
            warnings.push(format!("{why}, so the attached portal is the only one"));
        }
    }
}

/// True if a URL leads to this port of this machine. Port 0 never matches, since the real port is not chosen yet.
fn is_loopback(url: &str, port: u16) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    here && port != 0 && url.port_or_known_default() == Some(port)
}

#[cfg(test)]
mod tests {
    use super::super::{ConfigError, Fault, Flags, Loaded};
    use super::*;

    const SKYNET: (&str, &str) = ("SKYBERTH_STORAGE_BACKEND", "skynet");
    const PORTALS: &str = "SKYBERTH_STORAGE_SKYNET_PORTALS";
    const COPIES: &str = "SKYBERTH_STORAGE_SKYNET_COPIES";

    fn load(variables: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
        let variables: Vec<_> = variables.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect();
        Config::load(None, variables.into_iter(), Flags { with_portal: true, ..Flags::default() })
    }

    fn fault(variables: &[(&str, &str)]) -> (String, String) {
        match load(variables) {
            Err(ConfigError::Faults(faults)) => {
                let [Fault { key, message, .. }] = &faults[..] else { panic!("{faults:?}") };
                (key.clone(), message.clone())
            }
            other => panic!("no fault: {other:?}"),
        }
    }

    #[test]
    fn the_flag_is_the_setting() {
        let loaded = load(&[]).unwrap();
        assert!(loaded.config.portal.attached && loaded.warnings.is_empty());
        assert_eq!(loaded.sources["portal.attached"], Source::Flag("--with-portal"));
        let variable = [("SKYBERTH_PORTAL_ATTACHED".to_owned(), "true".to_owned())];
        let loaded = Config::load(None, variable.into_iter(), Flags::default()).unwrap();
        assert!(loaded.config.portal.attached);
    }

    #[test]
    fn it_is_one_of_the_portals_and_needs_no_other() {
        assert!(load(&[SKYNET]).is_ok());
        assert!(load(&[SKYNET, (PORTALS, "http://a:1"), (COPIES, "2")]).is_ok());
        for variables in
            [&[(COPIES, "2")][..], &[SKYNET, (COPIES, "2")], &[SKYNET, (PORTALS, "http://a:1"), (COPIES, "3")]]
        {
            assert_eq!(fault(variables).0, "storage.skynet.copies", "{variables:?}");
        }
    }

    #[test]
    fn it_is_not_named_among_the_others() {
        for own in ["http://127.0.0.1:9980", "http://localhost:9980/", "http://[::1]:9980", "http://127.1.2.3:9980"] {
            let (key, message) = fault(&[SKYNET, (PORTALS, own)]);
            assert_eq!(key, "storage.skynet.portals");
            assert!(message.contains("is the attached portal"), "{message}");
        }
        assert!(load(&[SKYNET, (PORTALS, "http://127.0.0.1:9981,http://portal.example:9980")]).is_ok());
    }

    #[test]
    fn both_sides_have_one_profile() {
        let other = ("SKYBERTH_PORTAL_PROFILE", "4KiB/1+4");
        assert_eq!(fault(&[other]).0, "storage.skynet.profile");
        assert!(load(&[other, ("SKYBERTH_STORAGE_SKYNET_PROFILE", "4KiB/1+4")]).is_ok());
    }

    #[test]
    fn the_registry_can_send_its_key() {
        assert_eq!(fault(&[("SKYBERTH_PORTAL_API_KEYS", "schlüssel,key")]).0, "portal.api_keys");
        assert!(load(&[("SKYBERTH_PORTAL_API_KEYS", "key,schlüssel")]).is_ok());
    }

    #[test]
    fn what_has_no_effect_is_said() {
        let warned = |variables: &[(&str, &str)], word: &str| {
            let warnings = load(variables).unwrap().warnings;
            assert!(warnings.len() == 1 && warnings[0].contains(word), "{warnings:?}");
        };
        warned(&[("SKYBERTH_PORTAL_DATA", "/srv/portal")], "skyberth-data/portal");
        warned(&[SKYNET, (PORTALS, "http://a:1")], "the others get none");
        warned(&[(PORTALS, "http://a:1")], "the only one");
        assert!(load(&[SKYNET, (PORTALS, "http://a:1"), (COPIES, "2")]).unwrap().warnings.is_empty());
    }

    #[test]
    fn settings_of_a_backend_that_is_not_used_are_told() {
        let load = |variables: &[(&str, &str)]| {
            let variables: Vec<_> = variables.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect();
            Config::load(None, variables.into_iter(), Flags::default())
        };
        let told = load(&[("SKYBERTH_STORAGE_CACHE_SIZE", "1GiB"), (PORTALS, "http://a:1")]).unwrap().warnings;
        let of = |key| format!("{key} has no effect: storage.backend is fs");
        assert_eq!(told, [of("storage.cache_size"), of("storage.skynet.portals")]);
        let ConfigError::Faults(faults) = load(&[("SKYBERTH_STORAGE_ACKNOWLEDGE", "network")]).unwrap_err() else {
            panic!("not a fault");
        };
        assert_eq!(faults[0].key, "storage.acknowledge", "{faults:?}");
        assert!(load(&[SKYNET, (PORTALS, "http://a:1"), ("SKYBERTH_STORAGE_ACKNOWLEDGE", "network")]).is_ok());
        assert!(self::load(&[("SKYBERTH_STORAGE_ACKNOWLEDGE", "network")]).is_ok(), "an attached portal is a backend");
    }
}
