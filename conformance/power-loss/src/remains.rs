//! The files that a process left, for the calls that it ended in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The files and directories that a process left, by path. Directories have no content.
#[derive(Debug, Default)]
pub struct Remains(pub(super) BTreeMap<PathBuf, Option<Vec<u8>>>);

impl Remains {
    /// Reads the directory `root`.
    pub fn of(root: &Path) -> anyhow::Result<Self> {
        let mut remains = Remains::default();
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(root.join(&folder))? {
                let entry = entry?;
                let (path, kind) = (folder.join(entry.file_name()), entry.file_type()?);
                if kind.is_dir() {
                    folders.push(path.clone());
                    remains.0.insert(path, None);
                } else if kind.is_file() {
                    remains.0.insert(path, Some(std::fs::read(entry.path())?));
                }
            }
        }
        Ok(remains)
    }

    /// True if the path exists.
    pub fn holds(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }

    /// The content of a file.
    pub fn bytes(&self, path: &Path) -> Option<&[u8]> {
        self.0.get(path)?.as_deref()
    }
}
