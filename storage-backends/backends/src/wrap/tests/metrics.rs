//! The reports to an observer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;

use super::{faulty, put, unavailable};
use crate::testing::{read, sample};
use crate::wrap::{Call, Fault, Metrics, Observation, Observer, Outcome};
use crate::{Backend as _, Source as _, UNIT};

#[derive(Debug, Default)]
struct Notes(Mutex<Vec<Observation>>);

impl Observer for Notes {
    fn ended(&self, observation: Observation) {
        self.0.lock().unwrap().push(observation);
    }
}

impl Notes {
    fn take(&self) -> Vec<Observation> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn last(&self) -> (Call, Outcome, u64) {
        let all = self.take();
        assert_eq!(all.len(), 1, "{all:?}");
        (all[0].call, all[0].outcome, all[0].bytes)
    }
}

#[tokio::test(start_paused = true)]
async fn every_call_is_told_once_with_its_end_and_bytes() {
    let (faults, notes) = (faulty(), Arc::new(Notes::default()));
    let metrics = Metrics::new(Arc::new(faults.clone()), Arc::clone(&notes) as Arc<dyn Observer>);
    let source = sample(2 * UNIT, 1);
    let locator = put(&metrics, &source).await;
    assert_eq!(notes.last(), (Call::Put, Outcome::Done, 2 * UNIT));
    put(&metrics, &source).await;
    assert_eq!(notes.last(), (Call::Put, Outcome::Done, 0));
    read(&metrics, &source, &locator, 5..UNIT).await.unwrap();
    assert_eq!(notes.last(), (Call::Get, Outcome::Done, UNIT - 5));
    metrics.stat(source.content(), &locator).await.unwrap();
    assert_eq!(notes.last(), (Call::Stat, Outcome::Done, 0));

    faults.at(Call::Get, 0, Fault::Fail(unavailable));
    assert!(read(&metrics, &source, &locator, 0..10).await.is_err());
    assert_eq!(notes.last(), (Call::Get, Outcome::Failed("unavailable"), 0));
    faults.at(Call::Get, 0, Fault::BreakAfter(7, unavailable));
    assert!(read(&metrics, &source, &locator, 0..10).await.is_err());
    assert_eq!(notes.last(), (Call::Get, Outcome::Failed("unavailable"), 7));

    metrics.delete(source.content(), &locator).await.unwrap();
    assert_eq!(notes.last(), (Call::Delete, Outcome::Done, 0));
    metrics.stat(source.content(), &locator).await.unwrap_err();
    assert_eq!(notes.last(), (Call::Stat, Outcome::Failed("not_found"), 0));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waited_for_is_told_too() {
    let (faults, notes) = (faulty(), Arc::new(Notes::default()));
    let metrics = Metrics::new(Arc::new(faults.clone()), Arc::clone(&notes) as Arc<dyn Observer>);
    let source = sample(2 * UNIT, 1);
    let locator = put(&metrics, &source).await;
    notes.take();
    let mut stream = metrics.get(source.content(), &locator, 0..2 * UNIT).await.unwrap();
    let first = stream.next().await.unwrap().unwrap().len() as u64;
    assert!(notes.take().is_empty(), "it has not ended yet");
    drop(stream);
    assert_eq!(notes.last(), (Call::Get, Outcome::Dropped, first));
    let mut stream = metrics.get(source.content(), &locator, 0..10).await.unwrap();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    assert_eq!(notes.last(), (Call::Get, Outcome::Done, 10), "it had all of it");
    faults.at(Call::Stat, 0, Fault::Stall);
    let waited = Duration::from_secs(3);
    tokio::time::timeout(waited, metrics.stat(source.content(), &locator)).await.unwrap_err();
    let told = notes.take();
    assert_eq!((told[0].call, told[0].outcome, told[0].took), (Call::Stat, Outcome::Dropped, waited));
}
