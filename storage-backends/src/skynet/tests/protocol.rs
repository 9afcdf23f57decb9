//! What is sent, and in which order.

use std::sync::Arc;

use super::{backend, break_off, portal, put};
use crate::backend::testing::{Watched, sample};
use crate::backend::{
    Backend as _, BackendError, BytesSource, Content, Resume as _, ResumeInMemory, Source as _, UNIT,
};
use crate::digest::Algorithm;
use crate::skynet::profile::Profile;
use crate::skynet::testing::{Route, TestPortal, Trouble};
use crate::skynet::{Access, Secret};

const LARGE: u64 = 5 * UNIT + 1000;

#[tokio::test]
async fn small_content_is_one_question_and_one_request() {
    let test = TestPortal::start(Profile::DEFAULT).await;
    let source = sample(1000, 1);
    let locator = put(&portal(&test), &source).await.unwrap();
    let name = format!("sha256-{}", source.content().digest().encoded());
    let expected = [format!("HEAD /{}", locator.address), format!("POST /skynet/skyfile?filename={name}")];
    assert_eq!(test.requests(), expected);
    assert_eq!(locator.endpoints, [test.config().url.to_string()]);
    put(&portal(&test), &source).await.unwrap();
    // What is found is made to stay.
    assert_eq!(test.requests()[2..], [expected[0].clone(), format!("POST /skynet/pin/{}", locator.address)]);
}

#[tokio::test]
async fn the_recorded_skylinks_of_real_skyd_come_out() {
    // First n bytes of SHA-256(ASCII decimal n) repeated.
    let vectors = [
        (0, "AAD2E1BSqhb-sofNgWEyFoZ8tOZ6S-v2Knd62b5RsqpfOg"),
        (1024, "AABVgSG2Kiq2eCw9J5J79RI3Y6mxjbfZAavEK-6_gMHONA"),
        (102_400, "jABRRYVY0o26TnXq_u5R4azOMUWRLV3sK3OdYWg4qaCTRA"),
        (5_242_880, "AABIcFVAsC5P3wDC1GDsVHjIlP-dCfj3BbTTwrzMoLMdQg"),
        (10_485_760, "AADMe5DLWKS-jDVrU_g6s1NvB6QGFBcT7V_3tlU_ykQpVA"),
    ];
    let test = TestPortal::start(Profile::DEFAULT).await;
    for (length, skylink) in vectors {
        let seed = crate::digest::Digest::of(Algorithm::Sha256, length.to_string().as_bytes());
        let seed = data_encoding::HEXLOWER.decode(seed.encoded().as_bytes()).unwrap();
        let bytes: Vec<u8> = seed.into_iter().cycle().take(length).collect();
        let mut roots = crate::skynet::canonical::UnitRoots::new(crate::skynet::profile::SectorSize::STANDARD);
        roots.update(&bytes);
        let source = BytesSource::new(Algorithm::Sha256, bytes.into()).with_unit_roots(roots.finish().into()).unwrap();
        assert_eq!(put(&portal(&test), &source).await.unwrap().address, skylink, "{length} bytes");
    }
}

#[tokio::test]
async fn large_content_goes_on_where_it_was_acknowledged_after_a_restart() {
    let test = TestPortal::start(Profile::DEFAULT).await;
    let source = sample(LARGE, 1);
    let resume = ResumeInMemory::default();
    test.at(Route::TusPatch, 0, Trouble::TakeOnly(3 * UNIT + 77));
    let error = portal(&test).put(Arc::new(source.clone()), &resume).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    let watched = Watched::new(source);
    let resume = ResumeInMemory::new(resume.last());
    portal(&test).put(Arc::new(watched.clone()), &resume).await.unwrap();
    assert_eq!(test.calls(Route::TusCreate), 1);
    assert_eq!(watched.taken(), LARGE - 3 * UNIT);
}

#[tokio::test]
async fn a_lost_session_is_begun_anew_with_a_token_of_its_own() {
    let test = TestPortal::start(Profile::DEFAULT).await;
    let source = sample(LARGE, 1);
    let resume = ResumeInMemory::default();
    break_off(&portal(&test), &source, 3 * UNIT, &resume).await;
    let before = resume.last();
    test.lose_uploads();
    portal(&test).put(Arc::new(source), &resume).await.unwrap();
    assert_eq!(test.calls(Route::TusCreate), 2);
    assert_ne!(before, resume.last());
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
        let bytes = crate::backend::testing::read(&backend, &source, &locator, 0..length).await.unwrap();
        assert!(bytes == source.read_all(), "{length} bytes");
    }
    let refused = put(&backend, &sample(UNIT, 1)).await;
    assert!(matches!(refused, Err(BackendError::TooLarge { .. })), "{refused:?}");
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
async fn without_roots_large_content_has_no_address() {
    let test = TestPortal::start(Profile::DEFAULT).await;
    let source = sample(LARGE, 1);
    let bare = Content::new(source.content().digest().clone(), LARGE).unwrap();
    let refused = put(&portal(&test), &BytesSource::claiming(bare, source.read_all())).await;
    assert!(matches!(refused, Err(BackendError::UnitRootsUnknown)));
    assert!(test.requests().is_empty());
}
