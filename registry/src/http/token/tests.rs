//! The token protocol as clients speak it.

use data_encoding::BASE64;
use http::Request;
use serde_json::Value;

use crate::access::{Everybody, LocalUsers, NewToken};
use crate::http::login::tests::Site;

/// The fields of a Bearer challenge.
fn challenge(text: &str) -> Vec<(String, String)> {
    let fields = text.strip_prefix("Bearer ").unwrap_or_else(|| panic!("{text}"));
    let parts = fields.split("\",").map(|part| part.trim_end_matches('"').split_once("=\"").unwrap());
    parts.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn field(text: &str, name: &str) -> Option<String> {
    challenge(text).into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

async fn asked(site: &Site, method: &str, path: &str, authorization: &str) -> (u16, Option<String>) {
    let mut request = Request::builder().method(method).uri(path).header("host", "registry.example:5000");
    if !authorization.is_empty() {
        request = request.header("authorization", authorization);
    }
    let answer = site.answer(request.body(axum::body::Body::empty()).unwrap()).await;
    let challenge = answer.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
    (answer.status().as_u16(), challenge)
}

fn basic(login: &str) -> String {
    format!("Basic {}", BASE64.encode(login.as_bytes()))
}

async fn token(site: &Site, query: &str, login: &str) -> String {
    let authorization = if login.is_empty() { String::new() } else { basic(login) };
    let request = Request::builder().uri(format!("/token?service=skyberth&{query}"));
    let request = if authorization.is_empty() { request } else { request.header("authorization", authorization) };
    let answer = site.answer(request.body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!(answer.status(), 200, "{}", answer.body());
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let body: Value = serde_json::from_str(answer.body()).unwrap();
    assert_eq!(body["token"], body["access_token"]);
    assert_eq!(body["expires_in"], 900);
    assert!(body["issued_at"].as_str().unwrap().ends_with('Z'), "{body}");
    assert_eq!(body.get("refresh_token"), None);
    format!("Bearer {}", body["token"].as_str().unwrap())
}

#[tokio::test]
async fn a_challenge_leads_to_a_token_that_is_enough() {
    let site = Site::with_tokens(Everybody::Pull);
    for (method, path, scope) in [
        ("GET", "/v2/", None),
        ("POST", "/v2/a/b/blobs/uploads/", Some("repository:a/b:pull,push")),
        ("DELETE", "/v2/a/manifests/v1", Some("repository:a:delete")),
    ] {
        let (status, text) = asked(&site, method, path, "").await;
        let text = text.unwrap();
        assert_eq!(status, 401, "{path}");
        assert_eq!(field(&text, "realm").unwrap(), "http://registry.example:5000/token");
        assert_eq!(field(&text, "service").unwrap(), "skyberth");
        assert_eq!(field(&text, "scope").as_deref(), scope, "{text}");
        assert_eq!(field(&text, "error"), None, "{text}");
        let query = scope.map_or_else(String::new, |scope| format!("scope={scope}"));
        let token = token(&site, &query, "bob:secret").await;
        assert_ne!(asked(&site, method, path, &token).await.0, 401, "{path}");
    }
}

#[tokio::test]
async fn a_token_for_less_is_told_what_it_lacks() {
    let site = Site::with_tokens(Everybody::None);
    let narrow = token(&site, "scope=repository:a:pull", "bob:secret").await;
    assert_eq!(asked(&site, "GET", "/v2/a/tags/list", &narrow).await.0, 404);
    for (method, path, scope) in [
        ("POST", "/v2/a/blobs/uploads/", "repository:a:pull,push"),
        ("GET", "/v2/b/tags/list", "repository:b:pull"),
        ("GET", "/v2/_catalog", "registry:catalog:*"),
    ] {
        let (status, text) = asked(&site, method, path, &narrow).await;
        let text = text.unwrap();
        assert_eq!(status, 401, "{path}");
        assert_eq!(field(&text, "error").unwrap(), "insufficient_scope");
        assert_eq!(field(&text, "scope").unwrap(), scope);
    }
    let (status, text) = asked(&site, "GET", "/v2/a/tags/list", "Bearer forged").await;
    assert_eq!((status, field(&text.unwrap(), "error").as_deref()), (401, Some("invalid_token")));
}

#[tokio::test]
async fn several_scopes_come_in_one_parameter_or_in_several() {
    let site = Site::with_tokens(Everybody::None);
    for query in [
        "scope=repository:a:pull&scope=repository:b:pull",
        "scope=repository:a:pull%20repository:b:pull",
        "scope=repository:a:pull+repository:b:pull",
    ] {
        let token = token(&site, query, "bob:secret").await;
        for path in ["/v2/a/tags/list", "/v2/b/tags/list"] {
            assert_eq!(asked(&site, "GET", path, &token).await.0, 404, "{query} {path}");
        }
    }
}

#[tokio::test]
async fn callers_without_a_login_get_tokens_for_what_they_may() {
    let site = Site::with_tokens(Everybody::Pull);
    site.fixture.push_blob("content").await;
    for login in ["", ":"] {
        let token = token(&site, "scope=repository:a:pull,push", login).await;
        assert_eq!(asked(&site, "GET", "/v2/", &token).await.0, 200, "docker login asks so");
        assert_eq!(asked(&site, "GET", "/v2/a/tags/list", &token).await.0, 200);
        let (status, text) = asked(&site, "POST", "/v2/a/blobs/uploads/", &token).await;
        assert_eq!((status, field(&text.unwrap(), "error")), (401, None), "more scopes would not help");
    }
}

#[tokio::test]
async fn a_form_gives_tokens_and_refreshes_them() {
    let site = Site::with_tokens(Everybody::None);
    let post = async |form: &str| {
        let request = Request::builder().method("POST").uri("/token");
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let answer = site.answer(request.body(axum::body::Body::from(form.to_owned())).unwrap()).await;
        let body: Value = serde_json::from_str(answer.body()).unwrap();
        (answer.status().as_u16(), body)
    };
    let form = "grant_type=password&service=skyberth&client_id=x&username=bob&password=secret&access_type=offline\
        &scope=repository:a:pull+repository:b:pull";
    let (status, body) = post(form).await;
    assert_eq!(status, 200, "{body}");
    let token = format!("Bearer {}", body["access_token"].as_str().unwrap());
    assert_eq!(asked(&site, "GET", "/v2/b/tags/list", &token).await.0, 404);
    let refresh = body["refresh_token"].as_str().unwrap();
    let (status, body) =
        post(&format!("grant_type=refresh_token&refresh_token={refresh}&scope=repository:c:push")).await;
    assert_eq!(status, 200, "{body}");
    let token = format!("Bearer {}", body["access_token"].as_str().unwrap());
    assert_eq!(asked(&site, "POST", "/v2/c/blobs/uploads/", &token).await.0, 202);
    for (form, wanted) in [
        ("grant_type=password&username=bob&password=guess", 401),
        ("grant_type=refresh_token&refresh_token=x", 401),
        ("grant_type=refresh_token", 401),
        ("grant_type=client_credentials", 400),
        ("", 400),
    ] {
        assert_eq!(post(form).await.0, wanted, "{form}");
    }
    assert_eq!(post(&"x".repeat(100_000)).await.0, 413);
}

#[tokio::test]
async fn a_wrong_password_gets_no_token() {
    let site = Site::with_tokens(Everybody::Pull);
    for login in [basic("bob:guess"), basic("eve:secret"), "Bearer x".to_owned(), "Basic !".to_owned()] {
        let (status, _) = asked(&site, "GET", "/token?scope=repository:a:pull", &login).await;
        assert_eq!(status, 401, "{login}");
    }
}

/// The realm must have the scheme that the client speaks, whatever stands before the node.
#[tokio::test]
async fn the_realm_is_where_the_client_asked() {
    let site = Site::with_tokens(Everybody::None);
    for (headers, realm) in [
        (&[("host", "a.example")][..], "http://a.example/token"),
        (&[("host", "a.example"), ("x-forwarded-proto", "https")], "https://a.example/token"),
        (&[("host", "a.example"), ("forwarded", "for=1.2.3.4;proto=https")], "https://a.example/token"),
        (&[("host", "a.example"), ("x-forwarded-host", "evil.example")], "http://a.example/token"),
    ] {
        let request =
            headers.iter().fold(Request::builder().uri("/v2/"), |request, (name, value)| request.header(*name, *value));
        let answer = site.answer(request.body(axum::body::Body::empty()).unwrap()).await;
        let text = answer.headers()["www-authenticate"].to_str().unwrap();
        assert_eq!(field(text, "realm").unwrap(), realm, "{headers:?}");
    }
    let request = Request::builder().uri("/v2/").header("host", "a\"b").body(axum::body::Body::empty()).unwrap();
    let answer = site.answer(request).await;
    assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic "), "{answer:?}");
}

#[tokio::test]
async fn keys_are_published_and_browsers_get_basic() {
    let site = Site::with_tokens(Everybody::None);
    let answer = site.send("GET", "/.well-known/jwks.json", None, "").await;
    let keys: Value = serde_json::from_str(answer.body()).unwrap();
    assert_eq!((&keys["keys"][0]["kty"], &keys["keys"][0]["crv"]), (&"OKP".into(), &"Ed25519".into()));
    let (status, text) = asked(&site, "GET", "/", "").await;
    assert_eq!((status, text.unwrap().starts_with("Basic ")), (401, true));
    let without = Site::new(Everybody::None);
    for path in ["/token", "/.well-known/jwks.json"] {
        assert_eq!(without.status("GET", path, None).await, 404, "{path}");
    }
}

/// A token that may not pull the source must not learn whether the blob is there.
#[tokio::test]
async fn a_mount_needs_the_source_in_its_scope() {
    let site = Site::with_tokens(Everybody::None);
    let blob = site.fixture.push_blob("content").await;
    let path = format!("/v2/b/blobs/uploads/?mount={blob}&from=a");
    let both = token(&site, "scope=repository:b:pull,push&scope=repository:a:pull", "bob:secret").await;
    let one = token(&site, "scope=repository:b:pull,push", "bob:secret").await;
    let (status, text) = asked(&site, "POST", &path, &one).await;
    let text = text.unwrap();
    assert_eq!((status, field(&text, "error").as_deref()), (401, Some("insufficient_scope")));
    assert_eq!(field(&text, "scope").unwrap(), "repository:b:pull,push repository:a:pull");
    let anywhere = format!("/v2/b/blobs/uploads/?mount={blob}");
    assert_eq!(asked(&site, "POST", &anywhere, &one).await.0, 202, "it is found only where the token may pull");
    assert_eq!(asked(&site, "POST", &path, &both).await.0, 201);
}

/// Makes a personal token.
fn personal(site: &Site, owner: &str, scopes: &[&str], expires: Option<u64>) -> String {
    let scopes = scopes.iter().map(|text| text.parse().unwrap()).collect();
    let new = NewToken { owner: owner.parse().unwrap(), scopes, expires, note: String::new() };
    let mut shown = String::new();
    let keep = |text: &str| {
        shown = text.to_owned();
        Ok(())
    };
    local(site).make_token(new, 0, keep).unwrap();
    shown
}

fn local(site: &Site) -> LocalUsers {
    LocalUsers::in_directory(site.fixture.folder.path().join("access"))
}

#[tokio::test]
async fn a_personal_token_takes_the_place_of_a_password_until_it_is_revoked() {
    let site = Site::with_tokens(Everybody::None);
    let secret = personal(&site, "bob", &[], None);
    let push = "/v2/a/blobs/uploads/";
    let login = basic(&format!("bob:{secret}"));
    assert_eq!(asked(&site, "POST", push, &login).await.0, 202);
    let bearer = token(&site, "scope=repository:a:pull,push", &format!("bob:{secret}")).await;
    assert_eq!(asked(&site, "POST", push, &bearer).await.0, 202);
    for wrong in [basic(&format!("ann:{secret}")), basic(&format!("bob:{}", &secret[..secret.len() - 1]))] {
        assert_eq!(asked(&site, "POST", push, &wrong).await.0, 401);
    }
    let id = secret.split('_').nth(2).unwrap();
    assert!(local(&site).revoke_token(id).unwrap());
    assert_eq!(asked(&site, "POST", push, &login).await.0, 401);
    assert_eq!(asked(&site, "POST", push, &bearer).await.0, 401, "what was made from it ends with it");
    let ended = personal(&site, "bob", &[], Some(1));
    assert_eq!(asked(&site, "POST", push, &basic(&format!("bob:{ended}"))).await.0, 401);
}

/// A leaked token of one project must not open others, in any way.
#[tokio::test]
async fn the_scopes_of_a_personal_token_are_a_ceiling() {
    let site = Site::with_tokens(Everybody::None);
    let blob = site.fixture.push_blob("content").await;
    site.fixture.push_manifest(&blob, "content".len()).await;
    let secret = personal(&site, "robot+ci", &["team/**:pull,push"], None);
    let login = format!("robot+ci:{secret}");
    let wide = token(
        &site,
        "scope=repository:a:pull,delete&scope=repository:team/x:pull,push,delete&scope=registry:catalog:*",
        &login,
    );
    for authorization in [basic(&login), wide.await] {
        for (method, path, status) in [
            ("GET", "/v2/", 200),
            ("GET", "/v2/a/tags/list", 404),
            ("DELETE", "/v2/a/manifests/latest", 403),
            ("GET", "/v2/team/x/tags/list", 404),
            ("POST", "/v2/team/x/blobs/uploads/", 202),
            ("DELETE", "/v2/team/x/manifests/v1", 403),
            // Nothing of a may be mounted, and nobody says why.
            ("POST", &format!("/v2/team/x/blobs/uploads/?mount={blob}&from=a"), 202),
        ] {
            assert_eq!(asked(&site, method, path, &authorization).await.0, status, "{method} {path}");
        }
        let request = Request::builder().uri("/v2/_catalog").header("authorization", &authorization);
        let answer = site.answer(request.body(axum::body::Body::empty()).unwrap()).await;
        assert_eq!(answer.into_body(), "{\"repositories\":[]}");
    }
    local(&site).revoke_tokens_of(&"robot+ci".parse().unwrap()).unwrap();
    assert_eq!(asked(&site, "GET", "/v2/", &basic(&login)).await.0, 401);
}

#[tokio::test]
async fn a_personal_token_ends_with_its_user_and_gets_no_refresh_token() {
    let site = Site::with_tokens(Everybody::None);
    let name: crate::access::UserName = "eve".parse().unwrap();
    local(&site).set(name.clone(), crate::access::PasswordHash::of("a password")).unwrap();
    let secret = personal(&site, "eve", &[], None);
    let request = Request::builder().uri("/token?offline_token=true&scope=repository:a:pull");
    let request = request.header("authorization", basic(&format!("eve:{secret}")));
    let answer = site.answer(request.body(axum::body::Body::empty()).unwrap()).await;
    let body: Value = serde_json::from_str(answer.body()).unwrap();
    assert_eq!((answer.status().as_u16(), body.get("refresh_token")), (200, None), "{body}");
    let bearer = format!("Bearer {}", body["token"].as_str().unwrap());
    assert_eq!(asked(&site, "GET", "/v2/a/tags/list", &bearer).await.0, 404);
    local(&site).set(name.clone(), crate::access::PasswordHash::of("another")).unwrap();
    assert_eq!(asked(&site, "GET", "/v2/a/tags/list", &bearer).await.0, 404, "it is no password");
    local(&site).remove(&name).unwrap();
    assert_eq!(asked(&site, "GET", "/v2/a/tags/list", &bearer).await.0, 401);
    assert_eq!(asked(&site, "GET", "/v2/", &basic(&format!("eve:{secret}"))).await.0, 401);
}
