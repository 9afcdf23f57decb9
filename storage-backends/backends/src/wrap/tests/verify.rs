//! Wrong, missing and superfluous bytes do not come out.

use std::sync::Arc;

use futures_util::StreamExt as _;

use super::{faulty, put};
use crate::testing::{read, sample};
use crate::wrap::{Call, Fault, Faults, Verify};
use crate::{Backend as _, BackendError, BytesSource, Content, MemoryBackend, Source as _, UNIT, UnitHashes};

const LARGE: u64 = 3 * UNIT + 1000;

fn verify(faults: &Faults) -> Verify {
    Verify::new(Arc::new(faults.clone()))
}

fn corrupt_at<T: std::fmt::Debug>(result: Result<T, BackendError>) -> (u64, u64) {
    match result {
        Err(BackendError::Corrupt { start, end }) => (start, end),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_wrong_byte_in_small_content_lets_nothing_out() {
    let faults = faulty();
    let source = sample(10_000, 1);
    let locator = put(&faults, &source).await;
    for at in [0, 5000, 9999] {
        faults.at(Call::Get, 0, Fault::WrongByte(at));
        assert_eq!(corrupt_at(read(&verify(&faults), &source, &locator, 100..200).await), (0, 10_000));
    }
    assert_eq!(read(&verify(&faults), &source, &locator, 100..200).await.unwrap(), source.read_all().slice(100..200));
}

#[tokio::test]
async fn no_byte_of_a_wrong_unit_comes_out() {
    let faults = faulty();
    let source = sample(LARGE, 1);
    let locator = put(&faults, &source).await;
    for (at, unit) in [(0, 0), (UNIT - 1, 0), (UNIT, 1), (3 * UNIT, 3), (LARGE - 1, 3)] {
        faults.at(Call::Get, 0, Fault::WrongByte(at));
        let mut stream = verify(&faults).get(source.content(), &locator, 0..LARGE).await.unwrap();
        let mut before = 0;
        let end = loop {
            match stream.next().await.unwrap() {
                Ok(bytes) => before += bytes.len() as u64,
                error => break corrupt_at(error),
            }
        };
        assert_eq!((before, end), (unit * UNIT, (unit * UNIT, LARGE.min((unit + 1) * UNIT))), "byte {at}");
    }
}

#[tokio::test]
async fn a_range_fetches_whole_units_and_no_more() {
    let faults = faulty();
    let source = sample(LARGE, 1);
    let locator = put(&faults, &source).await;
    // The fault is beyond the units of the range: it is not even fetched.
    faults.at(Call::Get, 0, Fault::WrongByte(2 * UNIT));
    let got = read(&verify(&faults), &source, &locator, UNIT + 5..3 * UNIT - 5).await.unwrap();
    assert!(got == source.read_all().slice((UNIT + 5) as usize..(3 * UNIT - 5) as usize));
    // Within its first unit, but not within the range: it is found.
    faults.at(Call::Get, 0, Fault::WrongByte(0));
    assert_eq!(corrupt_at(read(&verify(&faults), &source, &locator, UNIT + 5..UNIT + 6).await), (UNIT, 2 * UNIT));
}

#[tokio::test]
async fn a_short_stream_is_no_end() {
    let faults = faulty();
    for length in [10_000, LARGE] {
        let source = sample(length, 1);
        let locator = put(&faults, &source).await;
        for bytes in [0, 1, length / 2, length - 1] {
            faults.at(Call::Get, 0, Fault::EndAfter(bytes));
            assert_eq!(corrupt_at(read(&verify(&faults), &source, &locator, 0..length).await).0, bytes);
        }
    }
}

#[tokio::test]
async fn content_that_is_another_of_the_same_proof_fails_at_the_digest() {
    // A proof says nothing of the digest: it comes from a record of its own, which may be wrong.
    let (real, other) = (sample(LARGE, 1), sample(LARGE, 2));
    let proof = Arc::new(UnitHashes::of(&other.read_all()));
    let content = Content::new(real.content().digest().clone(), LARGE).unwrap().with_proof(proof).unwrap();
    let claimed = BytesSource::claiming(content, other.read_all());
    let backend = MemoryBackend::new().holding(real.content().digest().clone(), other.read_all());
    let verify = Verify::new(Arc::new(backend));
    let locator = verify.locate(Arc::new(claimed.clone())).await.unwrap().unwrap();
    assert_eq!(corrupt_at(read(&verify, &claimed, &locator, 0..LARGE).await), (0, LARGE));
}

#[tokio::test]
async fn superfluous_bytes_do_not_come_out() {
    let faults = faulty();
    for length in [1000, LARGE] {
        let source = sample(length, 1);
        let locator = put(&faults, &source).await;
        faults.at(Call::Get, 0, Fault::Superfluous(b"abc"));
        assert!(read(&verify(&faults), &source, &locator, 0..length).await.unwrap() == source.read_all());
    }
    let source = sample(LARGE, 1);
    let locator = put(&faults, &source).await;
    let bare = Content::new(source.content().digest().clone(), LARGE).unwrap();
    faults.at(Call::Get, 0, Fault::Superfluous(b"abc"));
    let got = read(&verify(&faults), &BytesSource::claiming(bare, source.read_all()), &locator, 0..LARGE).await;
    assert_eq!(corrupt_at(got), (LARGE, LARGE + 3));
}

#[tokio::test]
async fn without_a_proof_only_everything_can_be_read() {
    let faults = faulty();
    let source = sample(LARGE, 1);
    let locator = put(&faults, &source).await;
    let bare = Content::new(source.content().digest().clone(), LARGE).unwrap();
    let bare = BytesSource::claiming(bare, source.read_all());
    let verify = verify(&faults);
    assert!(read(&verify, &bare, &locator, 0..LARGE).await.unwrap() == source.read_all());
    let part = read(&verify, &bare, &locator, 1..LARGE).await;
    assert!(matches!(part, Err(BackendError::NoUnitProof)));
    for fault in [Fault::WrongByte(5), Fault::WrongByte(LARGE - 1), Fault::EndAfter(LARGE - 1), Fault::EndAfter(0)] {
        faults.at(Call::Get, 0, fault);
        assert_eq!(corrupt_at(read(&verify, &bare, &locator, 0..LARGE).await), (0, LARGE), "{fault:?}");
    }
}
