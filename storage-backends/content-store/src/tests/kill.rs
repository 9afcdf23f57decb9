//! `kill -9` at any instant: what was acknowledged stays, and nothing is damaged.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{id, noise, sha256};
use crate::digest::{Algorithm, Digest};
use crate::upload::hash_again;
use crate::{ContentStore, Verdict, full_speed};

const DIRECTORY_VARIABLE: &str = "STORAGE_BACKENDS_KILL_TEST_DIRECTORY";
const KILLS: u64 = 25;
const CHUNK: usize = 997;

/// Not a test by itself: the process that is killed. It tells on its standard output what it has been promised.
#[test]
fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY_VARIABLE) else { return };
    let store = ContentStore::open(Path::new(&directory)).unwrap();
    let whole = whole();
    let mut upload = match store.open_upload(&id()).unwrap() {
        Some(upload) => upload,
        None => store.create_upload(&id(), "a", None).unwrap(),
    };
    println!("\nat {}", upload.offset());
    while upload.offset() as usize + CHUNK <= whole.len() {
        let at = upload.offset() as usize;
        let mark = upload.mark();
        upload.append(&whole[at..=at]).unwrap();
        if at.is_multiple_of(3) {
            upload.sync_point().unwrap();
        }
        upload.roll_back(mark).unwrap();
        upload.append(&whole[at..at + CHUNK]).unwrap();
        upload.sync_point().unwrap();
        println!("at {}", upload.offset());
        let small = noise(upload.offset() as usize % 5000);
        store.put_bytes(&sha256(&small), &small).unwrap();
        println!("put {}", sha256(&small));
    }
}

#[test]
fn killed_at_any_instant_the_store_keeps_what_it_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let whole = whole();
    let (mut offset, mut put) = (0, Vec::new());
    for kill in 0..KILLS {
        let mut child = start_child(directory.path());
        let output = BufReader::new(child.stdout.take().unwrap());
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20 + kill * 7));
            child.kill().unwrap();
            child.wait().unwrap();
        });
        for line in output.lines().map_while(Result::ok) {
            match line.split_once(' ') {
                Some(("at", value)) => offset = value.parse().unwrap_or(offset),
                Some(("put", value)) => put.extend(value.parse::<Digest>().ok()),
                _ => {}
            }
        }
        killer.join().unwrap();
        check(directory.path(), &whole, offset, &put);
    }
    assert!(offset > 0 && !put.is_empty(), "no child got anywhere");
    eprintln!("{offset} bytes and {} files were acknowledged over {KILLS} kills", put.len());
    let store = ContentStore::open(directory.path()).unwrap();
    let upload = store.open_upload(&id()).unwrap().unwrap();
    let digest = sha256(&whole[..upload.offset() as usize]);
    upload.finish(&digest).unwrap().publish().unwrap();
    assert_eq!(store.verify(&digest, &mut full_speed).unwrap(), Verdict::Sound);
}

/// The bytes of the upload, more than all children come to write.
fn whole() -> Vec<u8> {
    noise(65_521).repeat(160)
}

fn start_child(directory: &Path) -> Child {
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new(program);
    command.args(["--exact", "tests::kill::child", "--nocapture"]).env(DIRECTORY_VARIABLE, directory);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

fn check(directory: &Path, whole: &[u8], acknowledged: u64, put: &[Digest]) {
    let store = ContentStore::open(directory).unwrap();
    if let Some(upload) = store.open_upload(&id()).unwrap() {
        assert!(upload.offset() >= acknowledged, "{} after {acknowledged} was acknowledged", upload.offset());
        let running = upload.hasher.clone().finish();
        let on_disk = hash_again(&upload.session, Algorithm::Sha256).unwrap().finish();
        assert_eq!(running, on_disk);
        assert_eq!(on_disk, sha256(&whole[..upload.offset() as usize]));
    } else {
        assert_eq!(acknowledged, 0);
    }
    let open = usize::from(store.open_upload(&id()).unwrap().is_some());
    assert_eq!(store.uploads().unwrap().len(), open);
    for digest in put {
        assert_eq!(store.verify(digest, &mut full_speed).unwrap(), Verdict::Sound, "{digest}");
    }
    for item in store.walk() {
        assert_eq!(store.verify(&item.unwrap().digest, &mut full_speed).unwrap(), Verdict::Sound);
    }
}
