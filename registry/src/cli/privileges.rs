//! Changes from root to a user without privileges, before anything is opened: `server.run_as`.
//!
//! The steps, and what a crash right after each leaves behind:
//!
//! 1. The data directory is created if it does not exist. Left: an empty directory owned by root, as a new volume is.
//! 2. Its contents are given to the user, the deepest first and the directory itself last. Left: a directory that still
//!    has another owner, so that the next start goes through all of it again.
//! 3. Groups, group and user are changed for good. Left: nothing, since this is the process's own state.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use super::ownership;
use crate::config::{Identity, RunAs};
use crate::data_dir::DataDir;

/// Becomes the user of `server.run_as`, if one is set and this process is root; otherwise does nothing. `create`
/// creates a missing data directory. The process must still have one thread and no socket.
pub(super) fn drop_root(run_as: RunAs, data: &Path, create: bool) -> anyhow::Result<()> {
    let Some(identity) = run_as.0 else { return Ok(()) };
    if !is_root() {
        return Ok(());
    }
    if create {
        std::fs::create_dir_all(data).with_context(|| format!("create {}", data.display()))?;
    }
    if data.exists() {
        take_over(data, identity)?;
    }
    become_for_good(identity).with_context(|| {
        format!("become {identity} (started as root with server.run_as; this needs CAP_SETUID and CAP_SETGID)")
    })
}

/// If this process is root and the data directory belongs to another user, becomes that user. The directory becomes the
/// working directory and `data` its path, since its parents, such as `/var/lib/private`, may be closed to the owner.
/// `false` if nothing changed.
pub(super) fn become_owner(data: &mut PathBuf) -> anyhow::Result<bool> {
    if !is_root() || !data.exists() {
        return Ok(false);
    }
    let meta = std::fs::metadata(&*data)?;
    if meta.uid() == 0 {
        return Ok(false);
    }
    std::env::set_current_dir(&*data).with_context(|| format!("enter {}", data.display()))?;
    let owner = Identity { uid: meta.uid(), gid: meta.gid() };
    become_for_good(owner).with_context(|| format!("become {owner}, who owns {}", data.display()))?;
    // Absolute, because sled makes a relative path so, and would come by the directories above.
    *data = PathBuf::from("/proc/self/cwd");
    Ok(true)
}

/// From now on, no other user can open files or directories created by this process, including sled's.
pub(super) fn close_files_to_others() {
    #[expect(unsafe_code, reason = "std does not know the mask of a process")]
    // SAFETY: it only sets a number of the process, and cannot fail.
    unsafe {
        libc::umask(0o077);
    }
}

/// Becomes that user for a command that only reads, without changing owners. A directory of a third user is read as
/// root.
pub(super) fn drop_root_to_read(run_as: RunAs, data: &Path) -> anyhow::Result<()> {
    let Some(identity) = run_as.0.filter(|_| is_root()) else { return Ok(()) };
    let owner = std::fs::metadata(data).map(|meta| meta.uid());
    if owner.is_ok_and(|owner| owner == identity.uid) { become_for_good(identity) } else { Ok(()) }
}

/// Changes the owner of a directory that a node may use. A foreign directory, named by mistake, keeps its owner.
fn take_over(data: &Path, identity: Identity) -> anyhow::Result<()> {
    if ownership::is_given_and_closed(data, identity) {
        return Ok(());
    }
    let ours = DataDir::is_ours_or_empty(data)?;
    ensure!(ours, "{} is not empty and is not a Skyberth data directory; its owner stays as it is", data.display());
    ownership::give(data, identity).with_context(|| {
        format!("give {} to {identity} (started as root with server.run_as; this needs CAP_CHOWN)", data.display())
    })
}

fn is_root() -> bool {
    #[expect(unsafe_code, reason = "std cannot tell the user of the process")]
    // SAFETY: reads a number of the process, cannot fail.
    let uid = unsafe { libc::geteuid() };
    uid == 0
}

/// Gives up groups first and the user last, since each step needs the privileges that the last one gives up.
fn become_for_good(identity: Identity) -> anyhow::Result<()> {
    #[expect(unsafe_code, reason = "std changes users only for child processes")]
    // SAFETY: no pointer is read, as the list of groups is empty.
    check(unsafe { libc::setgroups(0, std::ptr::null()) }).context("setgroups")?;
    #[expect(unsafe_code, reason = "std changes users only for child processes")]
    // SAFETY: numbers only.
    check(unsafe { libc::setresgid(identity.gid, identity.gid, identity.gid) }).context("setresgid")?;
    #[expect(unsafe_code, reason = "std changes users only for child processes")]
    // SAFETY: numbers only.
    check(unsafe { libc::setresuid(identity.uid, identity.uid, identity.uid) }).context("setresuid")?;
    #[expect(unsafe_code, reason = "no safe wrapper")]
    // SAFETY: numbers only; a process may always give this up.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }).context("no_new_privs")?;
    #[expect(unsafe_code, reason = "std changes users only for child processes")]
    // SAFETY: numbers only.
    let back = unsafe { libc::setresuid(0, 0, 0) };
    ensure!(back != 0, "this process can still become root");
    let status = std::fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
    holds_nothing_but(&status, identity)
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Checks that `status`, in the form of proc(5), is that of a process of this user without capabilities.
fn holds_nothing_but(status: &str, identity: Identity) -> anyhow::Result<()> {
    let (uid, gid) = (identity.uid.to_string(), identity.gid.to_string());
    let words = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    for (name, wanted) in [("Uid", &uid), ("Gid", &gid)] {
        let found = words(name).with_context(|| format!("/proc/self/status has no {name}"))?;
        ensure!(found.split_whitespace().all(|word| word == wanted), "{name} is {found} instead of {wanted}");
    }
    let groups = words("Groups").context("/proc/self/status has no Groups")?;
    ensure!(groups.trim().is_empty(), "still in the groups {groups}");
    for name in ["CapPrm", "CapEff", "CapAmb"] {
        let found = words(name).with_context(|| format!("/proc/self/status has no {name}"))?;
        ensure!(found.trim().bytes().all(|digit| digit == b'0'), "still has capabilities: {name} {found}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: Identity = Identity { uid: 7, gid: 8 };
    const DROPPED: &str = "Name:\tx\nUid:\t7\t7\t7\t7\nGid:\t8\t8\t8\t8\nGroups:\t \nCapPrm:\t0000000000000000\n\
        CapEff:\t0000000000000000\nCapAmb:\t0000000000000000\n";

    #[test]
    fn what_is_left_of_root_is_seen() {
        holds_nothing_but(DROPPED, USER).unwrap();
        for (good, bad) in [
            ("Uid:\t7\t7", "Uid:\t7\t0"),
            ("Gid:\t8\t8\t8", "Gid:\t8\t8\t0"),
            ("Groups:\t ", "Groups:\t0 "),
            ("CapPrm:\t0000000000000000", "CapPrm:\t0000000000000080"),
            ("CapEff:\t0000000000000000\n", ""),
        ] {
            let status = DROPPED.replace(good, bad);
            assert_ne!(status, DROPPED);
            assert!(holds_nothing_but(&status, USER).is_err(), "{status}");
        }
    }

    #[test]
    fn a_directory_of_somebody_else_is_not_given_away() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("thesis.tex"), "x").unwrap();
        let error = take_over(folder.path(), USER).unwrap_err().to_string();
        assert!(error.contains("its owner stays"), "{error}");
    }
}
