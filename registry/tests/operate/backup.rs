//! Backups of running and stopped nodes, and restores.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::node::{Server, digest, folder, noise, run, run_with, skyberth, wait};

fn backup(data: &Path, file: &Path, words: &[&str], code: i32) -> String {
    run(data, &[&["backup", file.to_str().unwrap()], words].concat()).with(code)
}

fn restore(data: &Path, file: &Path) -> crate::node::Ended {
    run(data, &["restore", file.to_str().unwrap()])
}

/// Fails unless the directory is empty, except for a lock file. No node starts on such a directory.
fn is_no_node(data: &Path) {
    assert!(!data.join("skyberth.json").exists());
    let left: Vec<_> = fs::read_dir(data).into_iter().flatten().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == "lock"), "{left:?}");
}

#[tokio::test]
async fn a_backup_under_pushes_and_deletes_has_all_that_it_names() {
    let (folder, data) = folder();
    let node = Server::start(&data);
    for number in 0..20 {
        node.push_image("kept", &format!("v{number}"), &noise(number, 50_000)).await;
    }
    let (archive, copy) = (folder.path().join("backup.tar"), folder.path().join("copy"));
    let done = AtomicBool::new(false);
    let pushing = async {
        let mut number = 1000;
        while !done.load(Ordering::Relaxed) {
            let layer = noise(number, 20_000);
            let image = node.push_image("moving", &format!("v{}", number % 5), &layer).await;
            let manifest = format!("/v2/moving/manifests/{}", image["digest"].as_str().unwrap());
            let layer = format!("/v2/moving/blobs/{}", digest(&layer));
            for path in [manifest, layer].iter().filter(|_| number % 2 == 0) {
                assert_eq!(node.ask(Method::DELETE, path, "", Vec::new()).await.0, StatusCode::ACCEPTED, "{path}");
            }
            number += 1;
        }
        number - 1000
    };
    let saving = async {
        let mut saved = Vec::new();
        for _ in 0..3 {
            let (data, archive) = (data.clone(), archive.clone());
            let collected = data.clone();
            let collect = tokio::task::spawn_blocking(move || run(&collected, &["gc"]));
            saved.push(tokio::task::spawn_blocking(move || backup(&data, &archive, &[], 0)).await.unwrap());
            collect.await.unwrap().with(0);
        }
        done.store(true, Ordering::Relaxed);
        saved
    };
    let (pushed, saved) = tokio::join!(pushing, saving);
    assert!(pushed > 3 && saved.iter().all(|said| !said.contains("NOT COMPLETE")), "{pushed} {saved:?}");
    let kept = node.pull_all("kept").await;

    restore(&copy, &archive).with(0);
    assert!(run(&copy, &["fsck"]).with(0).contains("0 of them damaged or missing"));
    let restored = Server::start(&copy);
    assert_eq!(restored.pull_all("kept").await, kept);
    restored.pull_all("moving").await;
    // The restored node accepts pushes.
    restored.push_image("kept", "new", b"new").await;
    assert_eq!(node.pull_all("kept").await, kept);
}

#[tokio::test]
async fn files_that_a_backup_needs_stay_until_it_ends() {
    let (_folder, data) = folder();
    let node = Server::start(&data);
    let image = node.push_image("a", "x", b"a layer").await;
    // Nothing reads the archive, so the backup cannot end.
    node.push_image("a", "large", &noise(1, 4 << 20)).await;
    let mut saving = skyberth()
        .args(["backup", "-", "--data"])
        .arg(&data)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait("a part of the archive", async || {
        // The first bytes arrive once the journal is copied. From then on the node keeps its files.
        let mut poll = [libc::pollfd {
            fd: std::os::fd::AsRawFd::as_raw_fd(saving.stdout.as_ref().unwrap()),
            events: libc::POLLIN,
            revents: 0,
        }];
        #[expect(unsafe_code, reason = "std does not say whether a pipe has bytes")]
        // SAFETY: the array lives during the call, and has the stated length of 1.
        let ready = unsafe { libc::poll(poll.as_mut_ptr(), 1, 0) };
        ready == 1
    })
    .await;
    let digest = image["digest"].as_str().unwrap();
    let hex = digest.strip_prefix("sha256:").unwrap();
    let file = data.join("blobs/sha256").join(&hex[..2]).join(hex);
    run(&data, &["rm", &format!("a@{digest}")]).with(0);
    run(&data, &["gc"]).with(0);
    assert!(file.exists(), "it was removed under the backup");
    saving.kill().unwrap();
    saving.wait().unwrap();
    wait("the file is removed when the backup has ended", async || {
        run(&data, &["gc"]).with(0);
        !file.exists()
    })
    .await;
}

#[tokio::test]
async fn a_stopped_node_is_backed_up_through_pipes() {
    let (folder, data) = folder();
    let node = Server::start(&data);
    node.push_image("a", "x", &noise(1, 300_000)).await;
    let tags = node.pull_all("a").await;
    node.kill();
    let copy = folder.path().join("copy");
    let mut saving = skyberth().args(["backup", "-", "--data"]).arg(&data).stdout(Stdio::piped()).spawn().unwrap();
    let mut reading = skyberth();
    reading.stdin(saving.stdout.take().unwrap());
    assert!(run_with(reading, &copy, &["restore", "-"]).with(0).contains("start the node with: skyberth serve"));
    assert!(saving.wait().unwrap().success());
    assert_eq!(Server::start(&copy).pull_all("a").await, tags);
    // A restore into a directory with files is refused.
    let archive = folder.path().join("backup.tar");
    backup(&data, &archive, &[], 0);
    let refused = restore(&copy, &archive);
    assert!(refused.code == Some(2) && refused.err.contains("is not empty"), "{refused:?}");
}

#[tokio::test]
async fn a_damaged_or_cut_off_backup_is_refused_whole() {
    let (folder, data) = folder();
    let node = Server::start(&data);
    node.push_image("a", "x", &noise(1, 30_000)).await;
    let archive = folder.path().join("backup.tar");
    backup(&data, &archive, &[], 0);
    let whole = fs::read(&archive).unwrap();
    let copy = folder.path().join("copy");
    let refused = |bytes: &[u8], what: &str| {
        fs::write(&archive, bytes).unwrap();
        let ended = restore(&copy, &archive);
        assert!(ended.code == Some(2) && ended.err.contains("nothing was restored"), "{what}: {ended:?}");
        is_no_node(&copy);
    };
    for part in 0..8 {
        refused(&whole[..whole.len() * part / 8], "cut off");
    }
    let layer = noise(1, 30_000);
    let at = whole.windows(64).position(|bytes| bytes == &layer[..64]).unwrap();
    let record = whole.windows(8).position(|bytes| bytes == b"\"tag-set").unwrap();
    for offset in [at, record, 520] {
        let mut changed = whole.clone();
        changed[offset] ^= 1;
        refused(&changed, &format!("byte {offset}"));
    }
    fs::write(&archive, &whole).unwrap();
    restore(&copy, &archive).with(0);
}

#[tokio::test]
async fn a_restore_that_is_killed_leaves_no_node() {
    let (folder, data) = folder();
    let node = Server::start(&data);
    node.push_image("a", "x", &noise(1, 300_000)).await;
    let archive = folder.path().join("backup.tar");
    backup(&data, &archive, &[], 0);
    let whole = fs::read(&archive).unwrap();
    let copy = folder.path().join("copy");
    let mut restoring = skyberth()
        .args(["restore", "-", "--data"])
        .arg(&copy)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = restoring.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, &whole[..whole.len() - 200_000]).unwrap();
    wait("a part of it is there", async || copy.join("journal").exists()).await;
    restoring.kill().unwrap();
    restoring.wait().unwrap();
    let start = skyberth().args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(&copy).output().unwrap();
    assert_eq!(start.status.code(), Some(2), "a node started on a part of a backup");
    let refused = restore(&copy, &archive);
    assert!(refused.code == Some(2) && refused.err.contains("is not empty"), "{refused:?}");
}

#[test]
fn a_backup_as_root_fails_before_it_copies_where_the_nodes_user_cannot_write() {
    let (folder, data) = folder();
    Server::start(&data).terminate();
    let root = std::os::unix::fs::MetadataExt::uid(&fs::metadata("/proc/self").unwrap()) == 0;
    if root {
        assert!(Command::new("chown").args(["-R", "65532:65532"]).arg(folder.path()).status().unwrap().success());
    }
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o555)).unwrap();
    let archive = closed.join("backup.tar");
    let mut command = skyberth();
    command.env("SKYBERTH_SERVER_RUN_AS", "65532:65532");
    let refused = run_with(command, &data, &["backup", archive.to_str().unwrap()]);
    assert!(refused.code == Some(2) && refused.err.contains("as the user of server.run_as"), "{refused:?}");
    assert_eq!(fs::read_dir(&closed).unwrap().count(), 0);
    let directory = run(&data, &["backup", folder.path().to_str().unwrap()]);
    assert!(directory.code == Some(2) && directory.err.contains("is a directory"), "{directory:?}");
}

#[test]
fn two_backups_to_one_file_do_not_write_into_each_other() {
    let (folder, data) = folder();
    Server::start(&data).terminate();
    let archive = folder.path().join("backup.tar");
    // Every backup once used this name, so another backup or another user's link could be there.
    let elsewhere = folder.path().join("elsewhere");
    fs::write(&elsewhere, "precious").unwrap();
    std::os::unix::fs::symlink(&elsewhere, folder.path().join("backup.tar.partial")).unwrap();
    backup(&data, &archive, &[], 0);
    assert_eq!(fs::read(&elsewhere).unwrap(), b"precious");
    assert!(archive.is_file());
}

#[tokio::test]
async fn a_backup_that_lacks_content_says_so() {
    let (folder, data) = folder();
    let node = Server::start(&data);
    node.push_image("a", "x", b"layer").await;
    let archive = folder.path().join("backup.tar");
    let said = backup(&data, &archive, &["--content", "none"], 1);
    assert!(said.contains("NOT COMPLETE") && said.contains("3 blobs"), "{said}");
    let copy = folder.path().join("copy");
    assert!(restore(&copy, &archive).with(1).contains("NOT COMPLETE"));
    assert!(run(&copy, &["ls", "a"]).with(0).starts_with("a:x\t"));
    run(&copy, &["fsck"]).with(1);
    node.terminate();
    fs::remove_dir_all(data.join("blobs")).unwrap();
    assert!(backup(&data, &archive, &[], 1).contains("NOT COMPLETE"));
}

#[tokio::test]
async fn names_alone_are_enough_where_portals_have_the_content() {
    let (folder, data) = folder();
    let portal = Server::start_with(&mut skyberth(), "portal", &folder.path().join("portal"));
    let url = portal.url.clone();
    let with_portal = || -> Command {
        let mut command = skyberth();
        command.env("SKYBERTH_STORAGE_BACKEND", "skynet").env("SKYBERTH_STORAGE_SKYNET_PORTALS", &url);
        command.env("SKYBERTH_STORAGE_SKYNET_DOMAINS", "another machine");
        command
    };
    let node = Server::start_with(&mut with_portal(), "serve", &data);
    node.push_image("a", "x", &noise(1, 5 << 20)).await;
    let archive = folder.path().join("backup.tar");
    // Content is left out only after it was read back. An acknowledgement is not enough.
    wait("all of it is on the portal", async || {
        let ended = run_with(with_portal(), &data, &["backup", archive.to_str().unwrap()]);
        ended.with(0).contains("on portals by the records (portals were not asked): 3 blobs, 5.0 MiB")
    })
    .await;
    wait("read back, and so safe", async || run_with(with_portal(), &data, &["status", "--safe"]).code == Some(0))
        .await;
    let tags = node.pull_all("a").await;
    node.kill();
    let stopped = run_with(with_portal(), &data, &["status", "--safe"]).with(4);
    assert!(stopped.contains("safe to close: unknown"), "{stopped}");

    let copy = folder.path().join("copy");
    let said = restore(&copy, &archive).with(0);
    assert!(said.contains("on portals only"), "{said}");
    assert!(run_with(with_portal(), &copy, &["fsck"]).with(0).contains("0 of them damaged or missing"));
    let restored = Server::start_with(&mut with_portal(), "serve", &copy);
    assert_eq!(restored.pull_all("a").await, tags);
    // With `--content all`, the archive has everything, as without portals.
    let whole = run_with(with_portal(), &copy, &["backup", archive.to_str().unwrap(), "--content", "all"]).with(0);
    assert!(whole.contains(": 5.0 MiB in "), "{whole}");
    portal.kill();
    tokio::time::sleep(Duration::from_millis(100)).await;
    run_with(with_portal(), &copy, &["status", "--safe"]).with(6);
}

/// A restored node on a public address would have asked nobody it knows for a login.
#[test]
fn users_come_back_with_a_backup() {
    let (folder, data) = folder();
    Server::start(&data).terminate();
    let said = run(&data, &["user", "add", "ann"]).with(0);
    assert!(said.starts_with("ann has the password "), "{said}");
    let (archive, copy) = (folder.path().join("backup.tar"), folder.path().join("copy"));
    backup(&data, &archive, &[], 0);
    restore(&copy, &archive).with(0);
    let users = |data: &Path| fs::read_to_string(data.join("access/users")).unwrap();
    assert_eq!(users(&copy), users(&data));
    assert_eq!(fs::metadata(copy.join("access/users")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        run(&copy, &["user", "list", "--json"]).objects(0),
        [json!({ "user": "ann", "source": "skyberth user" })]
    );
}
