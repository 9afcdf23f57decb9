//! Random requests, broken bodies and restarts, compared with a `Vec`.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Operation {
    /// Appends `length` bytes at the right offset, or `off_by` bytes beside it.
    Append {
        length: usize,
        off_by: isize,
        breaks: bool,
        stated: bool,
    },
    Head,
    Reopen,
    /// The process is killed, and leaves bytes on the disk that are in no record.
    KillInTheMiddle(usize),
}

fn operation() -> impl Strategy<Value = Operation> {
    let append = (0..6000_usize, prop_oneof![8 => Just(0_isize), 1 => -3..3_isize], any::<bool>(), any::<bool>());
    prop_oneof![
        6 => append.prop_map(|(length, off_by, breaks, stated)| Operation::Append { length, off_by, breaks, stated }),
        2 => Just(Operation::Head),
        1 => Just(Operation::Reopen),
        1 => (0..5000_usize).prop_map(Operation::KillInTheMiddle),
    ]
}

async fn run(fixture: &mut Fixture, total: usize, operations: Vec<Operation>) {
    let content = noise(total);
    let expected = fixture.skylink_of(&content).await;
    let id = fixture.create(total).await;
    let mut offset = 0;
    for operation in operations {
        match operation {
            Operation::Append { length, off_by, breaks, stated } => {
                let at = offset as isize + off_by;
                if at < 0 {
                    continue;
                }
                let bytes: Vec<u8> =
                    content[offset..].iter().copied().chain(std::iter::repeat(7)).take(length).collect();
                let stated = stated.then_some(bytes.len() as u64);
                let result = match breaks {
                    true => fixture.uploads.append(Holder::SHARED, &id, at as u64, stated, &mut broken(&bytes)).await,
                    false => fixture.uploads.append(Holder::SHARED, &id, at as u64, stated, &mut body(&bytes)).await,
                };
                match result {
                    Err(TusError::WrongOffset(said)) => assert!(off_by != 0 && said == offset as u64),
                    _ if off_by != 0 => panic!("bytes for another offset: {result:?}"),
                    Ok(_) if offset == total => {}
                    Err(TusError::BeyondLength(_)) => assert!(offset + length > total),
                    Ok(status) => {
                        assert!(!breaks);
                        offset += length;
                        assert_eq!((status.offset, status.skylink.is_some()), (offset as u64, offset == total));
                    }
                    Err(TusError::Body(BodyError::Broken)) => {
                        assert!(breaks);
                        offset += length;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            Operation::Head => {}
            Operation::Reopen => fixture.reopen(),
            Operation::KillInTheMiddle(more) => {
                let data = fixture.session(&id).join("data");
                if let Ok(mut staged) = std::fs::read(&data) {
                    staged.extend_from_slice(&vec![9; more]);
                    std::fs::write(&data, staged).unwrap();
                }
                fixture.reopen();
            }
        }
        assert_eq!(fixture.head(&id).await.unwrap(), (offset as u64, (offset == total).then_some(expected)));
    }
    fixture.append(&id, offset, &content[offset..]).await.unwrap();
    assert_eq!(fixture.content(&expected).await, content);
    fixture.uploads.terminate(&id).await.unwrap();
}

#[test]
fn an_upload_is_what_its_acknowledged_bytes_are() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let fixture = std::cell::RefCell::new(Fixture::with(|options| options.max_uploads = 8));
    proptest!(ProptestConfig::with_cases(48), |(
        total in 1..20_000_usize,
        operations in prop::collection::vec(operation(), 0..12),
    )| {
        runtime.block_on(run(&mut fixture.borrow_mut(), total, operations));
    });
}
