//! Commands that only read, on a write-protected copy.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::node::{Server, folder, run, run_with, skyberth};

/// Every path below a directory, with metadata that would differ after a write.
fn state(directory: &Path) -> BTreeMap<PathBuf, (u32, u64, i64, i64)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            found.extend(state(&path));
        }
        found.insert(path, (meta.mode(), meta.len(), meta.mtime(), meta.ctime_nsec()));
    }
    found
}

fn set_modes(directory: &Path, of_directories: u32, of_files: u32) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            set_modes(&path, of_directories, of_files);
        } else {
            fs::set_permissions(&path, fs::Permissions::from_mode(of_files)).unwrap();
        }
    }
    fs::set_permissions(directory, fs::Permissions::from_mode(of_directories)).unwrap();
}

fn may_change_users() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

#[tokio::test]
async fn ls_status_and_fsck_read_a_copy_without_write_bits_of_another_owner() {
    let (folder, data) = folder();
    let node = Server::start(&data);
    node.push_image("a", "x", b"layer").await;
    node.kill();
    let copy = folder.path().join("copy");
    assert!(Command::new("cp").arg("-a").arg(&data).arg(&copy).status().unwrap().success());
    set_modes(&copy, 0o555, 0o444);
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let before = state(&copy);
    let stranger = || {
        let mut command = skyberth();
        if may_change_users() {
            command.uid(65_532).gid(65_532);
        }
        command
    };
    let listed = run_with(stranger(), &copy, &["ls", "a"]).with(0);
    assert!(listed.starts_with("a:x\tsha256:"), "{listed}");
    assert!(run_with(stranger(), &copy, &["status"]).with(4).contains("stopped"));
    assert!(run_with(stranger(), &copy, &["fsck"]).with(0).contains("0 of them damaged or missing"));
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    fs::set_permissions(&out, fs::Permissions::from_mode(0o777)).unwrap();
    let archive = out.join("backup.tar");
    run_with(stranger(), &copy, &["backup", archive.to_str().unwrap()]).with(0);
    assert_eq!(fs::metadata(&archive).unwrap().mode() & 0o777, 0o600, "others can read the backup");
    assert_eq!(state(&copy), before, "something was written");
    set_modes(&copy, 0o755, 0o644);
    run(&copy, &["fsck"]).with(0);
}

#[tokio::test]
async fn damage_is_found_on_a_copy_too_and_left_as_it_is() {
    let (_folder, data) = folder();
    let node = Server::start(&data);
    let blob = node.push_blob("a", b"to be damaged").await;
    node.terminate();
    let digest = blob["digest"].as_str().unwrap();
    let hex = digest.strip_prefix("sha256:").unwrap();
    let file = data.join("blobs/sha256").join(&hex[..2]).join(hex);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&file, b"to be damagED").unwrap();
    let before = state(&data);
    let objects = run(&data, &["fsck", "--json"]).objects(1);
    assert_eq!((&objects[0]["finding"], &objects[0]["digest"]), (&"damaged".into(), &digest.into()), "{objects:?}");
    assert_eq!((&objects[1]["kind"], &objects[1]["bad"]), (&"checked".into(), &1.into()), "{objects:?}");
    assert_eq!(state(&data), before, "something was written");
    assert!(run(&data, &["fsck", "--repair"]).with(1).contains("quarantined; push it again"));
    assert!(!file.exists());
}
