//! What each operation costs, besides a place for its connection and memory for its request.

use serving::Query;

use super::action::Action;
use crate::resources::Resource;

impl Action<'_> {
    /// The resources that the operation uses up. The dispatcher takes permits for them. The query decides what a POST
    /// to
    /// `uploads/` does.
    pub(super) fn costs(&self, query: &Query) -> &'static [Resource] {
        use Resource::{
            Bodies, ColdReads, Disk, LargeManifests, LargeReads, Logins, Manifests, Staging, StartPage, Syncs, Uploads,
            Writer,
        };
        match self {
            Action::Base
            | Action::DiscoverExtensions
            | Action::ListRepositories
            | Action::ListTags(_)
            | Action::ListReferrers(..)
            | Action::HeadManifest(..)
            | Action::HeadBlob(..)
            | Action::UploadProgress(..)
            | Action::CancelUpload(..)
            | Action::TokenKeys
            | Action::Live
            | Action::Ready
            | Action::Metrics => &[],
            Action::GetManifest(..) => &[LargeReads, ColdReads],
            Action::PutManifest(..) => &[LargeManifests, Manifests, Staging, Disk, Writer],
            Action::DeleteManifest(..) | Action::DeleteBlob(..) => &[Writer],
            Action::GetBlob(..) => &[ColdReads],
            Action::BeginUpload(_) if query.get("digest").is_some() => &[Bodies, Uploads, Staging, Disk, Writer],
            Action::BeginUpload(_) if query.get("mount").is_some() => &[Uploads, Staging, Disk, Writer],
            Action::BeginUpload(_) => &[Uploads, Staging, Disk],
            Action::AppendUpload(..) => &[Bodies, Staging, Disk, Syncs],
            Action::GetToken | Action::PostToken => &[Logins],
            Action::Home => &[StartPage],
            Action::CloseUpload(..) => &[Bodies, Staging, Disk, Writer],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;

    use http::Method;
    use serving::Account;

    use super::super::route::Route;
    use super::*;

    const HEAD: &str = "# Resources

<!-- Made from registry/src/resources.rs and registry/src/http/costs.rs; the test resources_page writes it. -->

Clients share what a node has. This page lists each resource, its limit, and what a client gets when it is used up. [Shares of
clients](../explanation/shares.md) explains shares and waits.

## Registry

| resource | limit | one client has at most | if it is used up | it comes back when |
|---|---|---|---|---|
";

    const REQUESTS: &str = "
Each request takes a connection, and memory while it is in flight. One with a password takes a login. Besides, it takes:

| request | resources |
|---|---|
";

    const PORTAL: &str = "
## Portal

The listener of a portal has connections, health checks, requests and windows, as that of a registry. Besides, its clients share:

| resource | limit | one client has at most | if it is used up | it comes back when |
|---|---|---|---|---|
";

    fn write(page: &mut String, accounts: impl IntoIterator<Item = Account>) {
        for account in accounts {
            let cells = [account.name, account.limit, account.share, account.used_up, account.back];
            writeln!(page, "| {} |", cells.join(" | ")).unwrap();
        }
    }

    fn page() -> String {
        let mut page = HEAD.to_owned();
        write(&mut page, Resource::ALL.map(Resource::account));
        page.push_str(REQUESTS);
        for (request, costs) in requests() {
            let names: Vec<&str> = costs.iter().map(|resource| resource.name()).collect();
            writeln!(
                page,
                "| {request} | {} |",
                if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
            )
            .unwrap();
        }
        page.push_str(PORTAL);
        write(&mut page, portal::Resource::ALL.map(portal::Resource::account));
        page
    }

    /// Each request of the API with its costs, in the order of the routes.
    fn requests() -> Vec<(String, &'static [Resource])> {
        let digest = format!("sha256:{}", "0".repeat(64));
        let paths = [
            ("/v2/", "/v2/".to_owned()),
            ("/v2/_catalog", "/v2/_catalog".to_owned()),
            ("/v2/NAME/tags/list", "/v2/a/tags/list".to_owned()),
            ("/v2/NAME/referrers/DIGEST", format!("/v2/a/referrers/{digest}")),
            ("/v2/NAME/manifests/REFERENCE", "/v2/a/manifests/b".to_owned()),
            ("/v2/NAME/blobs/DIGEST", format!("/v2/a/blobs/{digest}")),
            ("/v2/NAME/blobs/uploads/", "/v2/a/blobs/uploads/".to_owned()),
            ("/v2/NAME/blobs/uploads/?mount=DIGEST", "/v2/a/blobs/uploads/?mount=x".to_owned()),
            ("/v2/NAME/blobs/uploads/?digest=DIGEST", "/v2/a/blobs/uploads/?digest=x".to_owned()),
            ("/v2/NAME/blobs/uploads/ID", "/v2/a/blobs/uploads/x".to_owned()),
            ("/v2/_oci/ext/discover", "/v2/_oci/ext/discover".to_owned()),
            ("/token", "/token".to_owned()),
            ("/.well-known/jwks.json", "/.well-known/jwks.json".to_owned()),
            ("/", "/".to_owned()),
            ("/livez", "/livez".to_owned()),
            ("/readyz", "/readyz".to_owned()),
            ("/metrics", "/metrics".to_owned()),
        ];
        let mut all = Vec::new();
        for (shown, sample) in paths {
            let (path, query) = sample.split_once('?').map_or((&*sample, None), |(path, query)| (path, Some(query)));
            let (route, query) = (Route::parse(path).unwrap(), Query::parse_uri(query));
            let mut by_costs: Vec<(&'static [Resource], Vec<&str>)> = Vec::new();
            for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] {
                let Some(action) = route.action(&Method::from_bytes(method.as_bytes()).unwrap()) else { continue };
                let costs = action.costs(&query);
                match by_costs.iter_mut().find(|(other, _)| *other == costs) {
                    Some((_, methods)) => methods.push(method),
                    None => by_costs.push((costs, vec![method])),
                }
            }
            all.extend(
                by_costs.into_iter().map(|(costs, methods)| (format!("{} `{shown}`", methods.join(", ")), costs)),
            );
        }
        all
    }

    #[test]
    fn resources_page_is_that_of_this_code() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/resources.md");
        let page = page();
        if std::env::var_os("WRITE_RESOURCES").is_some() {
            std::fs::write(&path, &page).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(written == page, "docs/reference/resources.md differs from this code; run with WRITE_RESOURCES=1");
    }

    #[test]
    fn the_limits_that_are_settings_exist() {
        let limits = Resource::ALL.map(|resource| resource.account().limit);
        let of_portal = portal::Resource::ALL.map(|resource| resource.account().limit);
        let settings: Vec<&str> = limits.iter().chain(&of_portal).filter_map(|limit| limit.split('`').nth(1)).collect();
        let page = include_str!("../../../docs/settings.md");
        assert!(settings.len() > 9, "{settings:?}");
        assert!(settings.iter().all(|key| page.contains(&format!("| `{key}` |"))), "{settings:?}");
    }
}
