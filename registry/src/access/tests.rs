//! Logins as a whole: sources, changes of users, and guesses.

use std::fs;
use std::path::Path;
use std::time::Instant;

use serving::Holder;

use super::*;

/// A cheap hash of `secret`.
const SECRET: &str = "$2y$05$QmRRXfF6vJVoBcF8rD8dSedj/Dkffmcm5uh11bG5/ogJ4ksMZMPD6";

struct Site {
    folder: tempfile::TempDir,
    access: Arc<Access>,
}

fn sources(folder: &Path, settings: &str, htpasswd: &[&str]) -> Sources {
    Sources {
        settings: parse_words(settings).unwrap(),
        htpasswd: htpasswd.iter().map(|name| folder.join(name)).collect(),
        local: LocalUsers::in_directory(folder.join("access")),
        policy: None,
    }
}

impl Site {
    fn new(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let access =
            Access::open(sources(folder.path(), settings, &[]), Repositories::public(), None, true, None).unwrap();
        Site { folder, access: Arc::new(access) }
    }

    fn set(&self, name: &str, password: &str) {
        self.access.local_users().set(name.parse().unwrap(), PasswordHash::of(password)).unwrap();
    }

    async fn log_in(&self, name: &str, password: &str) -> Result<Identity, LoginError> {
        self.access.check_password(name, password, Holder::SHARED).await
    }
}

fn user(name: &str) -> Identity {
    Identity::Local(name.parse().unwrap())
}

#[tokio::test]
async fn users_log_in_with_their_own_password() {
    let site = Site::new(&format!("bob:{SECRET}"));
    assert_eq!(site.log_in("bob", "secret").await, Ok(user("bob")));
    for (name, password) in [("bob", ""), ("bob", "Secret"), ("ann", "secret"), ("", ""), ("b ob", "secret")] {
        assert_eq!(site.log_in(name, password).await, Err(LoginError::Refused), "{name:?}");
    }
    let long = "x".repeat(100_000);
    assert_eq!(site.log_in("bob", &long).await, Err(LoginError::Refused));
}

/// A change must count from the next request on, also for passwords in the cache.
#[tokio::test]
async fn a_changed_password_and_a_removed_user_end_at_once() {
    let site = Site::new("");
    assert!(site.access.needs_first_user());
    site.set("bob", "one");
    assert!(!site.access.needs_first_user());
    assert_eq!(site.log_in("bob", "one").await, Ok(user("bob")));
    site.set("bob", "two");
    assert_eq!(site.log_in("bob", "one").await, Err(LoginError::Refused));
    assert_eq!(site.log_in("bob", "two").await, Ok(user("bob")));
    site.access.local_users().remove(&"bob".parse().unwrap()).unwrap();
    assert_eq!(site.log_in("bob", "two").await, Err(LoginError::Refused));
}

#[tokio::test]
async fn a_file_that_becomes_unreadable_leaves_the_users_as_they_were() {
    let site = Site::new("");
    site.set("bob", "one");
    assert_eq!(site.log_in("bob", "one").await, Ok(user("bob")));
    fs::write(site.access.local_users().path(), "bob:no hash").unwrap();
    assert_eq!(site.log_in("bob", "one").await, Ok(user("bob")));
    assert_eq!(site.log_in("bob", "no hash").await, Err(LoginError::Refused));
    fs::remove_file(site.access.local_users().path()).unwrap();
    assert_eq!(site.log_in("bob", "one").await, Err(LoginError::Refused));
}

#[tokio::test]
async fn htpasswd_files_are_read_again_once_they_rest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("htpasswd");
    fs::write(&path, format!("bob:{SECRET}\n")).unwrap();
    let access =
        Access::open(sources(folder.path(), "", &["htpasswd"]), Repositories::public(), None, false, None).unwrap();
    assert_eq!(access.everybody(), Everybody::None, "a node with users asks for a login");
    let old = access.look(&access.sources.watched_stamps());
    assert_eq!(access.check_password("bob", "secret", Holder::SHARED).await, Ok(user("bob")));
    fs::write(&path, format!("ann:{SECRET}\n")).unwrap();
    let changed = access.look(&old);
    assert_eq!(access.check_password("bob", "secret", Holder::SHARED).await, Ok(user("bob")), "it may be half written");
    access.look(&changed);
    assert_eq!(access.check_password("bob", "secret", Holder::SHARED).await, Err(LoginError::Refused));
    assert_eq!(access.check_password("ann", "secret", Holder::SHARED).await, Ok(user("ann")));
}

/// A fault in an htpasswd file kept removed users and old passwords of the data directory valid.
#[tokio::test]
async fn a_faulty_source_keeps_no_change_of_another_out() {
    let log = crate::testing::TestLog::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("htpasswd");
    fs::write(&path, format!("carl:{SECRET}\n")).unwrap();
    let access =
        Access::open(sources(folder.path(), "", &["htpasswd"]), Repositories::public(), None, true, None).unwrap();
    let log_in = async |name: &str, password: &str| access.check_password(name, password, Holder::SHARED).await;
    let bob: UserName = "bob".parse().unwrap();
    let count = |message: &str| {
        log.take().iter().filter(|line| line["message"].as_str().is_some_and(|text| text.contains(message))).count()
    };
    access.local_users().set(bob.clone(), PasswordHash::of("old")).unwrap();
    assert_eq!(log_in("bob", "old").await, Ok(user("bob")));
    assert_eq!(count("were read again"), 1);
    fs::write(&path, "this is no user\n").unwrap();
    let seen = access.look(&access.sources.watched_stamps());
    access.look(&seen);
    access.local_users().set(bob.clone(), PasswordHash::of("new")).unwrap();
    assert_eq!(log_in("bob", "old").await, Err(LoginError::Refused));
    assert_eq!(log_in("bob", "new").await, Ok(user("bob")));
    access.local_users().remove(&bob).unwrap();
    assert_eq!(log_in("bob", "new").await, Err(LoginError::Refused));
    assert_eq!(log_in("carl", "secret").await, Ok(user("carl")), "the faulty file");
    let lines = log.take();
    let told = |level: &str| lines.iter().filter(|line| line["level"] == level).count();
    // It is logged at each read, and the log itself counts equal lines.
    assert_eq!((told("ERROR"), told("INFO")), (1, 0), "{lines:?}");
}

/// It must never fall back to be open.
#[test]
fn a_source_that_cannot_be_read_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("broken"), "bob:plain text").unwrap();
    for file in ["absent", "broken", "."] {
        for everybody in [None, Some(Everybody::All)] {
            let error =
                Access::open(sources(folder.path(), "", &[file]), Repositories::public(), everybody, false, None)
                    .unwrap_err()
                    .to_string();
            assert!(error.contains(&*folder.path().to_string_lossy()) && !error.contains("plain text"), "{error}");
        }
    }
}

#[test]
fn a_node_without_users_is_open_only_where_it_is_not_public() {
    let folder = tempfile::tempdir().unwrap();
    let open = |settings: &str, everybody, is_public| {
        Access::open(sources(folder.path(), settings, &[]), Repositories::public(), everybody, is_public, None).unwrap()
    };
    let bob = format!("bob:{SECRET}");
    for (settings, set, is_public, everybody, needs_user) in [
        ("", None, false, Everybody::All, false),
        ("", None, true, Everybody::None, true),
        (&bob, None, false, Everybody::None, false),
        (&bob, None, true, Everybody::None, false),
        ("", Some(Everybody::Pull), false, Everybody::Pull, true),
        ("", Some(Everybody::All), true, Everybody::All, false),
    ] {
        let access = open(settings, set, is_public);
        assert_eq!((access.everybody(), access.needs_first_user()), (everybody, needs_user), "{set:?} {is_public}");
        assert_eq!(access.ignores_logins(), everybody == Everybody::All);
    }
}

/// A loopback node was open after its next start, once its file had lost all users.
#[test]
fn an_empty_file_of_users_opens_no_node() {
    let folder = tempfile::tempdir().unwrap();
    for text in ["", "# none yet\n"] {
        fs::write(folder.path().join("htpasswd"), text).unwrap();
        let access =
            Access::open(sources(folder.path(), "", &["htpasswd"]), Repositories::public(), None, false, None).unwrap();
        assert_eq!((access.everybody(), access.needs_first_user()), (Everybody::None, true), "{text:?}");
    }
}

#[tokio::test]
async fn guesses_are_slowed_down_and_the_owner_gets_in() {
    let site = Site::new(&format!("bob:{SECRET}"));
    let (attacker, owner) = (Holder::at([192, 0, 2, 1].into()), Holder::at([192, 0, 2, 2].into()));
    assert_eq!(site.access.check_password("bob", "secret", attacker).await, Ok(user("bob")));
    let mut refused = 0;
    let throttled = loop {
        match site.access.check_password("bob", &format!("guess {refused}"), attacker).await {
            Err(LoginError::Refused) => refused += 1,
            Err(LoginError::Throttled(wait)) => break wait,
            other => panic!("{other:?}"),
        }
        assert!(refused < 100, "nothing slows it down");
    };
    assert!(refused >= 10 && !throttled.is_zero());
    assert_eq!(site.access.check_password("bob", "secret", owner).await, Ok(user("bob")), "from elsewhere");
    assert_eq!(site.access.check_password("bob", "secret", attacker).await, Ok(user("bob")), "it was verified before");
    site.set("ann", "other");
    let again = site.access.check_password("bob", "secret", attacker).await;
    assert!(matches!(again, Err(LoginError::Throttled(_))), "{again:?}");
}

/// The cache answered guesses at once, and counted none, as soon as the user had logged in from elsewhere.
#[tokio::test]
async fn a_throttled_address_cannot_ask_for_the_logins_of_others() {
    let site = Site::new(&format!("bob:{SECRET}"));
    let (attacker, owner) = (Holder::at([192, 0, 2, 1].into()), Holder::at([192, 0, 2, 2].into()));
    assert_eq!(site.access.check_password("bob", "secret", owner).await, Ok(user("bob")));
    while site.access.throttle.wait(attacker, Instant::now()).is_none() {
        site.access.throttle.failed(attacker, Instant::now());
    }
    for guess in ["guess", "secret"] {
        let answer = site.access.check_password("bob", guess, attacker).await;
        assert!(matches!(answer, Err(LoginError::Throttled(_))), "{guess}: {answer:?}");
    }
    assert_eq!(site.access.check_password("bob", "secret", owner).await, Ok(user("bob")));
}

#[tokio::test]
async fn hashes_wait_in_a_queue_that_has_an_end() {
    let site = Site::new(&format!("bob:{SECRET}"));
    let permits: Vec<_> = (0..CHECKS).map(|_| site.access.checks.take_anyway(Holder::SHARED)).collect();
    let waiting: Vec<_> = (0..WAITING_CHECKS).map(|_| site.access.checks.ask(Holder::SHARED).unwrap()).collect();
    let refused = site.log_in("bob", "secret").await;
    assert!(matches!(refused, Err(LoginError::Busy(_))), "{refused:?}");
    drop((permits, waiting));
    assert_eq!(site.log_in("bob", "secret").await, Ok(user("bob")));
}

/// A client that leaves early must not get its guesses for free.
#[tokio::test]
async fn a_guess_counts_even_if_the_client_leaves() {
    let site = Site::new(&format!("bob:{SECRET}"));
    let holder = Holder::at([192, 0, 2, 1].into());
    for number in 0..200 {
        if site.access.throttle.wait(holder, Instant::now()).is_some() {
            return;
        }
        let guess = format!("guess {number}");
        let left =
            tokio::time::timeout(Duration::from_millis(1), site.access.check_password("bob", &guess, holder)).await;
        assert!(!matches!(left, Ok(Ok(_))));
    }
    panic!("200 guesses were free in {}", site.folder.path().display());
}

/// The time of an answer would tell which names exist.
#[tokio::test]
async fn an_unknown_user_is_checked_as_long_as_a_wrong_password() {
    let site = Site::new("");
    site.set("bob", "one");
    let took = async |name: &str| {
        let began = Instant::now();
        assert_eq!(site.log_in(name, "guess").await, Err(LoginError::Refused));
        began.elapsed()
    };
    let (mut known, mut unknown) = (Duration::MAX, Duration::MAX);
    for _ in 0..5 {
        known = known.min(took("bob").await);
        unknown = unknown.min(took("ann").await);
    }
    assert!(unknown * 3 > known && known * 3 > unknown, "known {known:?}, unknown {unknown:?}");
}

/// A bad file must neither open nor close the node.
#[test]
fn a_policy_is_read_again_and_a_bad_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.toml");
    let rule = |who: &str| format!("[[rule]]\nwho = ['user:{who}']\nrepositories = ['**']\nactions = ['pull']\n");
    fs::write(&path, rule("bob")).unwrap();
    let sources = Sources { policy: Some(path.clone()), ..sources(folder.path(), "", &[]) };
    let access = Access::open(sources.clone(), Repositories::public(), None, true, None).unwrap();
    let repository = "a".parse().unwrap();
    let need = Need::Repository { repository: &repository, right: Right::Pull, tag: None };
    let verdict = |name: &str| access.decide(&Principal::of(user(name)), &need);
    assert_eq!((verdict("bob"), verdict("ann")), (Verdict::Allowed, Verdict::Hidden));
    // Otherwise clients would not learn that they must log in.
    let open = Access::open(sources.clone(), Repositories::public(), Some(Everybody::All), false, None).unwrap();
    let nobody = Principal::of(Identity::Anonymous);
    assert_eq!((open.decide(&nobody, &Need::Login), open.needs_first_user()), (Verdict::LogIn, true));
    let write = |text: &str| {
        fs::write(&path, text).unwrap();
        let seen = access.look(&access.sources.watched_stamps());
        access.look(&seen);
    };
    write(&rule("ann"));
    assert_eq!((verdict("bob"), verdict("ann")), (Verdict::Hidden, Verdict::Allowed));
    write("nonsense");
    assert_eq!((verdict("bob"), verdict("ann")), (Verdict::Hidden, Verdict::Allowed));
    assert!(Access::open(sources, Repositories::public(), None, true, None).is_err(), "it stops a start");
}

/// The fault of a line was printed twice.
#[test]
fn a_fault_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("htpasswd"), "\nthis is no user").unwrap();
    for (file, fault) in [("htpasswd", "line 2"), ("absent", "No such file")] {
        let error = sources(folder.path(), "", &[file]).read().unwrap_err();
        let text = format!("{:#}", anyhow::Error::from(error));
        assert_eq!(text.matches(fault).count(), 1, "{text}");
    }
}
