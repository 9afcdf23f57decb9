//! The judge of any registry, with a login: the official suite, the edge table, real clients.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::ensure;
use harness::jobs::Job;
use harness::program::Program;
use harness::scale::Scale;

use super::sources::htpasswd;
use crate::case::{Bench, Scene};

const NAME: &str = "judge";
const PASSWORD: &str = "an open secret";
/// Clients without a daemon.
const CLIENTS: &str = "raw,crane,oras,regctl,skopeo";
const ALL_CLIENTS: &str = "raw,crane,oras,regctl,skopeo,podman,docker,containerd,buildah,helm,cosign,buildkit";

/// How the registry tells clients to log in.
#[derive(Clone, Copy, Debug)]
enum Challenge {
    Bearer,
    /// With tokens that end so soon that the judge can wait for it. It fetches another one for each request.
    ShortBearer,
    Basic,
}

/// The programs that judge.
#[derive(Debug)]
pub struct Outside {
    pub judge: PathBuf,
    pub tools: PathBuf,
    pub scale: Scale,
}

impl Outside {
    pub fn jobs<'a>(&'a self, scene: &'a Scene) -> Vec<Job<'a>> {
        let clients = self.scale.pick(CLIENTS, CLIENTS, ALL_CLIENTS);
        let suite = self.tools.join("conformance").display().to_string();
        let official = vec!["official".into(), "--suite".into(), suite];
        let edge = vec!["edge".into(), "--own".into()];
        let clients = ["clients", "--only", clients, "--tools", &self.tools.display().to_string()].map(String::from);
        let checks: [(&str, Challenge, Vec<String>); 5] = [
            ("the edge table with tokens", Challenge::ShortBearer, edge.clone()),
            ("clients with tokens", Challenge::Bearer, clients.to_vec()),
            ("the official suite with tokens", Challenge::Bearer, official.clone()),
            ("the official suite with Basic", Challenge::Basic, official),
            (
                "logins of the edge table with Basic",
                Challenge::Basic,
                [edge, vec!["--only".into(), "1,3,22,45".into()]].concat(),
            ),
        ];
        let job = |(name, challenge, words): (&str, Challenge, Vec<String>)| {
            scene.job_of(name, move |bench| self.judge(bench, challenge, &words))
        };
        checks.into_iter().map(job).collect()
    }

    /// Runs a check of the judge on a fresh registry with one user.
    fn judge(&self, bench: &Bench, challenge: Challenge, words: &[String]) -> anyhow::Result<()> {
        let users = htpasswd(&bench.folder, NAME, PASSWORD)?;
        let options = bench.server()?.env("SKYBERTH_AUTH_USERS", &users);
        let options = match challenge {
            Challenge::Bearer => options,
            Challenge::ShortBearer => options.env("SKYBERTH_AUTH_TOKEN_LIFETIME", "3s"),
            Challenge::Basic => options.env("SKYBERTH_AUTH_CHALLENGE", "basic"),
        };
        // A judge by URL expects what a sparse server answers.
        let sparse = words[0] == "official";
        let options = options.env("SKYBERTH_REGISTRY_REFERENCE_CHECKS", if sparse { "false" } else { "true" });
        let server = options.start()?;
        let url = format!("http://{}", server.target().authority());
        let said = self.run(&bench.folder, words, &url)?;
        ensure!(!said.is_empty(), "the judge said nothing");
        Ok(())
    }

    fn run(&self, folder: &Path, words: &[String], url: &str) -> anyhow::Result<String> {
        let program = Program::new(&self.judge, &folder.join("judge.log"));
        let program = program.args(["--scale", self.scale.pick("quick", "ci", "full")]).args(words).args([
            "--url",
            url,
            "--username",
            NAME,
        ]);
        let ended = program.env("CONFORMANCE_PASSWORD", PASSWORD).limit(Duration::from_mins(10)).run_any()?;
        let said = ended.said();
        let failed: Vec<&str> = said.lines().filter(|line| line.starts_with("FAIL")).collect();
        ensure!(
            ended.status.success(),
            "{}: {}",
            ended.status,
            if failed.is_empty() { said } else { failed.join("; ") }
        );
        Ok(said)
    }
}
