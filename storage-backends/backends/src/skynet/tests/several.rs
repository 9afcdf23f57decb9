//! Several portals as one backend, with all wrappers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use skynet_formats::profile::Profile;

use super::put;
use crate::skynet::testing::{Route, TestPortal, Trouble};
use crate::skynet::{Deadlines, SkynetConfig, skynet_backend, skynet_backend_with};
use crate::testing::{read, sample};
use crate::wrap::{Call, Metrics, Observation, Observer, Outcome, RetryConfig};
use crate::{Backend, BackendError, EndpointState, Source as _, UNIT};

const LARGE: u64 = 2 * UNIT + 1000;

async fn three(copies: u32) -> ([TestPortal; 3], Arc<dyn Backend>) {
    let start = || TestPortal::start(Profile::DEFAULT);
    let portals = [start().await, start().await, start().await];
    let retry = RetryConfig { attempts: 3, first_pause: Duration::from_millis(1), ..RetryConfig::default() };
    let config = SkynetConfig {
        copies,
        retry,
        patience: Duration::from_millis(300),
        deadlines: Deadlines { idle: Duration::from_secs(2), ..super::PATIENT },
        ..SkynetConfig::new(portals.iter().map(TestPortal::config).collect())
    };
    let backend = skynet_backend(&config).unwrap();
    backend.check().await.unwrap();
    (portals, backend)
}

#[derive(Debug, Default)]
struct Notes(Mutex<Vec<(String, Outcome)>>);

#[derive(Debug)]
struct NotesOf(String, Arc<Notes>);

impl Observer for NotesOf {
    fn ended(&self, observation: Observation) {
        if observation.call == Call::Get {
            self.1.0.lock().unwrap().push((self.0.clone(), observation.outcome));
        }
    }
}

#[tokio::test]
async fn what_each_portal_does_can_be_counted() {
    let portals = [TestPortal::start(Profile::DEFAULT).await, TestPortal::start(Profile::DEFAULT).await];
    let urls = portals.each_ref().map(|portal| portal.config().url.to_string());
    let config = SkynetConfig { copies: 2, ..SkynetConfig::new(portals.iter().map(TestPortal::config).collect()) };
    let notes = Arc::new(Notes::default());
    let backend = skynet_backend_with(&config, |address, portal| {
        Arc::new(Metrics::new(portal, Arc::new(NotesOf(address.to_owned(), Arc::clone(&notes)))))
    });
    let (backend, source) = (backend.unwrap(), sample(1000, 1));
    let locator = put(&*backend, &source).await.unwrap();
    portals[0].always(Route::Get, Trouble::WrongByte(5));
    read(&*backend, &source, &locator, 0..1000).await.unwrap();
    let expected = [(urls[0].clone(), Outcome::Failed("corrupt")), (urls[1].clone(), Outcome::Done)];
    assert_eq!(*notes.0.lock().unwrap(), expected);
}

#[tokio::test]
async fn content_is_placed_on_k_of_n_and_says_where() {
    let (portals, backend) = three(2).await;
    portals[0].always(Route::Upload, Trouble::Answer(502, "text/html", "<html>"));
    let locator = put(&*backend, &sample(1000, 1)).await.unwrap();
    assert_eq!(portals.each_ref().map(|portal| portal.has(&locator.address)), [false, true, true]);
    let names: Vec<_> = portals[1..].iter().map(TestPortal::identity).collect();
    assert_eq!(locator.endpoints, names);
    let stat = backend.stat(sample(1000, 1).content(), &locator).await.unwrap();
    assert_eq!((stat.length, stat.endpoints), (1000, names));
}

#[tokio::test]
async fn one_that_computes_other_skylinks_is_not_used_again() {
    let (portals, backend) = three(1).await;
    portals[0].always(Route::Upload, Trouble::WrongSkylink);
    let locator = put(&*backend, &sample(1000, 1)).await.unwrap();
    assert!(portals[1].has(&locator.address));
    assert_eq!(backend.health().endpoints[0].state, EndpointState::Distrusted);
    let asked = portals[0].requests().len();
    put(&*backend, &sample(1000, 2)).await.unwrap();
    read(&*backend, &sample(1000, 1), &locator, 0..1000).await.unwrap();
    assert_eq!(portals[0].requests().len(), asked);
}

#[tokio::test]
async fn one_lies_one_is_gone_and_the_third_stalls_for_a_while() {
    let ([liar, gone, slow], backend) = three(3).await;
    let sources = [sample(1000, 1), sample(LARGE, 2), sample(LARGE, 3)];
    let mut locators = Vec::new();
    for source in &sources {
        locators.push(put(&*backend, source).await.unwrap());
    }
    liar.always(Route::Get, Trouble::WrongByte(500));
    drop(gone);
    for (source, locator) in sources.iter().zip(&locators) {
        let length = source.content().length();
        slow.at(Route::Get, 0, Trouble::StallAfter(length / 2));
        let bytes = tokio::time::timeout(Duration::from_mins(2), read(&*backend, source, locator, 0..length)).await;
        assert!(bytes.unwrap().unwrap() == source.read_all());
    }
    assert!(matches!(backend.health().endpoints[0].state, EndpointState::Resting(_)), "it gave wrong bytes");
}

#[tokio::test]
async fn with_all_of_them_gone_it_says_so_and_names_a_time() {
    let (portals, backend) = three(3).await;
    let source = sample(1000, 1);
    let locator = put(&*backend, &source).await.unwrap();
    drop(portals);
    tokio::task::yield_now().await;
    for _ in 0..6 {
        let error = read(&*backend, &source, &locator, 0..1000).await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
    }
    assert!(!backend.health().is_available());
    let wait = backend.health().available_in().unwrap();
    assert!(wait > Duration::ZERO && wait <= Duration::from_secs(10), "{wait:?}");
}

#[tokio::test]
async fn one_of_another_profile_stops_the_start() {
    let other = TestPortal::start("4KiB/1+4".parse().unwrap()).await;
    let sound = TestPortal::start(Profile::DEFAULT).await;
    let backend = skynet_backend(&SkynetConfig::new(vec![sound.config(), other.config()])).unwrap();
    assert!(matches!(backend.check().await, Err(BackendError::Unsuitable { .. })));
    let twice = SkynetConfig::new(vec![sound.config(), sound.config()]);
    assert!(matches!(skynet_backend(&twice), Err(BackendError::Unsuitable { .. })));
}
