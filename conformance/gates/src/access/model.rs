//! Random callers, tokens and requests: each answer must be the one of a small model, which shares no code with the registry.

use std::fmt::Write as _;

use anyhow::{Context, ensure};
use harness::client::{Connection, Request, Response, Target};
use harness::gate::note;
use harness::random::Random;
use harness::scale::Scale;
use harness::server::Server;

use super::sources::htpasswd;
use super::{basic, new_token, operate};
use crate::case::Bench;

const PASSWORD: &str = "mnq7-of-writer";
const REPOSITORIES: [&str; 4] = ["a", "b", "a/b", "a/b/c"];
const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// The repository that `skyberth repo private` was asked for. Of the others, the last one does not exist.
const PRIVATE: &str = "b";
const ABSENT: &str = "a/b/c";
/// Tokens that are fetched for one level, and used again and again.
const TOKENS: usize = 60;

/// What callers without a login may do: `auth.anonymous`, from least to most.
const LEVELS: [&str; 4] = ["none", "pull", "push", "all"];

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Nothing,
    Login,
    List,
    Pull,
    Push,
    Delete,
}

/// Methods and paths, with `NAME` for the repository. None of them changes anything.
const REQUESTS: [(&str, &str, Need); 24] = [
    ("GET", "/livez", Need::Nothing),
    ("GET", "/readyz", Need::Nothing),
    ("GET", "/metrics", Need::Nothing),
    ("GET", "/.well-known/jwks.json", Need::Nothing),
    ("GET", "/v2/", Need::Login),
    ("HEAD", "/v2/", Need::Login),
    ("GET", "/v2/_oci/ext/discover", Need::Login),
    ("GET", "/v2/_catalog", Need::List),
    ("GET", "/v2/NAME/tags/list", Need::Pull),
    ("GET", "/v2/NAME/manifests/latest", Need::Pull),
    ("HEAD", "/v2/NAME/manifests/DIGEST", Need::Pull),
    ("GET", "/v2/NAME/blobs/DIGEST", Need::Pull),
    ("HEAD", "/v2/NAME/blobs/DIGEST", Need::Pull),
    ("GET", "/v2/NAME/referrers/DIGEST", Need::Pull),
    ("POST", "/v2/NAME/blobs/uploads/?digest=nonsense", Need::Push),
    ("GET", "/v2/NAME/blobs/uploads/0123456789abcdef0123456789abcdef", Need::Push),
    ("PATCH", "/v2/NAME/blobs/uploads/0123456789abcdef0123456789abcdef", Need::Push),
    ("PUT", "/v2/NAME/blobs/uploads/0123456789abcdef0123456789abcdef?digest=DIGEST", Need::Push),
    ("DELETE", "/v2/NAME/blobs/uploads/0123456789abcdef0123456789abcdef", Need::Push),
    ("PUT", "/v2/NAME/manifests/latest", Need::Push),
    ("PUT", "/v2/NAME/manifests/DIGEST", Need::Push),
    ("DELETE", "/v2/NAME/manifests/latest", Need::Delete),
    ("DELETE", "/v2/NAME/manifests/DIGEST", Need::Delete),
    ("DELETE", "/v2/NAME/blobs/DIGEST", Need::Delete),
];

/// A token, with what it was asked for.
struct Token {
    text: String,
    of_writer: bool,
    /// A repository, and an action.
    scopes: Vec<(&'static str, Need)>,
    catalog: bool,
}

/// A robot whose token is only for pulls below `a`.
const ROBOT: &str = "robot+puller";
const SCOPE: &str = "a/**:pull";

enum Login<'a> {
    None,
    Empty,
    Password,
    Robot(&'a str),
    Malformed,
    Forged(&'a Token),
    Token(&'a Token),
}

/// Whether a request passes, or the `error` of its challenge.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Passes,
    Denied,
    Challenged(Option<String>),
}

pub fn random(bench: &Bench) -> anyhow::Result<()> {
    let requests = bench.scale.pick(300, 2_000, 100_000) / LEVELS.len();
    let mut random = Random::new(bench.seed);
    for (level, setting) in LEVELS.into_iter().enumerate() {
        let users = htpasswd(&bench.folder, "writer", PASSWORD)?;
        let options = bench.server()?.env("SKYBERTH_AUTH_USERS", &users).env("SKYBERTH_AUTH_ANONYMOUS", setting);
        let mut options = options.env("SKYBERTH_LOG_ACCESS", "off");
        options.data = bench.folder.join(setting);
        let server = options.start()?;
        let target = server.target();
        fill(&server, &target)?;
        let robot = new_token(&server.options, &["create", ROBOT, "--scope", SCOPE])?;
        // Nothing needs a token where everybody may do everything.
        let count = if level == 3 { 0 } else { TOKENS };
        let tokens = (0..count).map(|_| token(&target, &mut random)).collect::<anyhow::Result<Vec<_>>>()?;
        let mut connection = Connection::open(&target)?;
        for number in 0..requests {
            let login = draw(&tokens, &robot, &mut random);
            let (method, path, need) = *random.pick(&REQUESTS);
            let name = *random.pick(&REPOSITORIES);
            let path = path.replace("NAME", name).replace("DIGEST", DIGEST);
            let mut request = Request::new(method, &path);
            if let Some(text) = authorization(&login) {
                request = request.header("Authorization", text);
            }
            // The registry may close a connection whose body it did not read.
            let answer = if let Ok(answer) = connection.send(&request) {
                answer
            } else {
                connection = Connection::open(&target)?;
                connection.send(&request)?
            };
            let (found, wanted) = (outcome(&answer)?, expected(level, &login, need, name));
            let reads_it = name == PRIVATE && need == Need::Pull && answer.status < 300;
            ensure!(!reads_it || is_of_writer(&login), "{setting}: a caller without the right read what is private");
            let robot_reads = matches!(login, Login::Robot(_)) && need == Need::Pull && answer.status < 300;
            ensure!(!robot_reads || name.starts_with("a/"), "{setting}: a robot read {name}");
            let how = authorization(&login).unwrap_or_default();
            ensure!(found == wanted, "{setting}, request {number}: {method} {path} {how}: {found:?}, not {wanted:?}");
        }
    }
    note(&format!("{} requests", requests * LEVELS.len()));
    if bench.scale == Scale::Quick { Ok(()) } else { every_method(bench) }
}

/// Makes all repositories but the absent one, and one of them private.
fn fill(server: &Server, target: &Target) -> anyhow::Result<()> {
    for name in REPOSITORIES.iter().filter(|name| **name != ABSENT) {
        let request = Request::new("POST", format!("/v2/{name}/blobs/uploads/?digest={DIGEST}"));
        target.send(&request.header("Authorization", basic("writer", PASSWORD)))?.expect(201)?;
    }
    let ended = operate(&server.options, &["repo", "private", PRIVATE], "")?;
    ensure!(ended.status.success(), "{}", ended.said());
    Ok(())
}

fn is_of_writer(login: &Login) -> bool {
    match login {
        Login::Password => true,
        Login::Token(token) => token.of_writer,
        Login::None | Login::Empty | Login::Robot(_) | Login::Malformed | Login::Forged(_) => false,
    }
}

/// A method that a path does not take is refused alike with and without a login.
fn every_method(bench: &Bench) -> anyhow::Result<()> {
    let mut options = bench.server()?.env("SKYBERTH_AUTH_ANONYMOUS", "none");
    options = options.env("SKYBERTH_AUTH_USERS", &htpasswd(&bench.folder, "writer", PASSWORD)?);
    options.data = bench.folder.join("methods");
    let server = options.start()?;
    for (_, path, need) in REQUESTS {
        let path = path.replace("NAME", "a").replace("DIGEST", DIGEST);
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"] {
            let status = server.target().send(&Request::new(method, &path))?.status;
            let is_open = need == Need::Nothing && status < 400;
            ensure!(is_open || [401, 405].contains(&status), "{method} {path} without a login: {status}");
        }
    }
    Ok(())
}

fn token(target: &Target, random: &mut Random) -> anyhow::Result<Token> {
    let of_writer = random.chance(60);
    let (mut scopes, mut query) = (Vec::new(), String::from("/token?service=skyberth"));
    for _ in 0..random.below(4) {
        let (name, action) = (*random.pick(&REPOSITORIES), *random.pick(&[Need::Pull, Need::Push, Need::Delete]));
        let word = match action {
            Need::Push => "push",
            Need::Delete => "delete",
            _ => "pull",
        };
        scopes.push((name, action));
        let _ = write!(query, "&scope=repository:{name}:{word}");
    }
    let catalog = random.chance(30);
    if catalog {
        query += "&scope=registry:catalog:*";
    }
    let mut request = Request::get(query);
    if of_writer {
        request = request.header("Authorization", basic("writer", PASSWORD));
    }
    let answer = target.send(&request)?;
    let text = answer.expect(200)?.json()?["token"].as_str().context("no token")?.to_owned();
    Ok(Token { text, of_writer, scopes, catalog })
}

fn draw<'a>(tokens: &'a [Token], robot: &'a str, random: &mut Random) -> Login<'a> {
    match random.below(if tokens.is_empty() { 5 } else { 13 }) {
        4 => Login::Robot(robot),
        0 => Login::None,
        1 => Login::Empty,
        2 => Login::Password,
        3 => Login::Malformed,
        5 => Login::Forged(random.pick(tokens)),
        _ => Login::Token(random.pick(tokens)),
    }
}

fn authorization(login: &Login) -> Option<String> {
    Some(match login {
        Login::None => return None,
        Login::Empty => basic("", ""),
        Login::Password => basic("writer", PASSWORD),
        Login::Robot(secret) => basic(ROBOT, secret),
        Login::Malformed => "Basic !".to_owned(),
        // Without the last byte of its signature.
        Login::Forged(token) => format!("Bearer {}", &token.text[..token.text.len() - 2]),
        Login::Token(token) => format!("Bearer {}", token.text),
    })
}

/// The model.
fn expected(level: usize, login: &Login, need: Need, name: &str) -> Outcome {
    // Where everybody may push, private ones look absent: 404.
    let is_hidden = need == Need::Pull && name == PRIVATE && level >= 2;
    let everybody_may = match need {
        Need::Nothing => true,
        Need::Pull => level >= 2 || level >= 1 && name != PRIVATE && name != ABSENT,
        Need::List => level >= 1,
        Need::Push => level >= 2,
        Need::Delete | Need::Login => level >= 3,
    };
    let refused = |error: &str| Outcome::Challenged(Some(error.to_owned()));
    match login {
        _ if need == Need::Nothing => Outcome::Passes,
        Login::Robot(_) if matches!(need, Need::Push | Need::Delete) => Outcome::Denied,
        // What the robot may not pull looks absent.
        Login::Password | Login::Robot(_) => Outcome::Passes,
        Login::Malformed => Outcome::Challenged(None),
        Login::Forged(_) => refused("invalid_token"),
        Login::Token(_) if need == Need::Login => Outcome::Passes,
        Login::Token(token) if !token.of_writer && is_hidden => Outcome::Passes,
        Login::Token(token) if token.of_writer || everybody_may => {
            let has = match need {
                Need::List => token.catalog,
                _ => token.scopes.contains(&(REPOSITORIES.iter().find(|known| **known == name).unwrap_or(&""), need)),
            };
            if has { Outcome::Passes } else { refused("insufficient_scope") }
        }
        _ if everybody_may => Outcome::Passes,
        _ => Outcome::Challenged(None),
    }
}

fn outcome(answer: &Response) -> anyhow::Result<Outcome> {
    ensure!(answer.status < 500, "status {}", answer.status);
    match answer.status {
        401 => {}
        403 => return Ok(Outcome::Denied),
        _ => return Ok(Outcome::Passes),
    }
    let challenge = answer.need("WWW-Authenticate")?;
    let error = challenge.split_once("error=\"").and_then(|(_, rest)| rest.split('"').next());
    Ok(Outcome::Challenged(error.map(str::to_owned)))
}
