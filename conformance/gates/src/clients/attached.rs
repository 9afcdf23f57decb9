//! A node with an attached portal, beyond what the README shows: commands, a stop, a start without the portal, two
//! copies.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use conformance::clients::round::{KIB, MIB, ROW, Round, Setting};
use harness::client::{Request, Target};
use harness::gate::wait_until;
use harness::layout::Image;
use harness::noise::noise;
use harness::program::Ended;
use harness::scale::Scale;
use harness::server::{Server, ServerOptions, free_port};
use harness::site::sha256;
use harness::surroundings::{BACKEND, COPIES, PORTALS};
use harness::verify;

use crate::attached::{ATTACHED, LISTEN, places};

const REPOSITORY: &str = "attached/image";

/// Options: what to judge, and with which clients.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The `skyberth` binary.
    #[arg(long)]
    binary: PathBuf,
    /// Directory of the Go clients. Those of Debian come from the system.
    #[arg(long, default_value = "target/tools/bin")]
    tools: PathBuf,
}

pub fn run(args: &Args, scale: Scale, folder: Option<&Path>) -> anyhow::Result<()> {
    let scratch = tempfile::Builder::new().prefix("attached").tempdir()?;
    let logs = folder.unwrap_or(scratch.path()).join("attached");
    std::fs::create_dir_all(&logs)?;
    let binary = args.binary.canonicalize().with_context(|| format!("no binary at {}", args.binary.display()))?;
    let tools = std::path::absolute(&args.tools)?;
    let target = Target::local(free_port()?);
    let setting = Setting::new("attached", Some(binary), target, tools, scratch.path(), &logs, scale);
    setting.round("attached", rows)?;
    setting.into_report().finish(folder)
}

fn rows(round: &Round) -> anyhow::Result<()> {
    round.row("status, ls, gc and fsck know it, running or stopped", ROW, || operated(round));
    round.row("a start without it says what is only there", ROW, || without(round));
    round.row("SIGTERM places what is only here before it ends", ROW, || flushed(round));
    round.row("it is one copy where two are wanted", ROW, || two_copies(round));
    round.row("a port that is taken is named", ROW, || taken(round));
    Ok(())
}

fn options(round: &Round, name: &str) -> anyhow::Result<ServerOptions> {
    let mut options = ServerOptions::new(round.binary()?, &round.folder(name)?)?;
    options.log = round.log_of(&format!("attached-{name}"));
    let _ = std::fs::remove_file(&options.log);
    Ok(options.env(ATTACHED, "true").env(LISTEN, "127.0.0.1:0"))
}

fn push(round: &Round, target: &Target) -> anyhow::Result<Image> {
    let image = round.image("attached", &[6 * MIB, 20 * KIB])?;
    let reference = format!("{}/{REPOSITORY}:v1", target.authority());
    round.program("crane")?.arg("push").arg(&image.layout).arg(reference).run()?;
    Ok(image)
}

/// Runs a command on the node's directory, with or without its settings.
fn skyberth(round: &Round, options: &ServerOptions, words: &[&str], with_settings: bool) -> anyhow::Result<Ended> {
    let name = round.binary()?.to_string_lossy().into_owned();
    let program = round.program(&name)?.args(words).arg("--data").arg(&options.data);
    let settings = options.env.iter().filter(|_| with_settings);
    settings.fold(program, |program, (key, value)| program.env(key, value)).run_any()
}

fn says(ended: &Ended, word: &str) -> anyhow::Result<()> {
    ensure!(
        ended.status.success() && ended.said().contains(word),
        "{}, no {word:?} in: {}",
        ended.status,
        ended.said()
    );
    Ok(())
}

fn operated(round: &Round) -> anyhow::Result<()> {
    let server = options(round, "operated")?.start()?;
    let image = push(round, &server.target())?;
    wait_until_safe(&server.target())?;
    let name = format!("{REPOSITORY}@{}", image.digest);
    // The directory shows that a portal was attached, so the commands run without any setting.
    let safe = "have copies only on this machine";
    let (running, stopped) = ((0, safe), (4, safe));
    let read_back = wait_until(ROW / 2, || {
        skyberth(round, &server.options, &["status"], true).is_ok_and(|status| status.said().contains(safe))
    });
    ensure!(read_back, "status never says {safe:?}");
    let all = |options: &ServerOptions, note: &str, here: &str, (code, safe): (i32, &str)| -> anyhow::Result<()> {
        for with_settings in [true, false] {
            let run = |words: &[&str]| skyberth(round, options, words, with_settings);
            let status = run(&["status"])?;
            ensure!(status.status.code() == Some(code), "{}: {}", status.status, status.said());
            for word in [note, safe, "1 of each blob, on http://127.0.0.1:"] {
                ensure!(status.said().contains(word), "no {word:?} in: {}", status.said());
            }
            says(&run(&["gc"])?, "removed 0 unreferenced blobs")?;
            says(&run(&["fsck"])?, "0 of them damaged or missing")?;
            let listed = run(&["ls", &name])?.text();
            ensure!(places(&listed).len() == image.digests().len(), "{listed}");
            ensure!(listed.matches(&format!("\t{here}")).count() == image.digests().len(), "not {here:?}: {listed}");
        }
        Ok(())
    };
    all(&server.options, "runs in this process", "here", running)?;
    let options = server.terminate(ROW / 2)?;
    all(&options, "does not run now", "here", stopped)?;
    std::fs::remove_dir_all(options.data.join("blobs"))?;
    all(&options, "does not run now", "not here", stopped)?;
    let server = options.start()?;
    all(&server.options, "runs in this process", "not here", running)?;
    verify::registry_holds(&server.target(), REPOSITORY, "v1", &image)
}

fn without(round: &Round) -> anyhow::Result<()> {
    let with = options(round, "without")?;
    let server = with.start()?;
    let image = push(round, &server.target())?;
    wait_until_safe(&server.target())?;
    server.kill()?;
    std::fs::remove_dir_all(with.data.join("blobs"))?;
    let mut plain = with.clone();
    plain.env.clear();
    let server = plain.start()?;
    let log = || std::fs::read_to_string(&plain.log).unwrap_or_default();
    let counted = format!("{} blobs", image.digests().len());
    let said = || log().lines().any(|line| line.contains(&counted) && line.contains("have no file here"));
    ensure!(wait_until(Duration::from_secs(10), said), "the log does not say that {counted} are not here");
    says(&skyberth(round, &plain, &["status"], true)?, "left from a start with --with-portal")?;
    let layer = &image.layers[0].digest;
    let answer = server.target().send(&Request::get(format!("/v2/{REPOSITORY}/blobs/{layer}")))?;
    answer.expect(404)?;
    server.terminate(ROW / 4)?;
    let server = with.start()?;
    verify::registry_holds(&server.target(), REPOSITORY, "v1", &image)
}

fn flushed(round: &Round) -> anyhow::Result<()> {
    let server = options(round, "flushed")?.start()?;
    let content = noise("attached flushed", 48 << 20);
    let digest = push_blob(&server, &content)?;
    let options = server.terminate(ROW / 2)?;
    let log = std::fs::read_to_string(&options.log)?;
    // It is on this machine only, or not read back yet. Content that was not placed is a warning instead.
    let said = log.contains("INFO skyberth::cli::running: safe to close: no");
    ensure!(said, "the log does not say that all content was placed");
    std::fs::remove_dir_all(options.data.join("blobs"))?;
    let server = options.start()?;
    let size = verify::blob(&server.target(), "a", &digest)?;
    ensure!(size == content.len() as u64, "{size} bytes");
    Ok(())
}

fn two_copies(round: &Round) -> anyhow::Result<()> {
    let mut other = ServerOptions::new(round.binary()?, &round.folder("two-portal")?)?.portal();
    other.log = round.log_of("attached-two-portal");
    let url = format!("http://{}", other.target().authority());
    let options = options(round, "two")?.env(BACKEND.0, BACKEND.1).env(PORTALS, &url).env(COPIES, "2");
    let server = options.start()?;
    push_blob(&server, b"two copies")?;
    // The attached portal has it long before that.
    std::thread::sleep(Duration::from_secs(2));
    let backlog = backlog(&server.target())?;
    ensure!(backlog == 1, "{backlog} are not placed while one of two portals is not there");
    let _other = other.start()?;
    wait_until_safe(&server.target())?;
    let said = skyberth(round, &options, &["status"], true)?;
    says(&said, "2 of each blob, on http://127.0.0.1:")?;
    says(&said, &url)
}

fn taken(round: &Round) -> anyhow::Result<()> {
    let holder = std::net::TcpListener::bind(("127.0.0.1", free_port()?))?;
    let options = options(round, "taken")?.env(LISTEN, &holder.local_addr()?.to_string());
    let mut server = options.spawn()?;
    let status = server.wait_exit(Duration::from_secs(20))?;
    let log = std::fs::read_to_string(&options.log)?;
    ensure!(status.code() == Some(2) && log.contains("portal.listen"), "{status}: {log}");
    Ok(())
}

fn push_blob(server: &Server, content: &[u8]) -> anyhow::Result<String> {
    let digest = sha256(content);
    let post = Request::new("POST", format!("/v2/a/blobs/uploads/?digest={digest}"));
    server.target().send(&post.header("Content-Type", "application/octet-stream").body(content))?.expect(201)?;
    Ok(digest)
}

fn backlog(target: &Target) -> anyhow::Result<u64> {
    let answer = target.send(&Request::get("/readyz"))?.expect(200)?.json()?;
    answer["durability"]["backlog"].as_u64().with_context(|| format!("no backlog in {answer}"))
}

fn wait_until_safe(target: &Target) -> anyhow::Result<()> {
    let safe = wait_until(ROW / 2, || backlog(target).is_ok_and(|count| count == 0));
    ensure!(safe, "{:?} are not placed", backlog(target));
    Ok(())
}
