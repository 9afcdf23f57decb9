//! Real clients in each situation of a registry with logins: what works, and what a person reads where it does not.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use harness::gate::note;
use harness::jobs::Job;
use harness::layout;
use harness::program::Ended;
use harness::proxy::{Fault, Proxy};
use harness::scale::Scale;
use harness::server::Server;

use super::clients::{ALL, Client, Kind};
use super::sources::htpasswd;
use crate::case::{Bench, Scene};

const PASSWORD: &str = "mnq7-of-writer";
/// Lifetime of tokens that expire within a push. Skopeo, podman and regctl use any token for at least a minute.
const EXPIRES: Duration = Duration::from_mins(1);
/// Everybody may pull what is below `a`, `reader` also what is below `team`, and `writer` may do everything.
const POLICY: &str = "
    public = ['a/**']

    [[rule]]
    who = ['user:writer']
    repositories = ['**']
    actions = ['*']

    [[rule]]
    who = ['user:reader']
    repositories = ['team/**']
    actions = ['pull']
";

/// A client before a registry with this policy.
struct Cell<'a> {
    client: Client<'a>,
    image: layout::Image,
    folder: &'a Path,
    server: Server,
}

type Situation = (&'static str, fn(&Cell) -> anyhow::Result<()>);

const SITUATIONS: [Situation; 11] = [
    ("tokens that expire", expiring),
    ("anonymous pull", anonymous_pull),
    ("login and push", login_and_push),
    ("push denied", push_denied),
    ("delete denied", delete_denied),
    ("mount across repositories", mounted),
    ("wrong password", wrong_password),
    ("pull of private with rights", private_pull),
    ("pull of private without rights", hidden_pull),
    ("push without rights", push_without_rights),
    ("delete without rights", delete_without_rights),
];

/// Cells below full scale: each situation, and each client, at least once.
const FEW: [(Kind, &str); 11] = [
    (Kind::Crane, "anonymous pull"),
    (Kind::Podman, "anonymous pull"),
    (Kind::Podman, "login and push"),
    (Kind::Skopeo, "push denied"),
    (Kind::Oras, "delete denied"),
    (Kind::Crane, "mount across repositories"),
    (Kind::Regctl, "tokens that expire"),
    (Kind::Skopeo, "wrong password"),
    (Kind::Crane, "pull of private with rights"),
    (Kind::Podman, "pull of private without rights"),
    (Kind::Oras, "push without rights"),
];

pub fn jobs<'a>(scene: &'a Scene, tools: &'a Path, scale: Scale) -> Vec<Job<'a>> {
    let mut jobs = Vec::new();
    for kind in ALL {
        for (name, check) in SITUATIONS {
            if scale == Scale::Full || FEW.contains(&(kind, name)) {
                let title = format!("{kind:?}: {name}");
                jobs.push(scene.job_of(&title, move |bench| check(&Cell::new(bench, kind, tools, name)?)));
            }
        }
    }
    jobs
}

impl<'a> Cell<'a> {
    fn new(bench: &'a Bench, kind: Kind, tools: &'a Path, situation: &str) -> anyhow::Result<Self> {
        let users = ["writer", "reader"].map(|name| htpasswd(&bench.folder, name, PASSWORD));
        let users = users.into_iter().collect::<anyhow::Result<Vec<_>>>()?.join(" ");
        let policy = bench.folder.join("policy.toml");
        std::fs::write(&policy, POLICY)?;
        let lifetime = if situation == "tokens that expire" { EXPIRES } else { Duration::from_mins(15) };
        let options = bench.server()?.env("SKYBERTH_AUTH_USERS", &users).env("SKYBERTH_AUTH_ANONYMOUS", "pull");
        let options = options.env("SKYBERTH_AUTH_POLICY", &policy.display().to_string());
        let server = options.env("SKYBERTH_AUTH_TOKEN_LIFETIME", &format!("{}s", lifetime.as_secs())).start()?;
        let client = Client::new(kind, tools, &bench.folder.join("client"), &server.target().authority())?;
        let image = layout::image(&bench.folder.join("image"), situation, &[300_000, 20_000])?;
        Ok(Cell { client, image, folder: &bench.folder, server })
    }

    fn as_writer(&self) -> anyhow::Result<()> {
        succeeds(&self.client.log_in("writer", PASSWORD)?)
    }

    fn as_reader(&self) -> anyhow::Result<()> {
        succeeds(&self.client.log_in("reader", PASSWORD)?)
    }

    /// Pushes by another client, which has a login.
    fn given(&self, name: &str) -> anyhow::Result<()> {
        let authority = self.server.target().authority();
        let other = Client::new(Kind::Crane, self.client.tools(), &self.folder.join("other"), &authority)?;
        succeeds(&other.log_in("writer", PASSWORD)?)?;
        succeeds(&other.push(&self.image, name)?)
    }
}

fn succeeds(ended: &Ended) -> anyhow::Result<()> {
    ensure!(ended.status.success(), "it ended with {}: {}", ended.status, ended.said());
    Ok(())
}

/// Fails unless the client failed, with a text that says why.
fn is_refused(ended: &Ended) -> anyhow::Result<()> {
    let said = ended.said();
    ensure!(!ended.status.success(), "it succeeded: {said}");
    let reasons =
        ["unknown", "unauthorized", "authentication required", "needs a login", "denied", "wrong", "invalid username"];
    let line = said.lines().find(|line| reasons.iter().any(|reason| line.to_lowercase().contains(reason)));
    let Some(line) = line else { bail!("it does not say why: {said}") };
    note(line.trim());
    Ok(())
}

fn anonymous_pull(cell: &Cell) -> anyhow::Result<()> {
    cell.given("a/pulled")?;
    succeeds(&cell.client.pull("a/pulled")?)
}

fn login_and_push(cell: &Cell) -> anyhow::Result<()> {
    cell.as_writer()?;
    succeeds(&cell.client.push(&cell.image, "a/pushed")?)?;
    succeeds(&cell.client.pull("a/pushed")?)
}

fn push_denied(cell: &Cell) -> anyhow::Result<()> {
    is_refused(&cell.client.push(&cell.image, "a/denied")?)
}

fn delete_denied(cell: &Cell) -> anyhow::Result<()> {
    cell.given("a/kept")?;
    if let Some(ended) = cell.client.delete("a/kept", &cell.image.digest)? {
        is_refused(&ended)?;
    }
    succeeds(&cell.client.pull("a/kept")?)
}

fn mounted(cell: &Cell) -> anyhow::Result<()> {
    cell.as_writer()?;
    succeeds(&cell.client.push(&cell.image, "a/source")?)?;
    match cell.client.copy("a/source", "b/target")? {
        Some(ended) => succeeds(&ended)?,
        None => return Ok(()),
    }
    succeeds(&cell.client.pull("b/target")?)
}

/// A token ends while the layers are on their way. The client gets another one for the rest.
fn expiring(cell: &Cell) -> anyhow::Result<()> {
    let slow = Proxy::before(&cell.server.target())?;
    slow.set(Fault::Trickle(4_500));
    let client = cell.client.at(&cell.folder.join("slow"), &slow.authority())?;
    succeeds(&client.log_in("writer", PASSWORD)?)?;
    let began = Instant::now();
    succeeds(&client.push(&cell.image, "a/slow")?)?;
    ensure!(began.elapsed() > EXPIRES, "the push was too fast for a token to expire in it");
    slow.set(Fault::None);
    succeeds(&client.pull("a/slow")?)
}

fn private_pull(cell: &Cell) -> anyhow::Result<()> {
    cell.given("team/x")?;
    is_refused(&cell.client.pull("team/x")?)?;
    cell.as_reader()?;
    succeeds(&cell.client.pull("team/x")?)
}

fn hidden_pull(cell: &Cell) -> anyhow::Result<()> {
    cell.given("other/x")?;
    cell.as_reader()?;
    is_refused(&cell.client.pull("other/x")?)?;
    is_refused(&cell.client.pull("other/absent")?)
}

fn push_without_rights(cell: &Cell) -> anyhow::Result<()> {
    cell.as_reader()?;
    is_refused(&cell.client.push(&cell.image, "team/x")?)?;
    is_refused(&cell.client.push(&cell.image, "other/x")?)
}

fn delete_without_rights(cell: &Cell) -> anyhow::Result<()> {
    cell.given("team/kept")?;
    cell.as_reader()?;
    if let Some(ended) = cell.client.delete("team/kept", &cell.image.digest)? {
        is_refused(&ended)?;
    }
    succeeds(&cell.client.pull("team/kept")?)
}

fn wrong_password(cell: &Cell) -> anyhow::Result<()> {
    // crane only stores a login, and learns later that it is wrong.
    let login = cell.client.log_in("writer", "a guess")?;
    if login.status.success() { is_refused(&cell.client.push(&cell.image, "a/x")?) } else { is_refused(&login) }
}
