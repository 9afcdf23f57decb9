//! Replays recorded calls on the model of a disk, up to any of them.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use super::disk::{Disk, Inode, ROOT, SyncPoint, below};
use super::file::Change;
use super::trace::{Arg, Call, Step, Trace};

/// Calls that change names.
const NAMING: [&str; 10] =
    ["mkdir", "mkdirat", "unlink", "unlinkat", "rmdir", "rename", "renameat", "renameat2", "link", "linkat"];

/// Calls that may send an answer to a client.
const SENDING: [&str; 4] = ["write", "writev", "sendto", "sendmsg"];

/// Which syncs count. All but `All` show that the gate can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Syncs {
    All,
    /// Syncs of folders have no effect.
    NoFolders,
    /// Syncs of files have no effect.
    NoFiles,
}

/// When an answer began to be sent, and when it was sent, as numbers of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    pub begun: usize,
    pub done: usize,
}

#[derive(Debug)]
struct Description {
    /// `None` if it is not below the root.
    inode: Option<Inode>,
    offset: usize,
    append: bool,
    socket: bool,
}

/// The state that a call found when it began.
#[derive(Clone, Copy, Debug)]
struct Begun {
    step: usize,
    description: Option<usize>,
    sync: Option<SyncPoint>,
    /// The file that it opens.
    opened: Option<Inode>,
}

/// A replay in progress.
#[derive(Debug)]
pub struct Replay<'a> {
    trace: &'a Trace,
    root: PathBuf,
    syncs: Syncs,
    pub disk: Disk,
    /// Number of steps done.
    pub at: usize,
    descriptions: Vec<Description>,
    descriptors: HashMap<i64, usize>,
    /// The state that unfinished calls found under their descriptor.
    begun: HashMap<usize, Begun>,
    /// The calls without a result in this life, each with the description that it was made on.
    pub interrupted: Vec<(usize, Option<usize>)>,
    /// Answers by id.
    pub answers: BTreeMap<String, Answered>,
}

impl<'a> Replay<'a> {
    /// A replay at its beginning, with an empty `root`.
    pub fn new(trace: &'a Trace, root: &Path, syncs: Syncs) -> Self {
        Replay {
            trace,
            root: root.to_owned(),
            syncs,
            disk: Disk::new(),
            at: 0,
            descriptions: Vec::new(),
            descriptors: HashMap::new(),
            begun: HashMap::new(),
            interrupted: Vec::new(),
            answers: BTreeMap::new(),
        }
    }

    /// Creates a directory that existed, durably, before the recording.
    pub fn given_folder(&mut self, name: &str) {
        self.disk.make_folder(ROOT, name);
        let point = self.disk.begin_sync(ROOT);
        self.disk.end_sync(point);
    }

    /// Advances to a later step.
    pub fn advance(&mut self, to: usize) -> anyhow::Result<()> {
        while self.at < to {
            let step = self.trace.steps[self.at];
            self.at += 1;
            match step {
                Step::NewLife => self.begin_life(),
                Step::Begin(number) | Step::End(number) => {
                    let call = &self.trace.calls[number];
                    let done =
                        if step == Step::Begin(number) { self.begin(number, call) } else { self.end(number, call) };
                    done.with_context(|| format!("call {number}: {}", call.name))?;
                }
            }
        }
        Ok(())
    }

    /// Begins the life of the next process: no file is open. Answers that the last process was sending have been sent
    /// or never will be.
    fn begin_life(&mut self) {
        self.descriptors.clear();
        self.interrupted.clear();
        for answered in self.answers.values_mut() {
            answered.done = answered.done.min(self.at);
        }
    }

    /// A descriptor and a name are resolved when the call begins. Another thread may close the descriptor meanwhile, or
    /// see the new name before the call's end is recorded, and rely on it.
    fn begin(&mut self, number: usize, call: &Call) -> anyhow::Result<()> {
        let descriptor = call.number(0).ok();
        let description = descriptor.and_then(|fd| self.descriptors.get(&fd).copied());
        let inode = description.and_then(|at| self.descriptions[at].inode);
        let succeeds = call.result.is_some_and(|result| result >= 0);
        let (mut sync, mut opened) = (None, None);
        if call.result.is_none() {
            self.interrupted.push((number, description));
        }
        match call.name.as_str() {
            "fsync" | "fdatasync" => sync = inode.map(|inode| self.disk.begin_sync(inode)),
            "close" => {
                descriptor.map(|fd| self.descriptors.remove(&fd));
            }
            "openat" | "open" | "creat" if succeeds => opened = self.open(call)?,
            name if succeeds && NAMING.contains(&name) => self.rename_and_the_like(call)?,
            // The process was killed in it. Its client may still have the bytes, from the end of this life at the
            // latest.
            name if call.result.is_none()
                && SENDING.contains(&name)
                && description.is_some_and(|at| self.descriptions[at].socket) =>
            {
                self.note_answers(call.bytes(1)?, self.at, usize::MAX);
            }
            _ => {}
        }
        self.begun.insert(number, Begun { step: self.at, description, sync, opened });
        Ok(())
    }

    fn end(&mut self, number: usize, call: &Call) -> anyhow::Result<()> {
        let Begun { step, description, sync, opened } = self.begun.remove(&number).context("ended, but never begun")?;
        let Some(result) = call.result.filter(|result| *result >= 0) else { return Ok(()) };
        match call.name.as_str() {
            "openat" | "open" | "creat" => {
                let append = call.args.iter().any(|arg| matches!(arg, Arg::Text(text) if text.contains("O_APPEND")));
                self.describe(result, Description { inode: opened, offset: 0, append, socket: false });
                Ok(())
            }
            "accept4" => {
                self.describe(result, Description { inode: None, offset: 0, append: false, socket: true });
                Ok(())
            }
            "dup" | "dup2" | "dup3" | "fcntl" => {
                if (call.name != "fcntl" || call.arg(1)?.starts_with("F_DUPFD"))
                    && let Some(at) = description
                {
                    self.descriptors.insert(result, at);
                }
                Ok(())
            }
            "write" | "writev" | "sendto" | "sendmsg" | "pwrite64" | "pwritev" | "pwritev2" => {
                self.write(call, result as usize, description, step)
            }
            "fsync" | "fdatasync" => {
                self.sync(sync);
                Ok(())
            }
            "lseek" => {
                if let Some(at) = description {
                    self.descriptions[at].offset = result as usize;
                }
                Ok(())
            }
            "ftruncate" | "fallocate" => self.resize(call, description),
            "close" => Ok(()),
            "copy_file_range" | "sendfile" | "splice" => {
                let written = if call.name == "sendfile" { 0 } else { 2 };
                let target = self.descriptors.get(&call.number(written)?);
                let ours = target.is_some_and(|at| self.descriptions[*at].inode.is_some());
                ensure!(!ours, "the model does not support {} into a file", call.name);
                Ok(())
            }
            name => {
                ensure!(NAMING.contains(&name), "the model does not support it");
                Ok(())
            }
        }
    }

    fn sync(&mut self, point: Option<SyncPoint>) {
        let Some(point) = point else { return };
        let is_file = self.disk.is_file(point.inode());
        let ignored = match self.syncs {
            Syncs::All => false,
            Syncs::NoFolders => !is_file,
            Syncs::NoFiles => is_file,
        };
        if !ignored {
            self.disk.end_sync(point);
        }
    }

    fn describe(&mut self, descriptor: i64, description: Description) {
        self.descriptions.push(description);
        self.descriptors.insert(descriptor, self.descriptions.len() - 1);
    }

    /// The directory and last name of a path, if it is below the root.
    pub fn place(&self, call: &Call, folder: Option<usize>, path: usize) -> anyhow::Result<Option<(Inode, String)>> {
        let path = call.text(path)?;
        let from = match folder {
            _ if path.starts_with('/') => None,
            Some(index) if call.arg(index)? != "AT_FDCWD" => {
                let at = self.descriptors.get(&call.number(index)?);
                match at.and_then(|at| self.descriptions[*at].inode) {
                    Some(inode) => Some(inode),
                    None => return Ok(None),
                }
            }
            _ => return Ok(None),
        };
        let parts = below(if from.is_none() { &self.root } else { Path::new("") }, Path::new(&path));
        let Some((name, folders)) = parts.as_deref().and_then(<[&str]>::split_last) else { return Ok(None) };
        let folder = self.disk.lookup(from.unwrap_or(ROOT), &folders.join("/"));
        let folder = folder.with_context(|| format!("no folder {path}"))?;
        Ok(Some((folder, (*name).to_owned())))
    }

    fn open(&mut self, call: &Call) -> anyhow::Result<Option<Inode>> {
        let (folder, path) = if call.name == "openat" { (Some(0), 1) } else { (None, 0) };
        let flags = if call.name == "creat" { "O_CREAT|O_TRUNC|O_WRONLY" } else { call.arg(path + 1)? };
        ensure!(!flags.contains("O_TMPFILE"), "the model does not support O_TMPFILE");
        let mut inode = (call.text(path)? == self.root.to_string_lossy()).then_some(ROOT);
        if let Some((folder, name)) = self.place(call, folder, path)? {
            inode = self.disk.child(folder, &name);
            if inode.is_none() && flags.contains("O_CREAT") {
                inode = Some(self.disk.make_file(folder, &name));
            }
            // A socket's name is not in the recording. Nothing is ever written to a socket by name.
            if let Some(data) = inode.and_then(|inode| self.disk.file(inode))
                && flags.contains("O_TRUNC")
                && data.length() > 0
            {
                data.change(Change::Length(0));
            }
        }
        Ok(inode)
    }

    /// The file of a description, and where `write` would write.
    pub fn position(&mut self, description: usize) -> Option<(Inode, usize)> {
        let Description { inode, offset, append, .. } = self.descriptions[description];
        let data = self.disk.file(inode?)?;
        Some((inode?, if append { data.length() } else { offset }))
    }

    fn write(&mut self, call: &Call, count: usize, at: Option<usize>, begun: usize) -> anyhow::Result<()> {
        let Some(at) = at else { return Ok(()) };
        if self.descriptions[at].socket {
            self.note_answers(call.bytes(1)?, begun, self.at);
            return Ok(());
        }
        let Some(inode) = self.descriptions[at].inode else { return Ok(()) };
        let recorded = call.bytes(1)?;
        let bytes = recorded.get(..count).with_context(|| format!("{} of {count} bytes recorded", recorded.len()))?;
        let data = self.disk.file(inode).context("a write to a folder")?;
        let description = &mut self.descriptions[at];
        let offset = match call.name.as_str() {
            "pwrite64" | "pwritev" | "pwritev2" => call.number(3)? as usize,
            _ => {
                let from = if description.append { data.length() } else { description.offset };
                description.offset = from + count;
                from
            }
        };
        if count > 0 {
            data.change(Change::Write(offset, bytes.into()));
        }
        Ok(())
    }

    fn note_answers(&mut self, bytes: &[u8], begun: usize, done: usize) {
        const NAME: &str = "x-request-id: ";
        let text = String::from_utf8_lossy(bytes);
        for (at, _) in text.match_indices(NAME) {
            let id = text[at + NAME.len()..].split("\r\n").next().unwrap_or_default();
            self.answers.insert(id.to_owned(), Answered { begun, done });
        }
    }

    fn resize(&mut self, call: &Call, at: Option<usize>) -> anyhow::Result<()> {
        let Some(inode) = at.and_then(|at| self.descriptions[at].inode) else { return Ok(()) };
        let data = self.disk.file(inode).context("a folder has no length")?;
        if call.name == "ftruncate" {
            data.change(Change::Length(call.number(1)? as usize));
            return Ok(());
        }
        let (mode, from) = (call.arg(1)?, call.number(2)? as usize);
        let to = from + call.number(3)? as usize;
        match mode {
            "0" if to > data.length() => data.change(Change::Length(to)),
            "0" | "FALLOC_FL_KEEP_SIZE" => {}
            mode if mode.contains("FALLOC_FL_PUNCH_HOLE") => data.change(Change::Zero(from, to)),
            mode => bail!("the model does not support fallocate {mode}"),
        }
        Ok(())
    }

    fn rename_and_the_like(&mut self, call: &Call) -> anyhow::Result<()> {
        match call.name.as_str() {
            "mkdir" | "mkdirat" => {
                let (folder, path) = if call.name == "mkdirat" { (Some(0), 1) } else { (None, 0) };
                if let Some((folder, name)) = self.place(call, folder, path)? {
                    self.disk.make_folder(folder, &name);
                }
            }
            "unlink" | "unlinkat" | "rmdir" => {
                let (folder, path) = if call.name == "unlinkat" { (Some(0), 1) } else { (None, 0) };
                if let Some((folder, name)) = self.place(call, folder, path)? {
                    self.disk.unlink(folder, &name);
                }
            }
            "rename" | "renameat" | "renameat2" | "link" | "linkat" => {
                let at = call.name.contains("at");
                let (from, to) = if at { ((Some(0), 1), (Some(2), 3)) } else { ((None, 0), (None, 1)) };
                let from = self.place(call, from.0, from.1)?;
                let to = self.place(call, to.0, to.1)?;
                let (Some(from), Some(to)) = (from, to) else { return Ok(()) };
                if call.name.starts_with("rename") {
                    return self.disk.rename(from, to);
                }
                let inode = self.disk.child(from.0, &from.1).context("a link to nothing")?;
                self.disk.link(to.0, &to.1, inode);
            }
            other => bail!("the model does not support {other}"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client may have an answer whose sending the kill interrupted, and continue from it.
    #[test]
    fn an_answer_that_a_kill_interrupted_counts_from_the_end_of_that_life() {
        let hex = |text: &str| text.bytes().map(|byte| format!("\\x{byte:02x}")).collect::<Vec<_>>().concat();
        let answer = |id: &str| hex(&format!("HTTP/1.1 200 OK\r\nx-request-id: {id}\r\n\r\n"));
        let life = format!(
            "10 accept4(3, NULL, NULL, SOCK_CLOEXEC) = 9\n\
             10 sendto(9, \"{}\", 44, MSG_NOSIGNAL, NULL, 0) = 44\n\
             10 sendto(9, \"{}\", 44, MSG_NOSIGNAL, NULL, 0 <unfinished ...>\n\
             10 +++ killed by SIGKILL +++\n",
            answer("whole"),
            answer("cut")
        );
        let mut trace = Trace::default();
        trace.add_life(life.as_bytes()).unwrap();
        let cut_at = trace.steps.len();
        trace.add_life(&b""[..]).unwrap();
        let mut replay = Replay::new(&trace, Path::new("/nowhere"), Syncs::All);
        replay.advance(cut_at).unwrap();
        assert_eq!(replay.answers["whole"], Answered { begun: 4, done: 5 });
        assert_eq!(replay.answers["cut"], Answered { begun: 6, done: usize::MAX });
        replay.advance(trace.steps.len()).unwrap();
        assert_eq!(replay.answers["cut"], Answered { begun: 6, done: cut_at + 1 });
    }
}
