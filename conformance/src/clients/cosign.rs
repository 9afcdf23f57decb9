//! cosign: a signature by key as a referrer, verified, and refused under another key.

use anyhow::{Context, ensure};

use super::round::{KIB, ROW, Round};
use crate::client::Request;
use crate::program::Program;

pub fn run(round: &Round) -> anyhow::Result<()> {
    round.row("sign with a key, find the referrer, verify", ROW, || {
        let image = round.image("signed", &[300 * KIB])?;
        let reference = round.reference("signed");
        round.program("crane")?.arg("push").arg(&image.layout).arg(format!("{reference}:v1")).run()?;
        for key in ["ours", "theirs"] {
            cosign(round)?.args(["generate-key-pair", "--output-key-prefix", key]).run()?;
        }
        let sign = ["sign", "--yes", "--key", "ours.key", "--use-signing-config=false", "--tlog-upload=false"];
        let signed = format!("{reference}@{}", image.digest);
        cosign(round)?.args(sign).args(["--allow-http-registry", &signed]).run()?;

        let listed = referrers(round, &image.digest)?;
        ensure!(listed == 1, "{listed} referrers after one signature");
        verify(round, "ours.pub", &format!("{reference}:v1"))?.run()?;
        verify(round, "theirs.pub", &format!("{reference}:v1"))?.run_failing().map(drop)
    });
    Ok(())
}

fn verify(round: &Round, key: &str, reference: &str) -> anyhow::Result<Program> {
    let verify = ["verify", "--key", key, "--insecure-ignore-tlog=true", "--allow-http-registry", reference];
    Ok(cosign(round)?.args(verify))
}

/// How many referrers the registry lists; no fallback tag may stand in for the API.
fn referrers(round: &Round, digest: &str) -> anyhow::Result<usize> {
    let answer = round.target.send(&Request::get(format!("/v2/{}/referrers/{digest}", round.repository("signed"))))?;
    let index = answer.expect(200).context("referrers")?.json()?;
    Ok(index["manifests"].as_array().context("no manifests")?.len())
}

fn cosign(round: &Round) -> anyhow::Result<Program> {
    Ok(round.program("cosign")?.env("COSIGN_PASSWORD", ""))
}
