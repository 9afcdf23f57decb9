//! Delta debugging: repeatedly removes steps from a script that still ends in a disagreement.

use std::time::{Duration, Instant};

use crate::model::place::Place;
use crate::model::replay::{Found, replay};
use crate::model::script::{Script, Step};

/// Longest time to shrink one disagreement, and number of attempts with a script that is not deterministic.
const LIMIT: Duration = Duration::from_mins(3);
const TRIES: usize = 4;

/// A script that ends in a disagreement.
#[derive(Clone, Debug)]
pub struct Shrunk {
    pub script: Script,
    pub found: Found,
}

/// Shortens the script. `None` if it runs alone, on a fresh registry, without a disagreement.
pub fn shrink(place: &mut Place, script: &Script) -> anyhow::Result<Option<Shrunk>> {
    shrink_by(script, &mut |script| attempt(place, script))
}

/// Runs a script. `Some` if it ends in a disagreement.
type Attempt<'a> = dyn FnMut(&Script) -> anyhow::Result<Option<Found>> + 'a;

fn shrink_by(script: &Script, attempt: &mut Attempt<'_>) -> anyhow::Result<Option<Shrunk>> {
    let deadline = Instant::now() + LIMIT;
    let Some(found) = attempt(script)? else { return Ok(None) };
    let mut best = cut(script, found);
    let mut size = best.script.steps.len().div_ceil(2);
    while Instant::now() < deadline {
        let before = best.script.steps.len();
        best = pass(attempt, best, size, deadline)?;
        // The smallest pass is repeated while it helps.
        if size <= 1 && best.script.steps.len() == before {
            break;
        }
        size = (size / 2).max(1);
    }
    Ok(Some(best))
}

/// Tries to remove each run of `size` steps, from the end.
fn pass(attempt: &mut Attempt<'_>, mut best: Shrunk, size: usize, deadline: Instant) -> anyhow::Result<Shrunk> {
    let mut end = best.script.steps.len();
    while end > 0 && Instant::now() < deadline {
        let start = end.saturating_sub(size);
        let mut shorter = best.script.clone();
        shorter.steps.drain(start..end);
        if !shorter.steps.is_empty()
            && let Some(found) = attempt(&shorter)?
        {
            best = cut(&shorter, found);
        }
        end = start.min(best.script.steps.len());
    }
    Ok(best)
}

fn attempt(place: &mut Place, script: &Script) -> anyhow::Result<Option<Found>> {
    let chancy = script.steps.iter().any(|step| matches!(step, Step::Together(_) | Step::Crash { .. }));
    for _ in 0..if chancy { TRIES } else { 1 } {
        if let Some(found) = replay(place, script)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Removes the steps after the disagreement.
fn cut(script: &Script, found: Found) -> Shrunk {
    let mut script = script.clone();
    script.steps.truncate(found.step + 1);
    Shrunk { script, found }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::judge::Disagreement;
    use crate::model::op::Op;

    fn step(slot: u32) -> Step {
        Step::Do(Op::UploadStatus { repo: "a".to_owned(), slot })
    }

    #[test]
    fn only_the_steps_that_matter_stay() {
        let script =
            Script { about: String::new(), repositories: vec!["a".to_owned()], steps: (0..500).map(step).collect() };
        // Fails as soon as steps 17 and 250 have both run.
        let mut runs = 0;
        let shrunk = shrink_by(&script, &mut |script| {
            runs += 1;
            let mut wanted = vec![step(17), step(250)];
            Ok(script
                .steps
                .iter()
                .position(|step| {
                    wanted.retain(|wanted| wanted != step);
                    wanted.is_empty()
                })
                .map(|step| Found { step, disagreement: Disagreement { what: String::new(), why: String::new() } }))
        });
        assert_eq!(shrunk.unwrap().unwrap().script.steps, [step(17), step(250)]);
        assert!(runs < 100, "{runs} runs");
    }
}
