//! cosign: a signature by key as a referrer, verified, and refused with another key.

use anyhow::ensure;
use harness::program::Program;
use harness::verify;

use super::round::{KIB, ROW, Round};

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
        cosign(round)?.args(sign).args(round.plain("--allow-http-registry")).arg(&signed).run()?;

        let listed = verify::referrers(&round.target, &round.repository("signed"), &image.digest)?;
        ensure!(listed == 1, "{listed} referrers after one signature");
        verified_by(round, "ours.pub", &format!("{reference}:v1"))?.run()?;
        verified_by(round, "theirs.pub", &format!("{reference}:v1"))?.run_failing().map(drop)
    });
    Ok(())
}

fn verified_by(round: &Round, key: &str, reference: &str) -> anyhow::Result<Program> {
    let verify = ["verify", "--key", key, "--insecure-ignore-tlog=true"];
    Ok(cosign(round)?.args(verify).args(round.plain("--allow-http-registry")).arg(reference))
}

fn cosign(round: &Round) -> anyhow::Result<Program> {
    Ok(round.program("cosign")?.env("COSIGN_PASSWORD", ""))
}
