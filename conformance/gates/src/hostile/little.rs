//! Several attacks at once on a server with default settings and a large index, in a control group with little memory.

use std::time::Duration;

use anyhow::Context;
use harness::client::{Request, Target};
use harness::gate::note;
use harness::noise::noise;
use harness::server::{Server, ServerOptions, free_port};
use harness::site::Site;

use super::attacks::Attack;
use super::beside::{MAX_REFERENCES, crowded};
use super::honest::Attacker;
use super::weight::{LIMIT, LIMIT_WITH_PORTAL, MIB, bounded_by};
use crate::attached::{ATTACHED, LISTEN};
use crate::case::Bench;
use crate::control_group::Group;

const MEMORY: u64 = 512 * MIB;
/// Milliseconds of processor time that all attackers together get of every 100.
const ONE_CORE: u64 = 100;
const PATIENCE: Duration = Duration::from_mins(2);

/// A server whose index has 100,000 references.
pub fn registry(bench: &Bench) -> anyhow::Result<()> {
    let options = bench.server()?;
    let server = options.clone().env("SKYBERTH_REGISTRY_REFERENCE_CHECKS", "false").start()?;
    let repo = Site::new(server.target(), "little").repo("crowd");
    repo.push_blob(b"config")?;
    for number in 0..bench.scale.pick(2, 10, 10) {
        let manifest = crowded(b"config", MAX_REFERENCES, &format!("little {number}"));
        repo.put(&format!("t{number}"), &manifest)?.expect(201)?;
    }
    server.terminate(PATIENCE)?;
    let attacks = [Attack::Crowded, Attack::Leaving, Attack::Unread, Attack::Bodies, Attack::Tags];
    let server = confined(&options)?;
    let path = large_blob(&server.server)?;
    let port = server.server.target().port;
    let all: Vec<_> = attacks.into_iter().map(|attack| (attack, port, path.as_str())).collect();
    attacked(bench, server, LIMIT, &all)
}

/// A server with an attached portal, both attacked.
pub fn with_portal(bench: &Bench) -> anyhow::Result<()> {
    let portal = Target::local(free_port()?);
    let options = bench.server()?.env(ATTACHED, "true").env(LISTEN, &portal.authority());
    let server = confined(&options)?;
    let (path, skylink) = (large_blob(&server.server)?, large_skyfile(&portal)?);
    let port = server.server.target().port;
    let all = [
        (Attack::Crowded, port, path.as_str()),
        (Attack::Leaving, port, &path),
        (Attack::Unread, port, &path),
        (Attack::Unread, portal.port, &skylink),
        (Attack::Skyfiles, portal.port, &skylink),
    ];
    attacked(bench, server, LIMIT_WITH_PORTAL, &all)
}

/// A server in a control group. The group is dropped after the server.
struct Confined {
    server: Server,
    _group: Option<Group>,
}

/// A server in a control group, if there are any here.
fn confined(options: &ServerOptions) -> anyhow::Result<Confined> {
    let group = Group::remembering(MEMORY);
    let mut server = options.spawn()?;
    let group = match group {
        Ok(group) => {
            group.add(server.pid())?;
            Some(group)
        }
        Err(error) => {
            note(&format!("the memory is measured and not limited: {error:#}"));
            None
        }
    };
    server.wait_ready(PATIENCE)?;
    Ok(Confined { server, _group: group })
}

fn large_blob(server: &Server) -> anyhow::Result<String> {
    let repo = Site::new(server.target(), "little").repo_named("attacked/large");
    Ok(repo.blob(&repo.push_blob(&noise("large", 16 << 20))?))
}

fn large_skyfile(portal: &Target) -> anyhow::Result<String> {
    let upload =
        Request::new("POST", "/skynet/skyfile?filename=large").header("Content-Type", "application/octet-stream");
    let answer = portal.send(&upload.body(noise("large", 16 << 20)))?.expect(200)?.text();
    let skylink = serde_json::from_str::<serde_json::Value>(&answer)?;
    Ok(format!("/{}", skylink["skylink"].as_str().context("no skylink")?))
}

/// Runs the attacks, and then pushes and pulls.
fn attacked(bench: &Bench, confined: Confined, limit: u64, attacks: &[(Attack, u16, &str)]) -> anyhow::Result<()> {
    let (time, server) = (Duration::from_secs(bench.scale.pick(4, 10, 300)), &confined.server);
    let ports: Vec<u16> = attacks.iter().map(|(_, port, _)| *port).collect();
    bounded_by(limit, server, &ports, || {
        let share = Group::computing(ONE_CORE)?;
        let mut attackers = Vec::new();
        for (attack, port, path) in attacks {
            attackers.push(Attacker::start(*attack, &share, *port, path)?);
        }
        std::thread::sleep(time);
        attackers.iter_mut().try_for_each(Attacker::goes_on)?;
        drop(attackers);
        let repo = Site::new(server.target(), "little").repo("honest");
        repo.push_image("latest").context("a push when they have left")?;
        Ok(())
    })?;
    confined.server.terminate(PATIENCE).map(drop)
}
