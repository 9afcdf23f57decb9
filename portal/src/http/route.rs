//! From host, method-free path to what is asked for: the grammar of the whole API on one page.

use storage_backends::fs::UploadId;

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
    /// `/skynet/tus`.
    Tus,
    /// `/skynet/tus/:id`; `None`: no upload can have that id.
    TusUpload(Option<UploadId>),
    /// `/skynet/upload/tus/:id`; the same.
    TusSkylink(Option<UploadId>),
}

impl Route {
    /// Reads the raw, still encoded path of a request.
    pub(crate) fn parse(path: &str) -> Option<Route> {
        Some(match path {
            "/" | "" => Route::Root,
            "/livez" | "/readyz" => Route::Live,
            "/metrics" => Route::Metrics,
            "/skynet/stats" => Route::Stats,
            "/skynet/tus" | "/skynet/tus/" => Route::Tus,
            _ => return Route::parse_upload(path),
        })
    }

    fn parse_upload(path: &str) -> Option<Route> {
        if let Some(id) = path.strip_prefix("/skynet/tus/") {
            return Some(Route::TusUpload(id.parse().ok()));
        }
        path.strip_prefix("/skynet/upload/tus/").map(|id| Route::TusSkylink(id.parse().ok()))
    }

    /// True for what speaks TUS.
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
            Route::Tus => "tus_create",
            Route::TusUpload(_) => "tus_upload",
            Route::TusSkylink(_) => "tus_skylink",
        }
    }

    /// `Allow`.
    pub(crate) fn methods(&self) -> &'static [http::Method] {
        use http::Method;
        match self {
            Route::Root | Route::Live | Route::Metrics | Route::Stats | Route::TusSkylink(_) => {
                &[Method::GET, Method::HEAD]
            }
            Route::Tus => &[Method::POST],
            Route::TusUpload(_) => &[Method::HEAD, Method::PATCH, Method::DELETE, Method::POST],
        }
    }
}
