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
}

impl Route {
    /// Reads the raw, still encoded path of a request.
    pub(crate) fn parse(path: &str) -> Option<Route> {
        Some(match path {
            "/" | "" => Route::Root,
            "/livez" | "/readyz" => Route::Live,
            "/metrics" => Route::Metrics,
            "/skynet/stats" => Route::Stats,
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
        }
    }

    /// `Allow`.
    pub(crate) fn methods(&self) -> &'static [http::Method] {
        use http::Method;
        match self {
            Route::Root | Route::Live | Route::Metrics | Route::Stats => &[Method::GET, Method::HEAD],
        }
    }
}
