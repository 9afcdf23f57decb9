//! `GET /`: a page of repositories and tags for browsers, without JavaScript.

use std::fmt::Write as _;

use http::header::{CONTENT_SECURITY_POLICY, HOST};
use http::{HeaderValue, StatusCode};

use super::App;
use super::error::HttpError;
use super::health::text;
use super::request::{Answer, Request};
use super::v2::discovery::visible;
use crate::service::{Overview, RepositoryOverview, TagOverview};
use crate::units;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b2733}\
h1{font-size:1.4rem}h2{font-size:1.05rem;margin:1.6rem 0 .3rem}table{border-collapse:collapse;width:100%}\
td,th{text-align:left;padding:.25rem .8rem .25rem 0;border-bottom:1px solid #e3e8ee;vertical-align:top}\
.fixed{white-space:nowrap}\
code{font:13px ui-monospace,monospace;user-select:all;overflow-wrap:anywhere}.dim{color:#6b7a89}a{color:#0a5ea8}";

/// The page after `?last=`, with the repositories that the caller may see. `Host` is from this request.
pub(super) async fn page(app: &App, request: &Request) -> Answer {
    let host = request.header(&HOST).filter(|host| is_host(host)).unwrap_or("localhost:5000");
    let overview = app.registry.overview(request.query.get("last").map(str::to_owned), visible(app, request)).await;
    let overview = overview.map_err(|error| HttpError::from_service(error, None))?;
    let durability = app.registry.durability().map(|durability| durability.to_string());
    let html = render(host, &overview, durability.as_deref());
    let mut response = text(StatusCode::OK, "text/html; charset=utf-8", html);
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

fn render(host: &str, overview: &Overview, durability: Option<&str>) -> String {
    let mut html = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>Skyberth</title><style>{STYLE}</style><h1>Skyberth <span class=dim>{}</span></h1>",
        env!("CARGO_PKG_VERSION")
    );
    if let Some(durability) = durability {
        let _ = write!(html, "<p class=dim>{durability}");
    }
    if overview.repositories.is_empty() {
        let _ = write!(
            html,
            "<p>Nothing here yet. Push something:<p><code>docker tag IMAGE {host}/IMAGE &amp;&amp; docker push {host}/IMAGE</code>"
        );
    }
    for repository in &overview.repositories {
        add_repository(&mut html, host, repository);
    }
    if let (true, Some(last)) = (overview.more, overview.repositories.last()) {
        let _ = write!(html, "<p><a href=\"/?last={}\">more</a>", last.name);
    }
    html
}

/// Appends a repository. Names, tags and digests need no escaping: their grammars have no characters special to HTML.
fn add_repository(html: &mut String, host: &str, RepositoryOverview { name, tags, more }: &RepositoryOverview) {
    let _ = write!(html, "<h2>{name}</h2><table><tr><th>tag<th>digest<th>size<th>tagged<th>pull");
    for TagOverview { tag, digest, size, set_at } in tags {
        let size = size.map(units::bytes).unwrap_or_default();
        let date = set_at.map(units::date).unwrap_or_default();
        let _ = write!(
            html,
            "<tr><td>{tag}<td><code>{digest}</code><td class=fixed>{size}<td class=fixed>{date}\
             <td><code>docker pull {host}/{name}:{tag}</code>"
        );
    }
    html.push_str("</table>");
    if *more {
        let _ = write!(html, "<p class=dim>and more tags: <a href=\"/v2/{name}/tags/list\">all</a>");
    }
}

/// True for a valid host and port. `Host` is copied into the page, so nothing else is allowed.
fn is_host(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
}
