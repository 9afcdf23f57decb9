//! From host and path to the requested endpoint: the grammar of the whole API on one page.

use content_store::UploadId;

use super::download::{Address, below};
use super::left_out;

/// The endpoint of a request.
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
    /// `/skynet/identity?nonce=`.
    Identity,
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
    /// `/skynet/blocklist`, and `/skynet/blacklist`, its former name.
    Blocklist,
    /// `/skynet/root`.
    SectorBytes,
    /// `/skynet/basesector/<skylink>`.
    BaseSector(String),
    /// `/skynet/trustless/basesector/<skylink>`.
    Trustless(String),
    /// `/skynet/trustless/file/v1/<skylink>`.
    TrustlessFile(String),
    /// `/skynet/pin/<skylink>`.
    Pin(String),
    /// `/skynet/unpin/<skylink>`.
    Unpin(String),
    /// `/skynet/health/skylink/<skylink>`.
    SkylinkHealth(String),
    /// `/skynet/restore`.
    Restore,
    /// `/skynet/skyfile`. The rest of the path is ignored; in skyd it was a path in its own file system.
    Skyfile,
    /// `/<skylink>[/path]`, `/skynet/skylink/<skylink>[/path]`, and any path on a skylink's own host.
    Download(Address),
    /// `/skynet/metadata/<skylink>`.
    Metadata(Address),
    /// A feature of other portals that this one does not have.
    LeftOut(&'static str),
    /// `/skynet/tus`.
    Tus,
    /// `/skynet/tus/:id`; `None` if no upload can have that id.
    TusUpload(Option<UploadId>),
    /// `/skynet/upload/tus/:id`; `None` if no upload can have that id.
    TusSkylink(Option<UploadId>),
}

impl Route {
    /// The route for the host and the path of a request. Hosts below the portal's own name do not belong to its API.
    pub(crate) fn at(host: Option<&str>, hostname: &str, path: &str) -> Option<Route> {
        let Some(label) = host.and_then(|host| below(host, hostname)) else { return Route::parse(path) };
        if let Some(address) = Address::on_host(host?, hostname, path) {
            return Some(Route::Download(address));
        }
        left_out::at_host(label).map(Route::LeftOut).or_else(|| Route::parse(path))
    }

    /// The route for the raw, still encoded path of a request.
    pub(crate) fn parse(path: &str) -> Option<Route> {
        Some(match path {
            "/" | "" => Route::Root,
            "/livez" | "/readyz" => Route::Live,
            "/metrics" => Route::Metrics,
            "/skynet/stats" => Route::Stats,
            "/skynet/identity" => Route::Identity,
            "/skynet/registry" => Route::Registry,
            "/skynet/registrymulti" => Route::RegistryMulti,
            "/skynet/health/entry" => Route::EntryHealth,
            "/skynet/portals" => Route::Portals,
            "/skynet/blocklist" | "/skynet/blacklist" => Route::Blocklist,
            "/skynet/root" => Route::SectorBytes,
            "/skynet/restore" => Route::Restore,
            "/skynet/tus" | "/skynet/tus/" => Route::Tus,
            _ => {
                return Route::parse_prefixed(path)
                    .or_else(|| Route::of_upload(path))
                    .or_else(|| Route::of_skylink(path))
                    .or_else(|| left_out::at_path(path).map(Route::LeftOut));
            }
        })
    }

    /// Parses paths with a variable part.
    fn parse_prefixed(path: &str) -> Option<Route> {
        let (first, rest) = path.strip_prefix("/skynet/")?.split_once('/').unwrap_or((&path["/skynet/".len()..], ""));
        Some(match first {
            "skyfile" => Route::Skyfile,
            "resolve" => Route::Resolve(rest.to_owned()),
            "basesector" => Route::BaseSector(rest.to_owned()),
            "pin" => Route::Pin(rest.to_owned()),
            "unpin" => Route::Unpin(rest.to_owned()),
            "health" => Route::SkylinkHealth(rest.strip_prefix("skylink/")?.to_owned()),
            "trustless" => match rest.strip_prefix("file/v1/") {
                Some(skylink) => Route::TrustlessFile(skylink.to_owned()),
                None => Route::Trustless(rest.strip_prefix("basesector/")?.to_owned()),
            },
            _ => return None,
        })
    }

    fn of_skylink(path: &str) -> Option<Route> {
        if let Some(rest) = path.strip_prefix("/skynet/skylink/") {
            return Some(Route::Download(Address::in_path(rest)));
        }
        if let Some(rest) = path.strip_prefix("/skynet/metadata/") {
            return Some(Route::Metadata(Address::in_path(rest)));
        }
        Address::in_root(path).map(Route::Download)
    }

    fn of_upload(path: &str) -> Option<Route> {
        if let Some(id) = path.strip_prefix("/skynet/tus/") {
            return Some(Route::TusUpload(id.parse().ok()));
        }
        path.strip_prefix("/skynet/upload/tus/").map(|id| Route::TusSkylink(id.parse().ok()))
    }

    /// True on a skylink's own host, whose origin nothing else shares.
    pub(crate) fn is_own_origin(&self) -> bool {
        matches!(self, Route::Download(address) if address.is_own_origin())
    }

    /// True for endpoints of TUS.
    pub(crate) fn is_tus(&self) -> bool {
        matches!(self, Route::Tus | Route::TusUpload(_))
    }

    /// The name in metrics and logs.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Route::Root => "root",
            Route::Live => "live",
            Route::Metrics => "metrics",
            Route::Stats => "stats",
            Route::Identity => "identity",
            Route::Registry => "registry",
            Route::RegistryMulti => "registrymulti",
            Route::EntryHealth => "health_entry",
            Route::Resolve(_) => "resolve",
            Route::Portals => "portals",
            Route::Blocklist => "blocklist",
            Route::SectorBytes => "root_bytes",
            Route::BaseSector(_) => "basesector",
            Route::Trustless(_) => "trustless",
            Route::TrustlessFile(_) => "trustless_file",
            Route::Pin(_) => "pin",
            Route::Unpin(_) => "unpin",
            Route::SkylinkHealth(_) => "health_skylink",
            Route::Restore => "restore",
            Route::Skyfile => "skyfile",
            Route::Download(_) => "download",
            Route::Metadata(_) => "metadata",
            Route::LeftOut(_) => "left_out",
            Route::Tus => "tus_create",
            Route::TusUpload(_) => "tus_upload",
            Route::TusSkylink(_) => "tus_skylink",
        }
    }

    /// The methods for `Allow`.
    pub(crate) fn methods(&self) -> &'static [http::Method] {
        use http::Method;
        match self {
            Route::Root
            | Route::Live
            | Route::Metrics
            | Route::Stats
            | Route::Identity
            | Route::Portals
            | Route::EntryHealth
            | Route::Resolve(_)
            | Route::SectorBytes
            | Route::BaseSector(_)
            | Route::Trustless(_)
            | Route::TrustlessFile(_)
            | Route::SkylinkHealth(_)
            | Route::Download(_)
            | Route::Metadata(_)
            | Route::TusSkylink(_) => &[Method::GET, Method::HEAD],
            Route::Registry | Route::Blocklist => &[Method::GET, Method::HEAD, Method::POST],
            Route::RegistryMulti | Route::Skyfile | Route::Restore | Route::Pin(_) | Route::Unpin(_) | Route::Tus => {
                &[Method::POST]
            }
            Route::LeftOut(_) => &[Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE],
            Route::TusUpload(_) => &[Method::HEAD, Method::PATCH, Method::DELETE, Method::POST],
        }
    }
}
