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
            _ => return Route::parse_prefixed(path),
        })
    }

    /// Paths that something follows.
    fn parse_prefixed(path: &str) -> Option<Route> {
        let (first, rest) = path.strip_prefix("/skynet/")?.split_once('/').unwrap_or((&path["/skynet/".len()..], ""));
        Some(match first {
            "skyfile" => Route::Skyfile,
            "resolve" => Route::Resolve(rest.to_owned()),
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
            Route::Skyfile => "skyfile",
        }
    }

    /// `Allow`.
    pub(crate) fn methods(&self) -> &'static [http::Method] {
        use http::Method;
        match self {
            Route::Root | Route::Live | Route::Metrics | Route::Stats | Route::EntryHealth | Route::Resolve(_) => {
                &[Method::GET, Method::HEAD]
            }
            Route::Registry => &[Method::GET, Method::HEAD, Method::POST],
            Route::RegistryMulti => &[Method::POST],
            Route::Skyfile => &[Method::POST],
        }
    }
}
