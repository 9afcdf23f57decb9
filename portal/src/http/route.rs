//! From host, method-free path to what is asked for: the grammar of the whole API on one page.

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/`.
    Root,
    /// `/livez`, `/readyz`.
    Live,
    /// `/metrics`.
    Metrics,
    /// `/skynet/stats`.
    Stats,
    /// `/skynet/registry`.
    Registry,
    /// `/skynet/registrymulti`.
    RegistryMulti,
    /// `/skynet/health/entry`.
    EntryHealth,
    /// `/skynet/resolve/<skylink>`.
    Resolve(String),
    /// `/skynet/portals`.
    Portals,
    /// `/skynet/blocklist`, and `/skynet/blacklist` as it was called before.
    Blocklist,
    /// `/skynet/root`.
    SectorBytes,
    /// `/skynet/basesector/<skylink>`.
    BaseSector(String),
    /// `/skynet/trustless/basesector/<skylink>`, `/skynet/trustless/file/v1/<skylink>`.
    Trustless(String),
    /// `/skynet/pin/<skylink>`.
    Pin(String),
    /// `/skynet/unpin/<skylink>`.
    Unpin(String),
    /// `/skynet/health/skylink/<skylink>`.
    SkylinkHealth(String),
    /// `/skynet/restore`.
    Restore,
    /// `/skynet/skyfile`; what stands behind it does not matter, it was a path in skyd's own file system.
    Skyfile,
}

impl Route {
    /// Reads the raw, still encoded path of a request.
    pub(crate) fn parse(path: &str) -> Option<Route> {
        Some(match path {
            "/" | "" => Route::Root,
            "/livez" | "/readyz" => Route::Live,
            "/metrics" => Route::Metrics,
            "/skynet/stats" => Route::Stats,
            "/skynet/registry" => Route::Registry,
            "/skynet/registrymulti" => Route::RegistryMulti,
            "/skynet/health/entry" => Route::EntryHealth,
            "/skynet/portals" => Route::Portals,
            "/skynet/blocklist" | "/skynet/blacklist" => Route::Blocklist,
            "/skynet/root" => Route::SectorBytes,
            "/skynet/restore" => Route::Restore,
            _ => return Route::parse_prefixed(path),
        })
    }

    /// Paths that something follows.
    fn parse_prefixed(path: &str) -> Option<Route> {
        let (first, rest) = path.strip_prefix("/skynet/")?.split_once('/').unwrap_or((&path["/skynet/".len()..], ""));
        Some(match first {
            "skyfile" => Route::Skyfile,
            "resolve" => Route::Resolve(rest.to_owned()),
            "basesector" => Route::BaseSector(rest.to_owned()),
            "pin" => Route::Pin(rest.to_owned()),
            "unpin" => Route::Unpin(rest.to_owned()),
            "health" => Route::SkylinkHealth(rest.strip_prefix("skylink/")?.to_owned()),
            "trustless" => {
                let rest = rest.strip_prefix("basesector/").or_else(|| rest.strip_prefix("file/v1/"))?;
                Route::Trustless(rest.to_owned())
            }
            _ => return None,
        })
    }

    /// The name in metrics and logs.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Route::Root => "root",
            Route::Live => "live",
            Route::Metrics => "metrics",
            Route::Stats => "stats",
            Route::Registry => "registry",
            Route::RegistryMulti => "registrymulti",
            Route::EntryHealth => "health_entry",
            Route::Resolve(_) => "resolve",
            Route::Portals => "portals",
            Route::Blocklist => "blocklist",
            Route::SectorBytes => "root_bytes",
            Route::BaseSector(_) => "basesector",
            Route::Trustless(_) => "trustless",
            Route::Pin(_) => "pin",
            Route::Unpin(_) => "unpin",
            Route::SkylinkHealth(_) => "health_skylink",
            Route::Restore => "restore",
            Route::Skyfile => "skyfile",
        }
    }

    /// `Allow`.
    pub(crate) fn methods(&self) -> &'static [http::Method] {
        use http::Method;
        match self {
            Route::Root
            | Route::Live
            | Route::Metrics
            | Route::Stats
            | Route::Portals
            | Route::EntryHealth
            | Route::Resolve(_)
            | Route::SectorBytes
            | Route::BaseSector(_)
            | Route::Trustless(_)
            | Route::SkylinkHealth(_) => &[Method::GET, Method::HEAD],
            Route::Registry | Route::Blocklist => &[Method::GET, Method::HEAD, Method::POST],
            Route::RegistryMulti | Route::Skyfile | Route::Restore | Route::Pin(_) | Route::Unpin(_) => &[Method::POST],
        }
    }
}
