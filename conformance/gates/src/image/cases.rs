//! The ways in which platforms run an image, one row each.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use harness::client::{Request, Target};
use harness::report::Report;
use harness::site::sha256;

use super::IMAGE;
use super::container::Container;
use super::engine::{Engine, Workshop};
use super::first_login;

/// The image's own user.
const USER: u32 = 65532;
/// A user unknown to any image.
const STRANGER: u32 = 54321;
/// The capabilities that the change from root needs.
const RIGHTS: [&str; 4] = ["--cap-drop=ALL", "--cap-add=CHOWN", "--cap-add=SETUID", "--cap-add=SETGID"];

pub fn run(engine: &Engine, workshop: &Workshop, report: &mut Report) {
    report.case("as root: it owns a root-owned volume and has no rights left", || as_root(engine, &[]));
    report.case("as root: the three capabilities are enough", || {
        as_root(engine, &[&RIGHTS[..], &["--security-opt=no-new-privileges"]].concat())
    });
    report.case("as root: the three capabilities are enough for the image's own volume again", || own_volume(engine));
    report.case("as root: with a read-only root file system", || as_root(engine, &["--read-only"]));
    report.case("as root: without the capabilities it refuses and says which", || without_rights(engine));
    report.case("as root: a directory of somebody else's files stays as it is", || foreign(engine));
    report.case("as root: a new ext4 volume with lost+found is used", || lost_and_found(engine));
    report.case("as another user: it runs on a volume of that user's, all rights dropped, read-only", || {
        stranger(engine)
    });
    report.case("as another user of group 0: it runs on the image's own volume", || group_zero(engine));
    report.case("as another user: a volume that it cannot write is refused by name", || unwritable(engine));
    report.case("docker logs in with the first password, and pushes", || first_push(engine));
    report.case("the health check turns healthy", || healthy(engine));
    report.case("push of the image into itself, pull into an empty daemon, run what was pulled", || {
        itself(engine, workshop)
    });
    report.case("SIGTERM ends it cleanly; a volume whose owner changed serves the same again", || over_restart(engine));
}

fn volume(engine: &Engine, name: &str, owner: u32) -> anyhow::Result<PathBuf> {
    let path = engine.folder(name)?;
    chown(&path, Some(owner), Some(owner))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// Expects one user in all four places, no further groups, and no capability.
fn runs_as(container: &Container, uid: u32, gid: u32) -> anyhow::Result<()> {
    let process = container.process()?;
    let field = |name: &str| process.get(name).map(String::as_str).with_context(|| format!("no {name}"));
    let four = |id: u32| vec![id.to_string(); 4].join(" ");
    ensure!(field("Uid")? == four(uid), "Uid {}", field("Uid")?);
    ensure!(field("Gid")? == four(gid), "Gid {}", field("Gid")?);
    ensure!(field("CapEff")?.trim_matches('0').is_empty(), "CapEff {}", field("CapEff")?);
    ensure!(field("CapPrm")?.trim_matches('0').is_empty(), "CapPrm {}", field("CapPrm")?);
    let (soft, hard) = container.descriptors()?;
    ensure!(soft == hard, "of {hard} descriptors only {soft} are allowed");
    Ok(())
}

fn as_root(engine: &Engine, options: &[&str]) -> anyhow::Result<()> {
    let data = volume(engine, "root-owned", 0)?;
    let container = Container::ready(engine, &[options, &["--ulimit=nofile=1000:4000"]].concat(), Some(&data))?;
    runs_as(&container, USER, USER)?;
    let process = container.process()?;
    ensure!(process.get("NoNewPrivs").is_some_and(|set| set == "1"), "it may gain rights by a program");
    ensure!(process.get("Groups").is_some_and(String::is_empty), "groups {:?}", process.get("Groups"));
    for path in ["", "skyberth.json", "journal", "index", "admin.sock"] {
        let owner = fs::symlink_metadata(data.join(path))?.uid();
        ensure!(owner == USER, "{path} belongs to {owner}");
    }
    push_blob(&container.target(), "by-root")?;
    let said = container.exec(&["status"])?;
    ensure!(said.contains("ready"), "status says {said}");
    container.stop()
}

/// The image's own directory is closed to others. Once given away, it is also closed to root without
/// `CAP_DAC_OVERRIDE`.
fn own_volume(engine: &Engine) -> anyhow::Result<()> {
    let container = Container::ready(engine, &RIGHTS, None)?;
    container.stop()?;
    container.again()?;
    runs_as(&container, USER, USER)?;
    container.stop()
}

fn without_rights(engine: &Engine) -> anyhow::Result<()> {
    let data = volume(engine, "no-rights", 0)?;
    let container = Container::start(engine, &["--cap-drop=ALL"], Some(&data))?;
    let (code, said) = (container.wait()?, container.logs()?);
    ensure!(code == 2 && said.contains("CAP_CHOWN"), "it ended with {code}: {said}");
    ensure!(fs::read_dir(&data)?.next().is_none(), "it wrote as root");
    Ok(())
}

fn foreign(engine: &Engine) -> anyhow::Result<()> {
    let data = volume(engine, "foreign", 0)?;
    fs::write(data.join("thesis.tex"), "x")?;
    let container = Container::start(engine, &[], Some(&data))?;
    let (code, said) = (container.wait()?, container.logs()?);
    ensure!(code == 2 && said.contains("not a Skyberth data directory"), "it ended with {code}: {said}");
    let owners = [fs::metadata(&data)?.uid(), fs::metadata(data.join("thesis.tex"))?.uid()];
    ensure!(owners == [0, 0], "owners are {owners:?} now");
    Ok(())
}

fn lost_and_found(engine: &Engine) -> anyhow::Result<()> {
    let data = volume(engine, "ext4", 0)?;
    fs::create_dir(data.join("lost+found"))?;
    fs::set_permissions(data.join("lost+found"), fs::Permissions::from_mode(0o700))?;
    let container = Container::ready(engine, &RIGHTS, Some(&data))?;
    ensure!(fs::metadata(data.join("lost+found"))?.uid() == 0, "lost+found was given away");
    container.stop()?;
    Container::ready(engine, &RIGHTS, Some(&data))?.stop()
}

fn stranger(engine: &Engine) -> anyhow::Result<()> {
    let data = volume(engine, "strangers", STRANGER)?;
    let user = format!("--user={STRANGER}:{STRANGER}");
    let container = Container::ready(engine, &[&user, "--cap-drop=ALL", "--read-only"], Some(&data))?;
    runs_as(&container, STRANGER, STRANGER)?;
    push_blob(&container.target(), "by-a-stranger")?;
    container.exec(&["status"])?;
    container.stop()
}

fn group_zero(engine: &Engine) -> anyhow::Result<()> {
    let user = format!("--user={STRANGER}:0");
    let container = Container::ready(engine, &[&user, "--cap-drop=ALL"], None)?;
    runs_as(&container, STRANGER, 0)?;
    push_blob(&container.target(), "by-group-zero")?;
    container.stop()
}

fn unwritable(engine: &Engine) -> anyhow::Result<()> {
    let data = volume(engine, "unwritable", 0)?;
    let container = Container::start(engine, &[&format!("--user={STRANGER}:{STRANGER}")], Some(&data))?;
    let (code, said) = (container.wait()?, container.logs()?);
    ensure!(
        code == 2 && said.contains("cannot use /var/lib/skyberth/") && said.contains("Permission denied"),
        "it ended with {code}: {said}"
    );
    Ok(())
}

/// The image listens on all addresses, so its node asks for logins.
fn first_push(engine: &Engine) -> anyhow::Result<()> {
    let container = Container::start_as_is(engine, &[], None)?;
    container.wait_ready()?;
    let reference = format!("{}/first/push:v1", container.authority());
    engine.docker()?.args(["tag", IMAGE, &reference]).run()?;
    let refused = engine.docker()?.args(["push", &reference]).run_failing()?;
    ensure!(refused.contains("this needs a login"), "docker says {refused}");
    let account = first_login(&container.logs()?)?;
    let login = engine.docker()?.args(["login", "--username", account.name(), "--password-stdin"]);
    login.arg(container.authority()).input(account.password().as_bytes())?.run()?;
    engine.docker()?.args(["push", &reference]).run()?;
    engine.docker()?.args(["logout", &container.authority()]).run()?;
    container.stop()
}

fn healthy(engine: &Engine) -> anyhow::Result<()> {
    let container = Container::ready(engine, &["--health-interval=1s"], None)?;
    let deadline = Instant::now() + Duration::from_secs(30);
    while container.inspect("{{.State.Health.Status}}")? != "healthy" {
        ensure!(Instant::now() < deadline, "{}", container.inspect("{{json .State.Health}}")?);
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// A registry that runs from the image transfers the image to an empty daemon.
fn itself(engine: &Engine, workshop: &Workshop) -> anyhow::Result<()> {
    let data = volume(engine, "itself", 0)?;
    let container = Container::ready(engine, &RIGHTS, Some(&data))?;
    let reference = format!("{}/skyberth/itself:v1", container.authority());
    engine.docker()?.args(["tag", IMAGE, &reference]).run()?;
    engine.docker()?.args(["push", &reference]).run()?;
    let id = engine.docker()?.args(["inspect", "--format", "{{.Id}}", IMAGE]).run()?.text();
    let other = Engine::start_without_network(workshop, "empty")?;
    ensure!(
        other.docker()?.args(["images", "--all", "--quiet"]).run()?.text().is_empty(),
        "the other daemon has images"
    );
    other.docker()?.args(["pull", &reference]).run()?;
    let pulled = other.docker()?.args(["inspect", "--format", "{{.Id}}", &reference]).run()?.text();
    ensure!(pulled == id, "{id} was pushed, {pulled} came back");
    let said = other.docker()?.args(["run", "--rm", "--network=none", &reference, "--version"]).run()?.text();
    ensure!(said.starts_with("skyberth "), "the pulled image says {said}");
    container.stop()
}

fn over_restart(engine: &Engine) -> anyhow::Result<()> {
    let data = volume(engine, "restarted", 0)?;
    let container = Container::ready(engine, &[], Some(&data))?;
    let (path, bytes) = push_blob(&container.target(), "kept")?;
    container.stop()?;
    drop(container);
    give(&data, 1234)?;
    let container = Container::ready(engine, &[], Some(&data))?;
    let answer = container.target().send(&Request::get(&path))?;
    ensure!(answer.status == 200 && answer.body == bytes, "status {} after the restart", answer.status);
    let owner = fs::metadata(data.join("journal"))?.uid();
    ensure!(owner == USER, "journal/ belongs to {owner}");
    container.stop()
}

/// Pushes with one request. Returns the blob's path and content.
pub fn push_blob(registry: &Target, repository: &str) -> anyhow::Result<(String, Vec<u8>)> {
    let bytes = format!("a blob of {repository}").into_bytes();
    let digest = sha256(&bytes);
    let target = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
    let answer = registry.send(&Request::new("POST", &target).body(bytes.clone()))?;
    ensure!(answer.status == 201, "status {} on a push", answer.status);
    let path = format!("/v2/{repository}/blobs/{digest}");
    let answer = registry.send(&Request::get(&path))?;
    ensure!(answer.status == 200 && answer.body == bytes, "status {} on a pull", answer.status);
    Ok((path, bytes))
}

fn give(path: &Path, owner: u32) -> anyhow::Result<()> {
    let meta = fs::symlink_metadata(path)?;
    if meta.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), owner)?;
        }
    }
    Ok(lchown(path, Some(owner), Some(owner))?)
}
