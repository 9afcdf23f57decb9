//! `GET /`: what this registry holds, for a person with a browser; no JavaScript.

use std::fmt::Write as _;

use axum::body::Body;
use http::header::{CONTENT_SECURITY_POLICY, HOST};
use http::{HeaderValue, Response, StatusCode};

use super::App;
use super::health::text;
use super::request::{Answer, Request};
use crate::http::error::HttpError;
use crate::oci::{Reference, RepositoryName};
use crate::service::Error;

/// Repositories on one page.
const REPOSITORIES: usize = 50;
/// Tags shown of each.
const TAGS: usize = 20;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b2733}\
h1{font-size:1.4rem}h2{font-size:1.05rem;margin:1.6rem 0 .3rem}table{border-collapse:collapse;width:100%}\
td,th{text-align:left;padding:.25rem .8rem .25rem 0;border-bottom:1px solid #e3e8ee;vertical-align:top}\
code{font:13px ui-monospace,monospace;user-select:all;overflow-wrap:anywhere}.dim{color:#6b7a89}a{color:#0a5ea8}";

/// The page that begins after `?last=`.
pub(super) async fn page(app: &App, request: &Request) -> Answer {
    let host = request.header(&HOST).filter(|host| is_host(host)).unwrap_or("localhost:5000").to_owned();
    let last = request.query.get("last").map(str::to_owned);
    render(app, &host, last).await.map_err(|error| HttpError::from_service(error, None))
}

async fn render(app: &App, host: &str, last: Option<String>) -> Result<Response<Body>, Error> {
    let names = app.registry.repositories(last, REPOSITORIES).await?;
    let mut html = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>Skyberth</title><style>{STYLE}</style><h1>Skyberth <span class=dim>{}</span></h1>",
        env!("CARGO_PKG_VERSION")
    );
    if let Some(durability) = app.registry.durability() {
        let _ = write!(html, "<p class=dim>{durability}");
    }
    if names.names.is_empty() {
        let _ = write!(
            html,
            "<p>Nothing here yet. Push something:<p><code>docker tag IMAGE {host}/IMAGE &amp;&amp; docker push {host}/IMAGE</code>"
        );
    }
    for name in &names.names {
        repository(app, host, name, &mut html).await?;
    }
    if let (true, Some(name)) = (names.more, names.names.last()) {
        let _ = write!(html, "<p><a href=\"/?last={name}\">more</a>");
    }
    let mut response = text(StatusCode::OK, "text/html; charset=utf-8", html);
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

/// Names, tags and digests hold nothing that HTML would read otherwise: their grammars have no such character.
async fn repository(app: &App, host: &str, name: &RepositoryName, html: &mut String) -> Result<(), Error> {
    let page = app.registry.tags(name, None, TAGS).await?;
    let _ = write!(html, "<h2>{name}</h2><table><tr><th>tag<th>digest<th>size<th>pull");
    for tag in page.tags {
        let Ok(info) = app.registry.stat_manifest(name, &Reference::Tag(tag.clone())) else {
            continue;
        };
        let size = app.registry.image_size(name, &info.digest).await?;
        let _ = write!(
            html,
            "<tr><td>{tag}<td><code>{}</code><td>{}<td><code>docker pull {host}/{name}:{tag}</code>",
            info.digest,
            crate::units::bytes(size)
        );
    }
    html.push_str("</table>");
    if page.more {
        let _ = write!(html, "<p class=dim>and more tags: <a href=\"/v2/{name}/tags/list\">all</a>");
    }
    Ok(())
}

/// `Host` goes into the page: only what a host and port can be made of.
fn is_host(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
}
