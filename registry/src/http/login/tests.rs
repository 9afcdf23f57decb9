//! Logins by HTTP: challenges, wrong logins, and which requests need one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use data_encoding::BASE64;
use http::header::{AUTHORIZATION, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use serving::AccessLog;
use tower::ServiceExt as _;

use crate::access::{Access, Everybody, LocalUsers, Repositories, Sources, TokenSettings, parse_words};
use crate::audit_journal::AuditJournal;
use crate::catalog::fact::Visibility;
use crate::http::{Door, HttpOptions, router};
use crate::oci::{Algorithm, Digest};
use crate::testing::{Fixture, TestLog};

/// `secret` for both.
const USERS: &str = "bob:$2y$05$QmRRXfF6vJVoBcF8rD8dSedj/Dkffmcm5uh11bG5/ogJ4ksMZMPD6 \
    ann:$2y$05$QmRRXfF6vJVoBcF8rD8dSedj/Dkffmcm5uh11bG5/ogJ4ksMZMPD6";

pub(in crate::http) struct Site {
    pub(in crate::http) fixture: Fixture,
    door: Door,
}

impl Site {
    /// A registry that challenges by Basic authentication.
    pub(in crate::http) fn new(everybody: Everybody) -> Self {
        Site::open(everybody, false)
    }

    /// A registry that issues tokens.
    pub(in crate::http) fn with_tokens(everybody: Everybody) -> Self {
        Site::open(everybody, true)
    }

    /// A registry with a policy that issues tokens.
    pub(in crate::http) fn with_policy(policy: &str) -> Self {
        Site::open_with(Everybody::Pull, true, Some(policy))
    }

    fn open(everybody: Everybody, tokens: bool) -> Self {
        Site::open_with(everybody, tokens, None)
    }

    fn open_with(everybody: Everybody, tokens: bool, policy: Option<&str>) -> Self {
        let (fixture, door) = (Fixture::new(Duration::from_hours(1)), Door::default());
        let local = LocalUsers::in_directory(fixture.folder.path().join("access"));
        let policy = policy.map(|text| {
            let path = fixture.folder.path().join("policy.toml");
            std::fs::write(&path, text).unwrap();
            path
        });
        let sources = Sources { settings: parse_words(USERS).unwrap(), htpasswd: Vec::new(), local, policy };
        let tokens = tokens.then(|| TokenSettings {
            lifetime: Duration::from_mins(15),
            service: "skyberth".to_owned(),
            key: None,
            directory: fixture.folder.path().join("access"),
        });
        let catalog = fixture.registry.catalog().clone();
        let repositories = Repositories::by(move |name| catalog.repository(name));
        let access = Arc::new(Access::open(sources, repositories, Some(everybody), true, tokens).unwrap());
        let audit = AuditJournal::in_directory(fixture.folder.path().join("audit"));
        let audit = Some(Arc::new(audit));
        let options = HttpOptions { access_log: AccessLog::All, audit, ..HttpOptions::for_tests() };
        door.open(Arc::clone(&fixture.registry), access, Arc::clone(&fixture.registry.metrics), options);
        Site { fixture, door }
    }

    pub(in crate::http) async fn send(
        &self,
        method: &str,
        path: &str,
        login: Option<&str>,
        body: &str,
    ) -> Response<String> {
        let mut request = Request::builder().method(method).uri(path).body(Body::from(body.to_owned())).unwrap();
        if let Some(login) = login {
            let login = format!("Basic {}", BASE64.encode(login.as_bytes()));
            request.headers_mut().insert(AUTHORIZATION, login.parse().unwrap());
        }
        self.answer(request).await
    }

    pub(in crate::http) async fn answer(&self, mut request: Request<Body>) -> Response<String> {
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 7], 1))));
        let (head, body) = router(self.door.clone()).oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Response::from_parts(head, String::from_utf8(body.to_vec()).unwrap())
    }

    pub(in crate::http) async fn status(&self, method: &str, path: &str, login: Option<&str>) -> u16 {
        self.send(method, path, login, "").await.status().as_u16()
    }
}

/// A request for every action, with the least right that it needs.
fn requests(digest: &Digest) -> Vec<(Everybody, &'static str, String)> {
    let blob = format!("/v2/a/blobs/{digest}");
    [
        (Everybody::None, "GET", "/livez"),
        (Everybody::None, "GET", "/readyz"),
        (Everybody::None, "GET", "/metrics"),
        (Everybody::None, "GET", "/.well-known/jwks.json"),
        (Everybody::None, "GET", "/token"),
        (Everybody::None, "POST", "/token"),
        (Everybody::Pull, "GET", "/"),
        (Everybody::Pull, "GET", "/v2/_catalog"),
        (Everybody::Pull, "GET", "/v2/a/tags/list"),
        (Everybody::Pull, "GET", "/v2/a/manifests/latest"),
        (Everybody::Pull, "HEAD", "/v2/a/manifests/latest"),
        (Everybody::Pull, "GET", &blob),
        (Everybody::Pull, "HEAD", &blob),
        (Everybody::Pull, "GET", &format!("/v2/a/referrers/{digest}")),
        (Everybody::Push, "POST", "/v2/a/blobs/uploads/"),
        (Everybody::Push, "GET", "/v2/a/blobs/uploads/x"),
        (Everybody::Push, "PATCH", "/v2/a/blobs/uploads/x"),
        (Everybody::Push, "PUT", &format!("/v2/a/blobs/uploads/x?digest={digest}")),
        (Everybody::Push, "DELETE", "/v2/a/blobs/uploads/x"),
        (Everybody::Push, "PUT", "/v2/a/manifests/v1"),
        (Everybody::All, "DELETE", "/v2/a/manifests/v1"),
        (Everybody::All, "DELETE", &blob),
        (Everybody::All, "GET", "/v2/"),
        (Everybody::All, "GET", "/v2/_oci/ext/discover"),
    ]
    .map(|(least, method, path)| (least, method, path.to_owned()))
    .to_vec()
}

#[tokio::test]
async fn each_request_needs_its_right_and_users_have_all() {
    let unknown = Digest::of(Algorithm::Sha256, b"unknown");
    for everybody in [Everybody::None, Everybody::Pull, Everybody::Push, Everybody::All] {
        let site = Site::new(everybody);
        // Without it, nobody could tell the repository from a private one.
        site.fixture.push_blob("content").await;
        for (least, method, path) in requests(&unknown) {
            let status = site.status(method, &path, None).await;
            assert_eq!(status == 401, everybody < least, "{everybody:?} {method} {path}: {status}");
            let status = site.status(method, &path, Some("bob:secret")).await;
            assert_ne!(status, 401, "bob: {method} {path}");
        }
    }
}

/// Every method of every route is either an action with a need, or refused before anything is looked at.
#[test]
fn requests_above_cover_every_action() {
    let digest = Digest::of(Algorithm::Sha256, b"x");
    let asked = requests(&digest);
    let mut actions: Vec<_> = asked
        .iter()
        .map(|(_, method, path)| {
            let route = crate::http::route::Route::parse(path.split('?').next().unwrap()).unwrap();
            let action = route.action(&Method::from_bytes(method.as_bytes()).unwrap()).unwrap();
            format!("{action:?}").split(['(', ' ']).next().unwrap().to_owned()
        })
        .collect();
    actions.sort();
    actions.dedup();
    assert_eq!(actions.len(), 24, "an action has no request here: {actions:?}");
}

#[tokio::test]
async fn whoever_must_log_in_is_told_how() {
    let site = Site::new(Everybody::None);
    for login in [None, Some("bob:wrong"), Some("eve:secret"), Some("bob"), Some(":")] {
        let answer = site.send("GET", "/v2/a/tags/list", login, "").await;
        assert_eq!(answer.status(), 401, "{login:?}");
        let challenge = answer.headers()[WWW_AUTHENTICATE].to_str().unwrap();
        assert!(challenge.starts_with("Basic realm=\"Skyberth\""), "{challenge}");
        assert_eq!(answer.headers()["docker-distribution-api-version"], "registry/2.0");
        let error: serde_json::Value = serde_json::from_str(answer.body()).unwrap();
        assert_eq!(error["errors"][0]["code"], "UNAUTHORIZED", "{error}");
        assert!(!answer.body().contains("wrong:") && !answer.body().contains("secret"), "{error}");
    }
    // The answer is the same if the repository exists.
    let blob = site.fixture.push_blob("content").await;
    let absent = Digest::of(Algorithm::Sha256, b"absent");
    let ask = async |digest: &Digest| {
        let answer = site.send("GET", &format!("/v2/a/blobs/{digest}"), None, "").await;
        (answer.status(), answer.into_body())
    };
    assert_eq!(ask(&blob).await, ask(&absent).await);
}

#[tokio::test]
async fn odd_logins_are_no_logins() {
    let site = Site::new(Everybody::Pull);
    let good = BASE64.encode(b"bob:secret");
    for (values, status) in [
        (vec![format!("Basic {good}")], 200),
        (vec![format!("bAsIc  {good}")], 200),
        // Go ignores the unused bits of the last character.
        (vec![format!("Basic {}", good.replace("A==", "B=="))], 200),
        (vec![format!("Basic {good}"), format!("Basic {good}")], 401),
        (vec!["Basic".to_owned()], 401),
        (vec!["Basic !".to_owned()], 401),
        (vec![format!("Basic {good}=")], 401),
        (vec![format!("Basic {}", BASE64.encode(b"bob\xff:secret"))], 401),
        (vec![format!("Bearer {good}")], 401),
        (vec![format!("Digest {good}")], 401),
        // Clients that have no login send an empty one.
        (vec!["Basic Og==".to_owned()], 200),
    ] {
        let mut request = Request::builder().uri("/v2/_catalog").body(Body::empty()).unwrap();
        for value in &values {
            request.headers_mut().append(AUTHORIZATION, value.parse().unwrap());
        }
        assert_eq!(site.answer(request).await.status(), status, "{values:?}");
    }
}

/// Clients that had a login for another registry of that name could not use an open node any more.
#[tokio::test]
async fn a_node_without_users_ignores_logins() {
    let (fixture, door) = (Fixture::new(Duration::from_hours(1)), Door::default());
    let access = Arc::new(Access::open_to_all());
    let metrics = Arc::clone(&fixture.registry.metrics);
    door.open(Arc::clone(&fixture.registry), access, metrics, HttpOptions::for_tests());
    let site = Site { fixture, door };
    assert_eq!(site.status("GET", "/v2/", Some("old:login")).await, 200);
    assert_eq!(site.status("POST", "/v2/a/blobs/uploads/", Some("old:login")).await, 202);
}

#[tokio::test]
async fn guessing_ends_in_429() {
    let site = Site::new(Everybody::None);
    let mut statuses = Vec::new();
    while statuses.last() != Some(&429) && statuses.len() < 100 {
        let answer = site.send("GET", "/v2/", Some(&format!("bob:guess{}", statuses.len())), "").await;
        statuses.push(answer.status().as_u16());
        if *statuses.last().unwrap() == 429 {
            let text = format!("retry in {} s", answer.headers()[RETRY_AFTER].to_str().unwrap());
            assert!(answer.body().contains(&text), "they differed: {}", answer.body());
            assert!(answer.body().contains("TOOMANYREQUESTS"), "{}", answer.body());
        }
    }
    assert!(statuses.len() > 10 && statuses.last() == Some(&429), "{statuses:?}");
}

/// A session's path is no right: its upload belongs to the user that began it.
#[tokio::test]
async fn an_upload_belongs_to_the_user_that_began_it() {
    let site = Site::new(Everybody::Push);
    let digest = Digest::of(Algorithm::Sha256, b"content");
    for owner in [Some("bob:secret"), None] {
        let begun = site.send("POST", "/v2/a/blobs/uploads/", owner, "").await;
        let session = begun.headers()[LOCATION].to_str().unwrap().to_owned();
        let closing = format!("{session}?digest={digest}");
        for other in [Some("ann:secret"), None, Some("bob:secret")].into_iter().filter(|other| *other != owner) {
            for (method, path) in [("GET", &session), ("PATCH", &session), ("PUT", &closing), ("DELETE", &session)] {
                assert_eq!(site.send(method, path, other, "content").await.status(), 404, "{other:?} {method}");
            }
        }
        assert_eq!(site.status("GET", &session, owner).await, 204);
        assert_eq!(site.send("PUT", &closing, owner, "content").await.status(), 201);
        assert_eq!(site.status("PUT", &closing, owner).await, 201, "repeated after a lost answer");
        assert_eq!(site.status("PUT", &closing, Some("ann:secret")).await, 404);
    }
}

#[tokio::test]
async fn the_log_names_the_user_and_no_secret() {
    let lines = TestLog::new();
    let site = Site::new(Everybody::Pull);
    site.send("POST", "/v2/a/blobs/uploads/", Some("bob:secret"), "").await;
    site.send("GET", "/v2/_catalog", None, "").await;
    site.send("GET", "/v2/_catalog", Some("bob:wr0ng"), "").await;
    let written = lines.take();
    let users: Vec<_> = written.iter().map(|line| line["user"].as_str()).collect();
    assert_eq!(users, [Some("local:bob"), None, None], "{written:?}");
    let text = format!("{written:?}");
    for secret in ["secret", "wr0ng", &BASE64.encode(b"bob:secret"), "$2y$"] {
        assert!(!text.contains(secret), "{text}");
    }
}

const POLICY: &str = r#"
    public = ["public/**"]

    [[rule]]
    who = ["user:ann"]
    repositories = ["**"]
    actions = ["*"]

    [[rule]]
    who = ["user:bob"]
    repositories = ["a/**"]
    actions = ["pull", "push"]

    [[immutable]]
    repositories = ["a/**"]
    tags = ["v*"]
"#;

#[tokio::test]
async fn a_policy_says_who_may_do_what() {
    let site = Site::with_policy(POLICY);
    let (bob, ann) = (Some("bob:secret"), Some("ann:secret"));
    for (login, method, path, status) in [
        (bob, "POST", "/v2/a/x/blobs/uploads/", 202),
        (bob, "GET", "/v2/a/x/tags/list", 404),
        (bob, "DELETE", "/v2/a/x/manifests/v1", 403),
        (bob, "POST", "/v2/b/blobs/uploads/", 403),
        (bob, "GET", "/v2/public/x/tags/list", 404),
        (bob, "POST", "/v2/public/x/blobs/uploads/", 403),
        (None, "GET", "/v2/public/x/tags/list", 401),
        (None, "GET", "/v2/a/x/tags/list", 401),
        (None, "POST", "/v2/public/x/blobs/uploads/", 401),
        (ann, "DELETE", "/v2/a/x/manifests/v1", 404),
        (ann, "POST", "/v2/b/blobs/uploads/", 202),
    ] {
        assert_eq!(site.status(method, path, login).await, status, "{login:?} {method} {path}");
    }
}

/// What a user may not read must look as if it were absent, in lists, mounts and on the page, too.
#[tokio::test]
async fn a_repository_that_a_user_may_not_read_looks_absent() {
    // The fixture pushes to the repository `a`.
    let site = Site::with_policy(POLICY);
    let blob = site.fixture.push_blob("content").await;
    site.fixture.registry.set_visibility(&site.fixture.repository, Visibility::Private).await.unwrap();
    site.fixture.push_manifest(&blob, "content".len()).await;
    let ask = async |path: &str, login| {
        let answer = site.send("GET", path, Some(login), "").await;
        (answer.status().as_u16(), answer.into_body())
    };
    for path in ["tags/list", "manifests/latest", &format!("blobs/{blob}"), &format!("referrers/{blob}")] {
        let (there, absent) =
            (ask(&format!("/v2/a/{path}"), "bob:secret").await, ask(&format!("/v2/b/{path}"), "bob:secret").await);
        assert_eq!(there, absent, "{path}");
        assert_eq!(there.0, 404, "{path}");
        assert!(there.1.contains("NAME_UNKNOWN"), "{}", there.1);
        assert_eq!(ask(&format!("/v2/a/{path}"), "ann:secret").await.0, 200, "{path}");
    }
    assert_eq!(ask("/v2/_catalog", "bob:secret").await.1, "{\"repositories\":[]}");
    assert_eq!(ask("/v2/_catalog", "ann:secret").await.1, "{\"repositories\":[\"a\"]}");
    assert!(!ask("/", "bob:secret").await.1.contains("latest"));
    assert!(ask("/", "ann:secret").await.1.contains("latest"));
    for query in [format!("mount={blob}&from=a"), format!("mount={blob}")] {
        let path = format!("/v2/a/x/blobs/uploads/?{query}");
        assert_eq!(site.status("POST", &path, Some("bob:secret")).await, 202, "{query}");
        // Elsewhere, since bob may read what is below a.
        let path = format!("/v2/b/blobs/uploads/?{query}");
        assert_eq!(site.status("POST", &path, Some("ann:secret")).await, 201, "{query}");
    }
}

/// A manifest without layers, and a tag to push it to.
async fn push(site: &Site, login: &str, name: &str, text: &str) -> u16 {
    let body = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],
        "annotations":{{"text":"{text}"}}}}"#
    );
    site.send("PUT", &format!("/v2/{name}"), Some(login), &body).await.status().as_u16()
}

/// Visibility is decided when a repository is created, and by commands later.
#[tokio::test]
async fn everybody_pulls_what_is_public_and_nothing_else() {
    let site = Site::with_policy(POLICY);
    for name in ["public/x", "b"] {
        assert_eq!(push(&site, "ann:secret", &format!("{name}/manifests/v1"), "one").await, 201);
    }
    let see = async |name: &str| {
        let path = format!("/v2/{name}/manifests/v1");
        (site.status("GET", &path, None).await, site.status("GET", &path, Some("bob:secret")).await)
    };
    assert_eq!((see("public/x").await, see("b").await), ((200, 200), (401, 404)));
    let catalog = async |login| site.send("GET", "/v2/_catalog", login, "").await.into_body();
    assert_eq!(catalog(None).await, "{\"repositories\":[\"public/x\"]}");
    for (name, visibility) in [("public/x", Visibility::Private), ("b", Visibility::Public)] {
        site.fixture.registry.set_visibility(&name.parse().unwrap(), visibility).await.unwrap();
    }
    assert_eq!((see("public/x").await, see("b").await), ((401, 404), (200, 200)));
    assert_eq!(catalog(None).await, "{\"repositories\":[\"b\"]}");
    assert_eq!((see("absent").await, see("public/absent").await), ((401, 404), (401, 404)));
}

/// A check before the writer would let two pushes at once set a tag that both found free.
#[tokio::test]
async fn a_tag_moves_only_with_the_right_and_an_immutable_one_never() {
    let site = Site::with_policy(POLICY);
    for (login, name, text, status) in [
        // bob has no right to retag.
        ("bob:secret", "a/x/manifests/latest", "one", 201),
        ("bob:secret", "a/x/manifests/latest", "one", 201),
        ("bob:secret", "a/x/manifests/latest", "two", 403),
        ("ann:secret", "a/x/manifests/latest", "two", 201),
        ("ann:secret", "a/x/manifests/v1", "one", 201),
        ("ann:secret", "a/x/manifests/v1", "one", 201),
        ("ann:secret", "a/x/manifests/v1", "two", 403),
        ("ann:secret", "b/manifests/v1", "one", 201),
        ("ann:secret", "b/manifests/v1", "two", 201),
    ] {
        assert_eq!(push(&site, login, name, text).await, status, "{login} {name} {text}");
    }
    let ann = Some("ann:secret");
    let digest = async |path: &str| {
        let answer = site.send("HEAD", path, ann, "").await;
        answer.headers()["docker-content-digest"].to_str().unwrap().to_owned()
    };
    let (v1, latest) = (digest("/v2/a/x/manifests/v1").await, digest("/v2/a/x/manifests/latest").await);
    assert_ne!(v1, latest);
    let refused = site.send("DELETE", "/v2/a/x/manifests/v1", ann, "").await;
    assert_eq!(refused.status(), 403);
    assert!(refused.body().contains("DENIED") && refused.body().contains("v1"), "{}", refused.body());
    assert_eq!(site.status("DELETE", &format!("/v2/a/x/manifests/{v1}"), ann).await, 403);
    assert_eq!(site.status("DELETE", &format!("/v2/a/x/manifests/{latest}"), ann).await, 202);
    // Tags of the query count, too, and then nothing is set.
    let body = "one more";
    let pushed = push(&site, "ann:secret", "a/x/manifests/free", body).await;
    assert_eq!(pushed, 201);
    let free = digest("/v2/a/x/manifests/free").await;
    let both = format!("a/x/manifests/{free}?tag=new&tag=v1");
    assert_eq!(push(&site, "ann:secret", &both, body).await, 403);
    assert_eq!(site.status("GET", "/v2/a/x/manifests/new", ann).await, 404);
}

/// What the audit journal has, once all of it is written.
async fn kept(site: &Site, most: usize) -> Vec<String> {
    let journal = AuditJournal::in_directory(site.fixture.folder.path().join("audit"));
    loop {
        let mut found = Vec::new();
        let text = |part: Option<String>| part.unwrap_or_else(|| "-".to_owned());
        let line = |entry: crate::audit_journal::Entry| {
            assert!(entry.client.as_deref() == Some("192.0.2.7") && entry.request.is_some(), "{entry:?}");
            let (repository, target) = (text(entry.repository), text(entry.target));
            format!("{:?} {} {} {repository} {target}", entry.outcome, entry.by, entry.action)
        };
        journal.read(|entry| found.push(line(entry))).unwrap();
        if found.len() >= most {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_audit_journal_has_changes_logins_and_denials() {
    let site = Site::with_policy(POLICY);
    assert_eq!(push(&site, "ann:secret", "b/manifests/v1", "one").await, 201);
    assert_eq!(push(&site, "bob:secret", "b/manifests/v1", "two").await, 403);
    for (method, path, login, status) in [
        ("GET", "/v2/b/manifests/v1", Some("ann:secret"), 200),
        ("GET", "/v2/b/manifests/v1", Some("bob:secret"), 404),
        ("GET", "/v2/absent/manifests/v1", Some("ann:secret"), 404),
        ("GET", "/v2/b/manifests/v1", None, 401),
        ("GET", "/v2/b/manifests/v1", Some("my-password:bob"), 401),
        ("GET", "/token", Some("bob:secret"), 200),
        ("GET", "/token", None, 200),
        ("DELETE", "/v2/b/manifests/v1", Some("ann:secret"), 202),
    ] {
        assert_eq!(site.status(method, path, login).await, status, "{method} {path} {login:?}");
    }
    let mut found = kept(&site, 6).await;
    found.sort();
    assert_eq!(
        found,
        [
            "Denied anonymous pull b v1",
            "Denied local:bob pull b v1",
            "Denied local:bob push b v1",
            "Done local:ann delete b v1",
            "Done local:ann push b v1",
            "LoggedIn local:bob log in - -",
        ]
    );
}

/// The start page linked to "all" as soon as a hidden repository followed, so that its name could be searched for.
#[tokio::test(flavor = "multi_thread")]
async fn the_start_page_is_the_same_with_and_without_hidden_repositories() {
    let site = Site::with_policy("[[rule]]\nwho = ['user:ann']\nrepositories = ['**']\nactions = ['*']\n");
    let page = async |login: &str, path: &str| site.send("GET", path, Some(login), "").await.into_body();
    let before = page("bob:secret", "/").await;
    let config = site.fixture.push_blob(b"five!").await;
    site.fixture.push_manifest(&config, 5).await;
    let repository = &site.fixture.repository;
    site.fixture.registry.set_visibility(repository, Visibility::Private).await.unwrap();
    let name = format!("<h2>{repository}</h2>");
    assert!(page("ann:secret", "/").await.contains(&name));
    for path in ["/", "/?last=A", "/?last=zzz"] {
        assert_eq!(page("bob:secret", path).await, before, "{path}");
    }
}
