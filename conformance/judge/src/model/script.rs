//! A recorded run that can be repeated.

use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::model::op::Op;

/// One step for one group of repositories.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// One answered request.
    Do(Op),
    /// Requests at the same time.
    Together(Vec<Op>),
    /// `kill -9` while these requests are in flight, that long after they were sent; then a start.
    Crash { during: Vec<Op>, after_micros: u64 },
    /// `kill -9` and a start, with or without the index directory.
    Restart { without_index: bool },
    /// A collection without grace, by the node itself or while it is stopped.
    Collect { stopped: bool },
    /// A comparison of the whole visible state.
    Compare,
}

/// A run of one group on a fresh registry.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Script {
    /// A description of the run, for readers.
    pub about: String,
    /// The repositories to check.
    pub repositories: Vec<String>,
    pub steps: Vec<Step>,
}

impl Script {
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read(path).with_context(|| path.display().to_string())?;
        serde_json::from_slice(&text).with_context(|| path.display().to_string())
    }

    /// Writes the script, one step per line.
    pub fn save(&self, path: &Path) -> anyhow::Result<()> {
        let steps: Vec<String> = self.steps.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
        let text = format!(
            "{{\"about\": {},\n\"repositories\": {},\n\"steps\": [\n{}\n]}}\n",
            serde_json::to_string(&self.about)?,
            serde_json::to_string(&self.repositories)?,
            steps.join(",\n")
        );
        std::fs::write(path, text).with_context(|| path.display().to_string())
    }

    /// The script with prefixed repository names, so that one registry can run it many times.
    pub fn below(&self, prefix: &str) -> Self {
        self.renamed(&|name| format!("{prefix}{name}"))
    }

    /// The script without the prefix.
    pub fn without(&self, prefix: &str) -> Self {
        self.renamed(&|name| name.strip_prefix(prefix).unwrap_or(name).to_owned())
    }

    fn renamed(&self, change: &dyn Fn(&str) -> String) -> Self {
        let mut script = self.clone();
        for name in &mut script.repositories {
            *name = change(name);
        }
        for step in &mut script.steps {
            match step {
                Step::Do(op) => op.rename(change),
                Step::Together(ops) | Step::Crash { during: ops, .. } => {
                    for op in ops {
                        op.rename(change);
                    }
                }
                Step::Restart { .. } | Step::Collect { .. } | Step::Compare => {}
            }
        }
        script
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_survives_a_file() {
        let op = Op::Tags { repo: "a".to_owned(), n: Some("1".to_owned()), last: None };
        let steps = vec![
            Step::Do(op.clone()),
            Step::Crash { during: vec![op], after_micros: 5 },
            Step::Collect { stopped: true },
            Step::Compare,
        ];
        let script = Script { about: "x \"y\"".to_owned(), repositories: vec!["a".to_owned()], steps };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.json");
        script.save(&path).unwrap();
        let back = Script::load(&path).unwrap();
        assert_eq!((back.about.as_str(), &back.steps), ("x \"y\"", &script.steps));
        let Step::Do(Op::Tags { repo, .. }) = &back.below("p/").steps[0] else { panic!("another step") };
        assert_eq!(repo, "p/a");
    }
}
