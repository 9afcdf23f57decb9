//! System calls of a server that fail on demand, below one part of its data directory.

use std::fs::File;
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use harness::expect::not_here;
use harness::program::Program;
use harness::server::ServerOptions;

/// What fails, as the system calls it.
pub const ERRORS: [(&str, i32); 4] =
    [("ENOSPC", libc::ENOSPC), ("EIO", libc::EIO), ("EDQUOT", libc::EDQUOT), ("EROFS", libc::EROFS)];

/// Kinds of calls, which can be added.
pub const WRITES: u32 = 1;
pub const SYNCS: u32 = 2;
pub const ALL: u32 = 7;

/// Where the plan has each of its fields.
const ERROR: u64 = 0;
const KINDS: u64 = 4;
const FIRST: u64 = 8;
const LAST: u64 = 12;
const MADE: u64 = 16;
const BELOW: u64 = 20;

/// The library that a server loads first, and the plan that it follows.
#[derive(Debug)]
pub struct Calls {
    library: PathBuf,
    path: PathBuf,
    plan: File,
}

impl Calls {
    /// Compiles the library. Needs a C compiler, as rustc does.
    pub fn new(folder: &Path) -> anyhow::Result<Self> {
        let (source, library, path) = (folder.join("calls.c"), folder.join("calls.so"), folder.join("plan"));
        std::fs::write(&source, include_str!("calls.c"))?;
        let cc = Program::new("cc", Path::new("/dev/null")).args(["-shared", "-fPIC", "-O1", "-o"]);
        cc.arg(&library)
            .arg(&source)
            .arg("-ldl")
            .run()
            .map_err(|error| not_here(&format!("no C compiler: {error}")))?;
        let plan = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        plan.set_len(8192)?;
        Ok(Calls { library, path, plan })
    }

    /// The options of a server whose calls follow the plan.
    pub fn preloaded(&self, options: ServerOptions) -> ServerOptions {
        let options = options.env("LD_PRELOAD", &self.library.display().to_string());
        options.env("FAILING_CALLS", &self.path.display().to_string())
    }

    /// From now on calls of these kinds below `below` fail, if their number is among `which`. The first one has number 1.
    pub fn fail(&self, below: &Path, error: i32, kinds: u32, which: RangeInclusive<u32>) -> anyhow::Result<()> {
        self.succeed()?;
        let path = below.as_os_str().as_bytes();
        ensure!(path.len() < 4096, "the path is too long for the plan");
        self.plan.write_all_at(&[path, b"\0"].concat(), BELOW)?;
        for (field, value) in [(MADE, 0), (KINDS, kinds), (FIRST, *which.start()), (LAST, *which.end())] {
            self.set(field, value)?;
        }
        self.set(ERROR, u32::try_from(error)?)
    }

    /// No call fails any more.
    pub fn succeed(&self) -> anyhow::Result<()> {
        self.set(ERROR, 0)
    }

    /// The calls that the plan was asked about.
    pub fn made(&self) -> anyhow::Result<u32> {
        let mut bytes = [0; 4];
        self.plan.read_exact_at(&mut bytes, MADE).context("the plan")?;
        Ok(u32::from_ne_bytes(bytes))
    }

    fn set(&self, field: u64, value: u32) -> anyhow::Result<()> {
        self.plan.write_all_at(&value.to_ne_bytes(), field).context("the plan")
    }
}
