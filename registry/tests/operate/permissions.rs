//! Permissions of a node's files.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::node::{Server, folder, noise, run, skyberth};

/// A directory and everything in it.
fn all_in(path: &Path) -> Vec<PathBuf> {
    let mut found = vec![path.to_owned()];
    if fs::symlink_metadata(path).unwrap().is_dir() {
        found.extend(fs::read_dir(path).unwrap().flat_map(|entry| all_in(&entry.unwrap().path())));
    }
    found
}

/// Journal and index were readable by all users of the machine.
#[tokio::test]
async fn no_file_of_a_node_is_open_to_other_users() {
    let (_folder, data) = folder();
    let server = Server::start(&data);
    server.push_image("a", "latest", &noise(1, 100_000)).await;
    for path in all_in(&data) {
        let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
    }
    server.terminate();
}

/// Commands run as root on another user's stopped node left files that the node could not read. Needs root.
#[tokio::test]
async fn a_command_as_root_acts_as_the_owner_of_the_directory() {
    let (folder, data) = folder();
    if fs::metadata(folder.path()).unwrap().uid() != 0 {
        return;
    }
    let mode = |mode| fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
    mode(0o755);
    let mut command = skyberth();
    let as_user = command.env("SKYBERTH_SERVER_RUN_AS", "65532:65532").env("SKYBERTH_STORAGE_RESERVE", "0");
    let server = Server::start_with(as_user, "serve", &data);
    server.push_image("a", "latest", &noise(2, 1000)).await;
    server.terminate();
    // Like systemd's mode of `/var/lib/private`.
    mode(0o700);
    run(&data, &["rm", "a:latest"]).with(0);
    run(&data, &["gc"]).with(0);
    run(&data, &["fsck", "--repair"]).with(0);
    for path in all_in(&data) {
        assert_eq!(fs::symlink_metadata(&path).unwrap().uid(), 65532, "{}", path.display());
    }
}
