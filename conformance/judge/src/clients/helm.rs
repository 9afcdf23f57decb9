//! helm: pushes and pulls a chart.

use std::fs;

use harness::verify;

use super::round::{ROW, Round};

pub fn run(round: &Round) -> anyhow::Result<()> {
    round.row("push and pull a chart whose version has a +", ROW, || {
        let chart = round.folder("judged")?;
        fs::write(chart.join("Chart.yaml"), "apiVersion: v2\nname: judged\nversion: 1.2.3+build.4\n")?;
        fs::create_dir(chart.join("templates"))?;
        let template = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\n";
        fs::write(chart.join("templates/map.yaml"), template)?;
        round.program("helm")?.args(["package", "judged"]).run()?;
        let archive = "judged-1.2.3+build.4.tgz";
        let registry = format!("oci://{}", round.reference("charts"));
        round.program("helm")?.args(["push", archive, &registry]).args(round.plain("--plain-http")).run()?;
        // A tag cannot contain a plus sign, so helm writes an underscore.
        verify::registry_is_whole(&round.target, &round.repository("charts/judged"), "1.2.3_build.4")?;
        let into = round.folder("pulled")?;
        let source = format!("{registry}/judged");
        let pull = ["pull", "--version", "1.2.3+build.4", &source, "--destination"];
        round.program("helm")?.args(pull).arg(&into).args(round.plain("--plain-http")).run()?;
        verify::same_file(&round.path(archive), &into.join(archive))
    });
    Ok(())
}
