//! Tokens that are valid, forged, too old, or for something else.

use std::fs;
use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use super::*;
use crate::access::{Everybody, LocalUsers, PasswordHash, Repositories, Right, Sources};
use crate::oci::RepositoryName;

const NOW: u64 = 1_800_000_000;

struct Site {
    folder: tempfile::TempDir,
    access: Access,
}

fn open(folder: &std::path::Path, service: &str, key: Option<[u8; 32]>) -> Access {
    let directory = folder.join("access");
    let local = LocalUsers::in_directory(directory.clone());
    let sources = Sources { settings: Vec::new(), htpasswd: Vec::new(), local, policy: None };
    let tokens = TokenSettings { lifetime: Duration::from_mins(15), service: service.to_owned(), key, directory };
    Access::open(sources, Repositories::public(), Some(Everybody::Pull), true, Some(tokens)).unwrap()
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let access = open(folder.path(), "registry.example", None);
        let site = Site { folder, access };
        site.set("bob", "one");
        site
    }

    fn set(&self, name: &str, password: &str) {
        self.access.local_users().set(name.parse().unwrap(), PasswordHash::of(password)).unwrap();
    }

    fn token(&self, identity: &Identity, scopes: &str) -> String {
        let asked = Scopes::parse([scopes].into_iter());
        self.access.issue_token_at(&Principal::of(identity.clone()), &asked, false, NOW).unwrap().token
    }

    fn may(&self, token: &str, name: &str, right: Right) -> Verdict {
        let caller = self.access.verify_token_at(token, NOW).unwrap();
        let repository: RepositoryName = name.parse().unwrap();
        self.access.decide(&caller, &Need::Repository { repository: &repository, right, tag: None })
    }
}

fn bob() -> Identity {
    Identity::Local("bob".parse().unwrap())
}

#[test]
fn a_token_is_its_identity_and_no_more_than_its_scopes() {
    let site = Site::new();
    let token = site.token(&bob(), "repository:a:pull,push repository:b:pull");
    assert_eq!(site.access.verify_token_at(&token, NOW).unwrap().identity, bob());
    assert_eq!(site.may(&token, "a", Right::Push), Verdict::Allowed);
    assert_eq!(site.may(&token, "a", Right::Delete), Verdict::NeedsScope);
    assert_eq!(site.may(&token, "b", Right::Pull), Verdict::Allowed);
    assert_eq!(site.may(&token, "b", Right::Push), Verdict::NeedsScope);
    assert_eq!(site.may(&token, "c", Right::Pull), Verdict::NeedsScope);
    let anonymous = site.token(&Identity::Anonymous, "repository:a:pull,push");
    assert_eq!(site.may(&anonymous, "a", Right::Pull), Verdict::Allowed);
    assert_eq!(site.may(&anonymous, "a", Right::Push), Verdict::LogIn);
}

#[test]
fn a_token_ends_with_its_time_its_password_and_its_user() {
    let site = Site::new();
    let token = site.token(&bob(), "repository:a:pull");
    let verify = |now| site.access.verify_token_at(&token, now).map(|caller| caller.identity);
    assert_eq!(verify(NOW + 15 * 60), Ok(bob()), "it was made within a second, and lives 15 minutes");
    assert_eq!(verify(NOW + 15 * 60 + 1), Err(InvalidToken));
    assert_eq!(verify(NOW - LEEWAY), Ok(bob()), "the clock of another node is behind");
    assert_eq!(verify(NOW - 3 * LEEWAY), Err(InvalidToken));
    site.set("bob", "two");
    assert_eq!(verify(NOW), Err(InvalidToken), "the password has changed");
    let token = site.token(&bob(), "");
    site.access.local_users().remove(&"bob".parse().unwrap()).unwrap();
    assert_eq!(site.access.verify_token_at(&token, NOW), Err(InvalidToken));
    let none = site.access.issue_token_at(&Principal::of(bob()), &Scopes::default(), false, NOW);
    assert!(none.is_none(), "the user is gone");
}

#[test]
fn a_refresh_token_ends_with_its_password() {
    let site = Site::new();
    let issue = |identity: &Identity| {
        site.access.issue_token_at(&Principal::of(identity.clone()), &Scopes::default(), true, NOW).unwrap().refresh
    };
    let refresh = issue(&bob()).unwrap();
    assert_eq!(site.access.verify_refresh_token(&refresh), Ok(bob()));
    assert_eq!(issue(&Identity::Anonymous), None);
    let (start, last) = refresh.split_at(refresh.len() - 2);
    for forged in ["", REFRESH, &refresh[1..], start, &format!("{start}AA"), &format!("{refresh}{last}")] {
        assert_eq!(site.access.verify_refresh_token(forged), Err(InvalidToken), "{forged}");
    }
    site.set("ann", "one");
    let of_ann = refresh.replace(&BASE64URL_NOPAD.encode(b"bob"), &BASE64URL_NOPAD.encode(b"ann"));
    assert_eq!(site.access.verify_refresh_token(&of_ann), Err(InvalidToken));
    assert_eq!(site.access.verify_token_at(&refresh, NOW), Err(InvalidToken), "it is no token itself");
    site.set("bob", "two");
    assert_eq!(site.access.verify_refresh_token(&refresh), Err(InvalidToken));
}

/// The parts of a token, with its header and claims changed.
fn forge(token: &str, header: impl FnOnce(&mut Value), claims: impl FnOnce(&mut Value)) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    let read = |part: &str| serde_json::from_slice::<Value>(&BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).unwrap();
    let (mut head, mut body) = (read(parts[0]), read(parts[1]));
    header(&mut head);
    claims(&mut body);
    let write = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    format!("{}.{}.{}", write(&head), write(&body), parts[2])
}

/// `alg` none and HS256 with the public key are the classic forgeries.
#[test]
fn forged_tokens_are_refused() {
    let site = Site::new();
    let token = site.token(&bob(), "repository:a:pull");
    let same = forge(&token, |_| {}, |_| {});
    assert!(site.access.verify_token_at(&same, NOW).is_ok(), "the forger changes nothing by itself");
    let public = site.access.token_keys().unwrap();
    let unsigned = |alg: &'static str| {
        let forged = forge(&token, move |header| header["alg"] = json!(alg), |_| {});
        forged.rsplit_once('.').unwrap().0.to_owned()
    };
    let mut forgeries = vec![
        forge(&token, |_| {}, |claims| claims["sub"] = json!("local:ann")),
        forge(&token, |_| {}, |claims| claims["exp"] = json!(NOW + 1_000_000)),
        forge(&token, |_| {}, |claims| claims["access"][0]["actions"] = json!(["pull", "push"])),
        forge(&token, |header| header["kid"] = json!("another"), |_| {}),
        forge(&token, |header| drop(header.as_object_mut().unwrap().remove("kid")), |_| {}),
        forge(&token, |header| header["alg"] = json!("HS256"), |_| {}),
        forge(&token, |header| header["jwk"] = public["keys"][0].clone(), |_| {}),
        format!("{}.", unsigned("none")),
        unsigned("none"),
        format!("{}.AAAA", unsigned("EdDSA")),
        String::new(),
        "a.b.c".to_owned(),
        "x".repeat(100_000),
    ];
    let key = BASE64URL_NOPAD.decode(public["keys"][0]["x"].as_str().unwrap().as_bytes()).unwrap();
    let signed = unsigned("HS256");
    let hash = blake3::keyed_hash(&key.try_into().unwrap(), signed.as_bytes());
    forgeries.push(format!("{signed}.{}", BASE64URL_NOPAD.encode(hash.as_bytes())));
    for forged in forgeries {
        assert_eq!(
            site.access.verify_token_at(&forged, NOW),
            Err(InvalidToken),
            "{}",
            &forged[..forged.len().min(300)]
        );
    }
}

#[test]
fn tokens_of_another_issuer_or_for_another_service_are_refused() {
    let site = Site::new();
    let token = site.token(&bob(), "repository:a:pull");
    let other = open(tempfile::tempdir().unwrap().path(), "registry.example", None);
    assert_eq!(other.verify_token_at(&token, NOW), Err(InvalidToken), "it has other keys");
    let renamed = open(site.folder.path(), "other.example", None);
    assert_eq!(renamed.verify_token_at(&token, NOW), Err(InvalidToken), "it has another audience");
    let again = open(site.folder.path(), "registry.example", None);
    assert!(again.verify_token_at(&token, NOW).is_ok(), "keys outlive a restart");
}

#[test]
fn a_token_outlives_a_new_key() {
    let site = Site::new();
    let file = site.folder.path().join("access/token-keys");
    let mut keys: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    // The key is made older, so that a start finds it due.
    keys["keys"][0]["made"] = json!(1000);
    fs::write(&file, keys.to_string()).unwrap();
    let access = Arc::new(open(site.folder.path(), "registry.example", None));
    assert_eq!(access.token_keys().unwrap()["keys"].as_array().unwrap().len(), 2);
    let token = site.token(&bob(), "");
    assert!(access.verify_token_at(&token, NOW).is_ok());
}

#[test]
fn no_secret_of_the_keys_is_published_or_printed() {
    let site = Site::new();
    let text = fs::read_to_string(site.folder.path().join("access/token-keys")).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    let said = format!("{} {:?}", site.access.token_keys().unwrap(), site.access);
    for secret in [&file["secret"], &file["keys"][0]["seed"]] {
        assert!(!said.contains(secret.as_str().unwrap()), "{said}");
    }
}
