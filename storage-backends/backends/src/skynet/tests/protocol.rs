//! The requests that are sent, and their order.

use std::sync::Arc;

use content_store::digest::Algorithm;
use skynet_formats::profile::Profile;

use super::{backend, break_off, portal, put, sample};
use crate::skynet::testing::{Route, TestPortal, Trouble};
use crate::skynet::{Access, Portal, Secret, SectorRoots, SkynetConfig, skynet_backend};
use crate::testing::Watched;
use crate::{
    Backend as _, BackendError, BytesSource, Content, Locator, Progress as _, ProgressInMemory, Put, Source as _, UNIT,
};

const LARGE: u64 = 5 * UNIT + 1000;

#[tokio::test]
async fn small_content_is_one_question_and_one_request() {
    let test = TestPortal::start(Profile::DEFAULT).await;
    let source = sample(1000, 1);
    let locator = put(&portal(&test), &source).await.unwrap();
    let name = format!("sha256-{}", source.content().digest().encoded());
    let expected = [format!("HEAD /{}", locator.address), format!("POST /skynet/skyfile?filename={name}")];
    assert_eq!(test.requests(), expected);
    assert_eq!(locator.endpoints, [test.identity()]);
    put(&portal(&test), &source).await.unwrap();
    // Content found there is pinned.
    assert_eq!(test.requests()[2..], [expected[0].clone(), format!("POST /skynet/pin/{}", locator.address)]);
}

/// First n bytes of SHA-256(ASCII decimal n) repeated.
fn recorded_content(length: usize) -> BytesSource {
    let seed = content_store::digest::Digest::of(Algorithm::Sha256, length.to_string().as_bytes());
    let seed = data_encoding::HEXLOWER.decode(seed.encoded().as_bytes()).unwrap();
    let bytes: Vec<u8> = seed.into_iter().cycle().take(length).collect();
    let roots = Arc::new(SectorRoots::of_bytes(&bytes));
    BytesSource::new(Algorithm::Sha256, bytes.into()).with_proof(roots).unwrap()
}

#[tokio::test]
async fn the_recorded_skylinks_of_real_skyd_come_out() {
    let vectors = [
        (0, "AAD2E1BSqhb-sofNgWEyFoZ8tOZ6S-v2Knd62b5RsqpfOg"),
        (1024, "AABVgSG2Kiq2eCw9J5J79RI3Y6mxjbfZAavEK-6_gMHONA"),
        (102_400, "jABRRYVY0o26TnXq_u5R4azOMUWRLV3sK3OdYWg4qaCTRA"),
        (5_242_880, "AABIcFVAsC5P3wDC1GDsVHjIlP-dCfj3BbTTwrzMoLMdQg"),
        (10_485_760, "AADMe5DLWKS-jDVrU_g6s1NvB6QGFBcT7V_3tlU_ykQpVA"),
    ];
    let test = TestPortal::start(Profile::DEFAULT).await;
    for (length, skylink) in vectors {
        assert_eq!(put(&portal(&test), &recorded_content(length)).await.unwrap().address, skylink, "{length} bytes");
    }
}

/// Release skyd said these at dry runs, with its check for contracts with hosts taken out.
#[tokio::test]
async fn the_recorded_skylinks_of_release_skyd_come_out() {
    let vectors = [
        (0, "AAD2E1BSqhb-sofNgWEyFoZ8tOZ6S-v2Knd62b5RsqpfOg"),
        (102_400, "jABRRYVY0o26TnXq_u5R4azOMUWRLV3sK3OdYWg4qaCTRA"),
        (4_194_303, "AADty8VJo_30aDQYY6AvWTUvdEWWV8anLjtiyYgEWqP5nw"),
        (4_194_304, "AAAUA_fWeafJ2Eu4GwPIQ5RSc249yjT6MvicwmutPY1pkA"),
        (5_242_880, "AAByFj-xDBYig67tyZWzYdMKdEhB7aZB2xaHvSfqFUpVgA"),
        (10_485_760, "AACUJJVDPCFWTn9rl_3-m6Zp7nu__Ss2eZbTOOlDVlI-gQ"),
        (52_428_800, "AAC3WRfAW7oC-4Tw4SbDTo3PQ9rBr6kdCkVLcMvzP3SiiA"),
    ];
    let profile: Profile = "4MiB/10+20".parse().unwrap();
    let test = TestPortal::start(profile).await;
    let backend = backend(test.config(), profile);
    for (length, skylink) in vectors {
        assert_eq!(put(&backend, &recorded_content(length)).await.unwrap().address, skylink, "{length} bytes");
    }
}

#[tokio::test]
async fn large_content_goes_on_where_it_was_acknowledged_after_a_restart() {
    let test = TestPortal::start(Profile::DEFAULT).await;
    let source = sample(LARGE, 1);
    let resume = ProgressInMemory::default();
    test.at(Route::TusPatch, 0, Trouble::TakeOnly(3 * UNIT + 77));
    let error = portal(&test).put(Arc::new(source.clone()), Put::IfAbsent, &resume).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    let watched = Watched::new(source);
    let resume = ProgressInMemory::new(resume.last());
    portal(&test).put(Arc::new(watched.clone()), Put::IfAbsent, &resume).await.unwrap();
    assert_eq!(test.calls(Route::TusCreate), 1);
    assert_eq!(watched.taken(), LARGE - 3 * UNIT);
}

#[tokio::test]
async fn a_lost_session_is_begun_anew_with_a_token_of_its_own() {
    let test = TestPortal::start(Profile::DEFAULT).await;
    let source = sample(LARGE, 1);
    let resume = ProgressInMemory::default();
    break_off(&portal(&test), &source, 3 * UNIT, &resume).await;
    let before = resume.last();
    test.lose_uploads();
    portal(&test).put(Arc::new(source), Put::IfAbsent, &resume).await.unwrap();
    assert_eq!(test.calls(Route::TusCreate), 2);
    assert_ne!(before, resume.last());
}

/// The portal knew its upload as finished, and the content counted as stored, although it was gone.
#[tokio::test]
async fn a_finished_upload_whose_content_is_gone_is_begun_anew() {
    let test = TestPortal::start(Profile::DEFAULT).await;
    let source = sample(LARGE, 1);
    let resume = ProgressInMemory::default();
    portal(&test).put(Arc::new(source.clone()), Put::IfAbsent, &resume).await.unwrap();
    test.always(Route::Head, Trouble::Answer(404, "application/json", "{}"));
    let watched = Watched::new(source);
    portal(&test).put(Arc::new(watched.clone()), Put::IfAbsent, &resume).await.unwrap();
    assert_eq!((test.calls(Route::TusCreate), watched.taken()), (2, LARGE));
}

#[tokio::test]
async fn a_session_lost_in_the_middle_costs_no_failure() {
    let test = TestPortal::start(Profile::DEFAULT).await;
    test.at(Route::TusPatch, 0, Trouble::Answer(404, "application/json", r#"{"message":"upload not found"}"#));
    put(&portal(&test), &sample(LARGE, 1)).await.unwrap();
    assert_eq!(test.calls(Route::TusCreate), 2);
    // Not for ever.
    test.always(Route::TusPatch, Trouble::Answer(404, "application/json", r#"{"message":"upload not found"}"#));
    assert!(matches!(put(&portal(&test), &sample(LARGE, 2)).await, Err(BackendError::NotFound)));
    assert_eq!(test.calls(Route::TusCreate), 4);
}

/// Seen at skyd's testing build on a busy machine, which forgets uploads after ten seconds.
#[tokio::test]
async fn an_upload_forgotten_while_a_part_is_taken_is_sent_anew_by_chunks() {
    let profile: Profile = "4KiB/3+2".parse().unwrap();
    let test = TestPortal::start(profile).await;
    let source = sample(5 * profile.chunk_size() + 1, 1);
    test.at(Route::TusPatch, 0, Trouble::Forget);
    put(&backend(test.config(), profile), &source).await.unwrap();
    assert_eq!((test.calls(Route::TusCreate), test.calls(Route::TusPatch)), (2, 1 + 6));
}

#[tokio::test]
async fn a_part_of_which_nothing_was_kept_is_no_misbehaviour() {
    let test = TestPortal::start(Profile::DEFAULT).await;
    let (source, resume) = (sample(LARGE, 1), ProgressInMemory::default());
    test.at(Route::TusPatch, 0, Trouble::TakeNothing);
    let error = portal(&test).put(Arc::new(source.clone()), Put::IfAbsent, &resume).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("still at 0 bytes"), "{error}");
    portal(&test).put(Arc::new(source), Put::IfAbsent, &resume).await.unwrap();
    assert_eq!(test.calls(Route::TusCreate), 1, "it goes on with the same upload");
}

#[tokio::test]
async fn an_upload_whose_end_was_not_heard_costs_a_question_and_a_pin() {
    let test = TestPortal::start(Profile::DEFAULT).await;
    let source = sample(LARGE, 1);
    test.at(Route::TusPatch, 0, Trouble::AnswerAfterwards(502));
    put(&portal(&test), &source).await.unwrap_err();
    let asked = test.requests().len();
    put(&portal(&test), &source).await.unwrap();
    assert_eq!(test.requests().len(), asked + 2, "{:?}", test.requests());
}

#[tokio::test]
async fn a_bare_skyd_gets_a_path_of_its_own_for_each_attempt_and_never_force() {
    let test = TestPortal::start_with(Profile::DEFAULT, Access::Skyd(Secret::new("password"))).await;
    let source = sample(1000, 1);
    test.at(Route::Upload, 0, Trouble::AnswerAfterwards(500));
    // As if nothing of the first attempt were there.
    test.at(Route::Head, 1, Trouble::Answer(404, "application/json", "{}"));
    put(&portal(&test), &source).await.unwrap_err();
    put(&portal(&test), &source).await.unwrap();
    let uploads: Vec<_> = test.requests().into_iter().filter(|line| line.starts_with("POST")).collect();
    assert_eq!(uploads.len(), 2);
    assert!(uploads[0] != uploads[1] && uploads.iter().all(|line| !line.contains("force")), "{uploads:?}");
}

#[tokio::test]
async fn keys_and_cookies_are_sent_and_their_absence_is_permanent() {
    for access in [Access::ApiKey(Secret::new("key")), Access::Cookie(Secret::new("jwt"))] {
        let test = TestPortal::start_with(Profile::DEFAULT, access).await;
        put(&portal(&test), &sample(10, 1)).await.unwrap();
        let mut stranger = test.config();
        stranger.access = Access::Open;
        let refused = put(&backend(stranger, Profile::DEFAULT), &sample(10, 2)).await;
        assert!(matches!(refused, Err(BackendError::Refused { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn small_sectors_are_laid_out_as_their_profile_says() {
    let profile: Profile = "4KiB/1+4".parse().unwrap();
    let test = TestPortal::start(profile).await;
    let backend = backend(test.config(), profile);
    backend.check().await.unwrap();
    for length in [0, 1000, 4096, 100_000, 300_000] {
        let source = sample(length, length);
        let locator = put(&backend, &source).await.unwrap();
        assert_eq!(locator.profile, "4KiB/1+4");
        let bytes = crate::testing::read(&backend, &source, &locator, 0..length).await.unwrap();
        assert!(bytes == source.read_all(), "{length} bytes");
    }
    let refused = put(&backend, &sample(UNIT, 1)).await;
    assert!(matches!(refused, Err(BackendError::TooLarge { .. })), "{refused:?}");
}

#[tokio::test]
async fn content_of_several_data_pieces_is_sent_in_whole_chunks() {
    let profile: Profile = "4KiB/3+2".parse().unwrap();
    let test = TestPortal::start(profile).await;
    let backend = backend(test.config(), profile);
    backend.check().await.unwrap();
    let chunk = profile.chunk_size();
    for length in [0, 1000, 4096, chunk - 1, chunk, chunk + 1, 20 * chunk + 77] {
        let source = sample(length, length);
        let locator = put(&backend, &source).await.unwrap();
        assert_eq!(locator.profile, "4KiB/3+2");
        let bytes = crate::testing::read(&backend, &source, &locator, 0..length).await.unwrap();
        assert!(bytes == source.read_all(), "{length} bytes");
    }
    let refused = put(&backend, &sample(24 * chunk, 1)).await;
    assert!(matches!(refused, Err(BackendError::TooLarge { .. })), "{refused:?}");
}

/// The portal loses the end of the second chunk, as skyd does; the first is not sent again.
#[tokio::test]
async fn an_upload_of_ten_data_pieces_goes_on_at_a_chunk() {
    let profile: Profile = "4MiB/10+20".parse().unwrap();
    let (test, chunk) = (TestPortal::start(profile).await, profile.chunk_size());
    let length = chunk + 3 * UNIT + 1000;
    let source = sample(length, 1);
    let first = backend(test.config(), profile);
    let resume = ProgressInMemory::default();
    test.at(Route::TusPatch, 1, Trouble::TakeOnly(UNIT + 5));
    first.put(Arc::new(source.clone()), Put::IfAbsent, &resume).await.unwrap_err();
    // This instance caches computed roots: only unacknowledged bytes are read.
    let watched = Watched::new(source.clone());
    let locator = first.put(Arc::new(watched.clone()), Put::IfAbsent, &resume).await.unwrap();
    assert_eq!((test.calls(Route::TusCreate), test.calls(Route::TusPatch)), (1, 3));
    assert_eq!(watched.taken(), length - chunk);
    assert!(watched.reads().iter().all(|read| read.start >= chunk), "{:?}", watched.reads());
    // Another one computes the address, and finds it there.
    let watched = Watched::new(source.clone());
    let again = put_watched(&backend(test.config(), profile), &watched).await;
    assert!(again.same_place(&locator));
    assert_eq!((test.calls(Route::TusPatch), watched.taken()), (3, length));
}

async fn put_watched(backend: &Portal, source: &Watched) -> Locator {
    backend.put(Arc::new(source.clone()), Put::IfAbsent, &ProgressInMemory::default()).await.unwrap()
}

#[tokio::test]
async fn several_portals_of_several_data_pieces_cost_one_computation() {
    let profile: Profile = "64KiB/3+2".parse().unwrap();
    let portals = [TestPortal::start(profile).await, TestPortal::start(profile).await];
    let configs = portals.iter().map(TestPortal::config).collect();
    let config = SkynetConfig { profile, copies: 2, ..SkynetConfig::new(configs) };
    let backend = skynet_backend(&config).unwrap();
    let watched = Watched::new(sample(LARGE, 1));
    let located = backend.locate(Arc::new(watched.clone())).await.unwrap().unwrap();
    let placed = backend.put(Arc::new(watched.clone()), Put::IfAbsent, &ProgressInMemory::default()).await.unwrap();
    assert!(located.same_place(&placed) && portals.iter().all(|portal| portal.has(&placed.address)));
    assert_eq!(watched.taken(), 3 * LARGE, "once to compute, once for each copy");
}

#[tokio::test]
async fn another_profile_stops_the_start() {
    let test = TestPortal::start("4KiB/1+4".parse().unwrap()).await;
    let error = portal(&test).check().await.unwrap_err();
    assert!(matches!(error, BackendError::Unsuitable { .. }) && error.to_string().contains("4KiB/1+4"), "{error}");
    test.always(Route::Stats, Trouble::Answer(200, "application/json", r#"{"uptime":1}"#));
    portal(&test).check().await.unwrap();
}

#[tokio::test]
async fn without_roots_the_address_takes_one_pass_over_the_content() {
    let test = TestPortal::start(Profile::DEFAULT).await;
    let source = recorded_content(5_242_880);
    let bare = Content::new(source.content().digest().clone(), source.content().length()).unwrap();
    let watched = Watched::new(BytesSource::claiming(bare, source.read_all()));
    let portal = portal(&test);
    let located = portal.locate(Arc::new(watched.clone())).await.unwrap().unwrap();
    assert_eq!(located.address, "AABIcFVAsC5P3wDC1GDsVHjIlP-dCfj3BbTTwrzMoLMdQg");
    assert_eq!(watched.taken(), 5_242_880);
    portal.locate(Arc::new(watched.clone())).await.unwrap();
    assert_eq!(watched.taken(), 5_242_880, "it is remembered");
    assert!(test.requests().is_empty());
}

/// A HEAD succeeds with the first sector alone, so that a portal that lost another one seemed to have the content.
#[tokio::test]
async fn content_is_there_only_if_the_portal_has_all_of_it_and_keeps_it() {
    let test = TestPortal::start(Profile::DEFAULT).await;
    let (portal, source) = (portal(&test), sample(LARGE, 1));
    let locator = put(&portal, &source).await.unwrap();
    let stat = async || portal.stat(source.content(), &locator).await;
    assert_eq!(stat().await.unwrap().endpoints, [test.identity()]);
    test.at(Route::Health, 0, Trouble::LostUnit);
    assert!(matches!(stat().await, Err(BackendError::NotFound)), "a unit is lost");
    portal.delete(source.content(), &locator).await.unwrap();
    assert!(matches!(stat().await, Err(BackendError::NotFound)), "it will go");
    test.at(Route::Health, 0, Trouble::Answer(200, "text/html", "<html>"));
    assert!(stat().await.unwrap_err().is_retryable(), "a page for any path is no answer");
}
