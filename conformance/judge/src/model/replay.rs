//! Runs a script on a fresh registry.

use std::time::Duration;

use crate::model::group::Group;
use crate::model::judge::{Disagreement, Exchange};
use crate::model::place::Place;
use crate::model::script::{Script, Step};

/// The first disagreement, with the number of its step.
#[derive(Clone, Debug)]
pub struct Found {
    pub step: usize,
    pub disagreement: Disagreement,
}

/// Runs all steps up to the first disagreement. An error means that the registry does not start.
pub fn replay(place: &mut Place, script: &Script) -> anyhow::Result<Option<Found>> {
    let prefix = place.fresh()?;
    let script = script.below(&prefix);
    let mut group = Group::new(place.target()?, script.repositories.clone(), !place.is_own());
    for (number, step) in script.steps.iter().enumerate() {
        let result = match step {
            Step::Do(op) => group.send(vec![op.clone()], &|| false).map(drop),
            Step::Together(ops) => group.send(ops.clone(), &|| false).map(drop),
            Step::Compare => group.compare(),
            Step::Crash { during, after_micros } => {
                for (lane, op) in during.iter().enumerate() {
                    let _ = group.wire.write(lane, op);
                }
                std::thread::sleep(Duration::from_micros(*after_micros));
                place.kill()?;
                let lost: Vec<_> = during.iter().map(|op| Exchange { op: op.clone(), response: None }).collect();
                place.start()?;
                group.judge.take_together(&lost).and_then(|()| group.recover())
            }
            Step::Restart { without_index } => {
                place.restart(*without_index)?;
                group.recover()
            }
            Step::Collect { stopped } => {
                place.collect(*stopped)?;
                group.judge.collected();
                if *stopped { group.recover() } else { group.compare() }
            }
        };
        if let Err(disagreement) = result {
            return Ok(Some(Found { step: number, disagreement }));
        }
    }
    Ok(None)
}
