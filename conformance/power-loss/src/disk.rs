//! A model of a file system with a page cache: what a program sees, and what a power cut may leave.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, ensure};

use super::fate::Fate;
use super::file::FileData;

pub type Inode = usize;
type Place = (Inode, String);

/// The root directory.
pub const ROOT: Inode = 0;

/// Zero blocks of a file are not written out, since journals reserve megabytes.
const BLOCK: usize = 4096;

#[derive(Debug)]
enum Node {
    Folder,
    File(FileData),
}

/// A change of names. All of it survives, or nothing.
#[derive(Clone, Debug)]
struct NameChange {
    number: usize,
    /// The directory whose sync makes it durable.
    folder: Inode,
    effects: Vec<(Place, Option<Inode>)>,
}

/// The model of a disk.
#[derive(Debug)]
pub struct Disk {
    nodes: Vec<Node>,
    live: HashMap<Place, Inode>,
    /// The target of each name after the worst power cut, with the number of the change behind it.
    durable: HashMap<Place, (Option<Inode>, usize)>,
    pending: Vec<NameChange>,
    next: usize,
}

/// What a sync that begins now will cover.
#[derive(Clone, Copy, Debug)]
pub struct SyncPoint {
    inode: Inode,
    count: usize,
}

impl SyncPoint {
    pub fn inode(self) -> Inode {
        self.inode
    }
}

impl Disk {
    /// A disk with only its root.
    pub fn new() -> Self {
        Disk { nodes: vec![Node::Folder], live: HashMap::new(), durable: HashMap::new(), pending: Vec::new(), next: 1 }
    }

    pub fn lookup(&self, folder: Inode, path: &str) -> Option<Inode> {
        path.split('/').filter(|name| !name.is_empty()).try_fold(folder, |at, name| self.child(at, name))
    }

    pub fn child(&self, folder: Inode, name: &str) -> Option<Inode> {
        self.live.get(&(folder, name.to_owned())).copied()
    }

    /// A path of a file or directory, from the root.
    pub fn path(&self, inode: Inode) -> Option<PathBuf> {
        if inode == ROOT {
            return Some(PathBuf::new());
        }
        let ((folder, name), _) = self.live.iter().find(|(_, target)| **target == inode)?;
        Some(self.path(*folder)?.join(name))
    }

    pub fn file(&mut self, inode: Inode) -> Option<&mut FileData> {
        match self.nodes.get_mut(inode)? {
            Node::File(data) => Some(data),
            Node::Folder => None,
        }
    }

    pub fn is_file(&self, inode: Inode) -> bool {
        matches!(self.nodes[inode], Node::File(_))
    }

    pub fn make_file(&mut self, folder: Inode, name: &str) -> Inode {
        self.make(folder, name, Node::File(FileData::default()))
    }

    pub fn make_folder(&mut self, folder: Inode, name: &str) -> Inode {
        self.make(folder, name, Node::Folder)
    }

    fn make(&mut self, folder: Inode, name: &str, node: Node) -> Inode {
        self.nodes.push(node);
        let inode = self.nodes.len() - 1;
        self.set(folder, vec![((folder, name.to_owned()), Some(inode))]);
        inode
    }

    pub fn link(&mut self, folder: Inode, name: &str, inode: Inode) {
        self.set(folder, vec![((folder, name.to_owned()), Some(inode))]);
    }

    pub fn unlink(&mut self, folder: Inode, name: &str) {
        self.set(folder, vec![((folder, name.to_owned()), None)]);
    }

    /// Renames atomically. Durable with a sync of the target's directory.
    pub fn rename(&mut self, from: Place, to: Place) -> anyhow::Result<()> {
        let inode = *self.live.get(&from).with_context(|| format!("rename of unknown {from:?}"))?;
        self.set(to.0, vec![(from, None), (to, Some(inode))]);
        Ok(())
    }

    fn set(&mut self, folder: Inode, effects: Vec<(Place, Option<Inode>)>) {
        for (place, inode) in &effects {
            match inode {
                Some(inode) => self.live.insert(place.clone(), *inode),
                None => self.live.remove(place),
            };
        }
        self.pending.push(NameChange { number: self.next, folder, effects });
        self.next += 1;
    }

    pub fn begin_sync(&self, inode: Inode) -> SyncPoint {
        let count = match &self.nodes[inode] {
            Node::File(data) => data.changes(),
            Node::Folder => self.next,
        };
        SyncPoint { inode, count }
    }

    pub fn end_sync(&mut self, point: SyncPoint) {
        match &mut self.nodes[point.inode] {
            Node::File(data) => data.settle(point.count),
            Node::Folder => {
                let covered = |change: &NameChange| change.folder == point.inode && change.number < point.count;
                for change in self.pending.iter().filter(|change| covered(change)) {
                    settle(&mut self.durable, change);
                }
                self.pending.retain(|change| !covered(change));
            }
        }
    }

    /// Makes everything durable that existed before the recording.
    #[cfg(test)]
    pub fn settle_all(&mut self) {
        for inode in 0..self.nodes.len() {
            self.end_sync(self.begin_sync(inode));
        }
    }

    /// Writes the remains of a power cut into an empty directory.
    pub fn survive(&self, fate: &Fate, into: &Path) -> anyhow::Result<()> {
        let mut names = self.durable.clone();
        for change in self.pending.iter().filter(|change| fate.name(change.folder, change.number)) {
            settle(&mut names, change);
        }
        let names = names.into_iter().filter_map(|(place, (inode, _))| Some((place, inode?)));
        self.write_tree(names, into, &|inode, data| data.survivor(fate, inode))
    }

    /// Fails unless the directory contains exactly what the program should see.
    pub fn compare(&self, folder: &Path, ignored: &[&str]) -> anyhow::Result<usize> {
        let tree = tree(self.live.clone());
        let mut seen = 0;
        self.compare_folder(&tree, ROOT, folder, ignored, &mut seen)?;
        Ok(seen)
    }

    fn compare_folder(
        &self,
        tree: &BTreeMap<Inode, BTreeMap<String, Inode>>,
        at: Inode,
        folder: &Path,
        ignored: &[&str],
        seen: &mut usize,
    ) -> anyhow::Result<()> {
        let empty = BTreeMap::new();
        let names = tree.get(&at).unwrap_or(&empty);
        for entry in std::fs::read_dir(folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            ensure!(
                names.contains_key(&name) || ignored.contains(&name.as_str()),
                "{} is not in the recording",
                folder.join(&name).display()
            );
        }
        for (name, inode) in names {
            let path = folder.join(name);
            match &self.nodes[*inode] {
                Node::Folder => self.compare_folder(tree, *inode, &path, ignored, seen)?,
                Node::File(data) => {
                    let found = std::fs::read(&path).with_context(|| path.display().to_string())?;
                    ensure!(found == data.cached(), "{} differs from its recording", path.display());
                    *seen += 1;
                }
            }
        }
        Ok(())
    }

    fn write_tree(
        &self,
        names: impl IntoIterator<Item = (Place, Inode)>,
        into: &Path,
        bytes: &dyn Fn(Inode, &FileData) -> Vec<u8>,
    ) -> anyhow::Result<()> {
        let tree = tree(names);
        let mut made: HashMap<Inode, PathBuf> = HashMap::new();
        let mut folders = vec![(ROOT, into.to_owned())];
        while let Some((inode, path)) = folders.pop() {
            std::fs::create_dir_all(&path)?;
            for (name, child) in tree.get(&inode).into_iter().flatten() {
                let target = path.join(name);
                match &self.nodes[*child] {
                    Node::Folder => folders.push((*child, target)),
                    Node::File(_) if made.contains_key(child) => std::fs::hard_link(&made[child], &target)?,
                    Node::File(data) => {
                        write_sparse(&target, &bytes(*child, data))?;
                        made.insert(*child, target);
                    }
                }
            }
        }
        Ok(())
    }
}

/// A later change of a name wins, whenever it became durable.
fn settle(names: &mut HashMap<Place, (Option<Inode>, usize)>, change: &NameChange) {
    for (place, inode) in &change.effects {
        let known = names.entry(place.clone()).or_insert((None, 0));
        if known.1 <= change.number {
            *known = (*inode, change.number);
        }
    }
}

fn tree(names: impl IntoIterator<Item = (Place, Inode)>) -> BTreeMap<Inode, BTreeMap<String, Inode>> {
    let mut tree: BTreeMap<Inode, BTreeMap<String, Inode>> = BTreeMap::new();
    for ((folder, name), inode) in names {
        tree.entry(folder).or_default().insert(name, inode);
    }
    tree
}

fn write_sparse(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut file = std::fs::File::create(path)?;
    for (number, block) in bytes.chunks(BLOCK).enumerate() {
        if block.iter().any(|byte| *byte != 0) {
            file.write_all_at(block, (number * BLOCK) as u64)?;
        }
    }
    file.set_len(bytes.len() as u64)?;
    Ok(file.flush()?)
}

/// The parts of an absolute path below `root`; `None` elsewhere. `..` is not followed.
pub fn below<'a>(root: &Path, path: &'a Path) -> Option<Vec<&'a str>> {
    let rest = path.strip_prefix(root).ok()?;
    rest.components()
        .map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
