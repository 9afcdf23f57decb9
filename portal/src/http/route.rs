//! From host, method-free path to what is asked for: the grammar of the whole API on one page.

use super::download::{Address, below};
use super::left_out;

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
    /// `/<skylink>[/path]`, `/skynet/skylink/<skylink>[/path]`, and any path on a skylink's own host.
    Download(Address),
    /// `/skynet/metadata/<skylink>`.
    Metadata(Address),
    /// A part of other portals that this one does not have.
    LeftOut(&'static str),
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
    /// Reads the host and the path of a request. What lies below the portal's own name is no part of its API.
    pub(crate) fn at(host: Option<&str>, hostname: &str, path: &str) -> Option<Route> {
        let Some(label) = host.and_then(|host| below(host, hostname)) else { return Route::parse(path) };
        if let Some(address) = Address::on_host(host?, hostname, path) {
            return Some(Route::Download(address));
        }
        left_out::at_host(label).map(Route::LeftOut).or_else(|| Route::parse(path))
    }

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
            _ => {
                let left_out = || left_out::at_path(path).map(Route::LeftOut);
                return Route::parse_prefixed(path)
                    .or_else(left_out)
                    .or_else(|| Address::in_root(path).map(Route::Download));
            }
        })
    }

    /// Paths that something follows.
    fn parse_prefixed(path: &str) -> Option<Route> {
        let (first, rest) = path.strip_prefix("/skynet/")?.split_once('/').unwrap_or((&path["/skynet/".len()..], ""));
        Some(match first {
            "skyfile" => Route::Skyfile,
            "resolve" => Route::Resolve(rest.to_owned()),
            "skylink" => Route::Download(Address::in_path(rest)),
            "metadata" => Route::Metadata(Address::in_path(rest)),
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
            Route::Download(_) => "download",
            Route::Metadata(_) => "metadata",
            Route::LeftOut(_) => "left_out",
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
            Route::LeftOut(_) => &[Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE],
            Route::Root
            | Route::Live
            | Route::Metrics
            | Route::Stats
            | Route::Download(_)
            | Route::Metadata(_)
            | Route::EntryHealth
            | Route::Resolve(_) => &[Method::GET, Method::HEAD],
            Route::Registry => &[Method::GET, Method::HEAD, Method::POST],
            Route::RegistryMulti => &[Method::POST],
            Route::Skyfile => &[Method::POST],
        }
    }
}
