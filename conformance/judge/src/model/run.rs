//! Episodes: groups of repositories driven in parallel, with crashes, collections and comparisons in between.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness::random::Random;

use crate::model::generate::Generator;
use crate::model::group::{Flow, Group};
use crate::model::judge::Disagreement;
use crate::model::op::Op;
use crate::model::place::Place;
use crate::model::script::{Script, Step};

/// Number of repositories of one group.
const REPOSITORIES: usize = 3;

/// Steps of a group between comparisons, without and with kills.
const BATCH: usize = 400;
const SHORT_BATCH: usize = 120;

/// Longest wait before a kill, in microseconds.
const LONGEST_LIFE: u64 = 250_000;

/// The plan of an episode.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub operations: u64,
    pub clients: usize,
    /// True for kills, starts without the index, and collections.
    pub crashes: bool,
}

/// The counts of an episode.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub operations: u64,
    pub requests: u64,
    pub kills: u64,
    pub collections: u64,
    pub rebuilds: u64,
}

/// The outcome of an episode.
#[derive(Debug)]
pub enum Ending {
    Agreed(Tally),
    Disagreed(Script, Disagreement),
}

struct Client {
    group: Group,
    generator: Generator,
}

/// Runs one episode on a fresh registry.
pub fn episode(place: &mut Place, plan: &Plan) -> anyhow::Result<Ending> {
    let mut random = Random::new(plan.seed);
    let prefix = place.fresh()?;
    let mut clients = clients(place, plan, &prefix, &mut random)?;
    let mut tally = Tally::default();
    while tally.operations < plan.operations {
        let crash = plan.crashes && random.chance(30);
        let steps = if plan.crashes { SHORT_BATCH } else { BATCH };
        let life = crash.then(|| random.next() % LONGEST_LIFE);
        let (operations, mut verdict) = batch(place, &mut clients, steps, life)?;
        tally.operations += operations;
        if crash && verdict.is_none() {
            tally.kills += 1;
            place.start()?;
            verdict = each(&mut clients, Group::recover);
        }
        if plan.crashes && verdict.is_none() {
            verdict = between(place, &mut clients, &mut random, &mut tally)?;
        }
        // Recovery already compares, and short batches need no comparison each.
        let due = !plan.crashes || random.chance(25) || tally.operations >= plan.operations;
        let verdict = verdict.or_else(|| if due { each(&mut clients, Group::compare) } else { None });
        if let Some((at, disagreement)) = verdict {
            return Ok(Ending::Disagreed(script(&clients[at].group, plan, &prefix), disagreement));
        }
    }
    tally.requests = clients.iter().map(|client| client.group.requests).sum();
    Ok(Ending::Agreed(tally))
}

fn clients(place: &Place, plan: &Plan, prefix: &str, random: &mut Random) -> anyhow::Result<Vec<Client>> {
    let name = |group: usize, i: usize| format!("{prefix}{}{group}", ["a/", "manifests/", "c-"][i]);
    let all: Vec<Vec<String>> =
        (0..plan.clients).map(|group| (0..REPOSITORIES).map(|i| name(group, i)).collect()).collect();
    let target = place.target()?;
    let make = |(at, repos): (usize, &Vec<String>)| {
        let foreign = all.iter().enumerate().filter(|(other, _)| *other != at).flat_map(|(_, names)| names.clone());
        let generator = Generator::new(random.fork(), at, repos.clone(), foreign.collect());
        Client { group: Group::new(target.clone(), repos.clone(), !place.is_own()), generator }
    };
    Ok(all.iter().enumerate().map(make).collect())
}

/// Runs all clients at the same time, each in its own repositories. After `life` microseconds the server is killed.
fn batch(
    place: &mut Place,
    clients: &mut [Client],
    steps: usize,
    life: Option<u64>,
) -> anyhow::Result<(u64, Option<(usize, Disagreement)>)> {
    let dying = AtomicBool::new(false);
    let (done, killed) = std::thread::scope(|scope| {
        let dying = &dying;
        let workers: Vec<_> =
            clients.iter_mut().map(|client| scope.spawn(move || work(client, steps, dying))).collect();
        let killed = match life {
            None => Ok(()),
            Some(life) => {
                std::thread::sleep(Duration::from_micros(life));
                dying.store(true, Ordering::SeqCst);
                place.kill()
            }
        };
        let done: Vec<_> = workers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        (done, killed)
    });
    killed?;
    let mut operations = 0;
    let mut verdict = None;
    for (at, result) in done.into_iter().enumerate() {
        let (count, result) = result.map_err(|_| anyhow::anyhow!("a client panicked"))?;
        operations += count;
        verdict = verdict.or(result.err().map(|disagreement| (at, disagreement)));
    }
    Ok((operations, verdict))
}

fn work(client: &mut Client, steps: usize, dying: &AtomicBool) -> (u64, Result<(), Disagreement>) {
    let mut count = 0;
    for _ in 0..steps {
        let ops = some_ops(client);
        count += ops.len() as u64;
        match client.group.send(ops, &|| dying.load(Ordering::SeqCst)) {
            Ok(Flow::Answered) => {}
            Ok(Flow::Cut) => return (count, Ok(())),
            Err(disagreement) => return (count, Err(disagreement)),
        }
    }
    (count, Ok(()))
}

/// One operation, or sometimes several at once in one repository.
fn some_ops(client: &mut Client) -> Vec<Op> {
    let Client { group, generator } = client;
    let state = group.judge.state();
    // Two requests to one session at once are a matter of own policy.
    if state.others || group.judge.count() > 1 || !generator.random.chance(6) {
        return vec![generator.next(state)];
    }
    let repo = generator.random.pick(&group.repos).clone();
    let count = 2 + generator.random.below(3);
    (0..count).map(|_| generator.next_in(state, &repo)).collect()
}

/// Runs a collection or a restart, or neither.
fn between(
    place: &mut Place,
    clients: &mut [Client],
    random: &mut Random,
    tally: &mut Tally,
) -> anyhow::Result<Option<(usize, Disagreement)>> {
    let step = match random.below(10) {
        0 => Step::Collect { stopped: true },
        1 | 2 => Step::Collect { stopped: false },
        3 => Step::Restart { without_index: true },
        _ => return Ok(None),
    };
    for client in clients.iter_mut() {
        client.group.history.push(step.clone());
    }
    let Step::Collect { stopped } = step else {
        tally.rebuilds += 1;
        place.restart(true)?;
        return Ok(each(clients, Group::recover));
    };
    tally.collections += 1;
    place.collect(stopped)?;
    for client in clients.iter_mut() {
        client.group.judge.collected();
    }
    Ok(each(clients, if stopped { Group::recover } else { Group::compare }))
}

fn each(clients: &mut [Client], act: fn(&mut Group) -> Result<(), Disagreement>) -> Option<(usize, Disagreement)> {
    clients.iter_mut().enumerate().find_map(|(at, client)| act(&mut client.group).err().map(|error| (at, error)))
}

fn script(group: &Group, plan: &Plan, prefix: &str) -> Script {
    let whole = Script {
        about: format!("seed {}", plan.seed),
        repositories: group.repos.clone(),
        steps: group.history.clone(),
    };
    whole.without(prefix)
}
