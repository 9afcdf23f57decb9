//! Builds base images from this machine's own files, if none can be pulled.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};

use super::engine::Engine;

/// Only the loader and the libraries that the binary needs.
pub const RUNTIME: &str = "skyberth-base:local";
/// This machine's Rust, C compiler and linker, with all crates of the lock file.
pub const BUILD: &str = "skyberth-build:local";
/// Takes the place of the build stage.
pub const BINARY: &str = "skyberth-binary:local";

/// Debian's paths of a C compiler with its needs, and of a shell.
const TOOLCHAIN: [&str; 9] = [
    "bin",
    "lib",
    "lib64",
    "usr/bin",
    "usr/include",
    "usr/lib64",
    "usr/lib/gcc",
    "usr/lib/x86_64-linux-gnu",
    "etc/alternatives",
];
/// Gigabytes are copied.
const LONG: Duration = Duration::from_mins(10);

/// Makes the base images of the other stages.
pub fn import(engine: &Engine, binary: &Path) -> anyhow::Result<()> {
    let runtime = engine.folder("base")?;
    for library in libraries(engine, binary)? {
        let target = runtime.join(library.strip_prefix("/")?);
        fs::create_dir_all(target.parent().context("a library lies in a directory")?)?;
        fs::copy(&library, &target).with_context(|| library.display().to_string())?;
    }
    fs::create_dir_all(runtime.join("etc"))?;
    fs::write(runtime.join("etc/passwd"), "root:x:0:0:root:/:/none\n")?;
    engine.import(&runtime, RUNTIME)?;

    let out = engine.folder("binary")?;
    let (data, bin) = (out.join("out/var/lib/skyberth"), out.join("out/usr/local/bin"));
    fs::create_dir_all(&data)?;
    fs::set_permissions(&data, fs::Permissions::from_mode(0o770))?;
    fs::create_dir_all(&bin)?;
    fs::copy(binary, bin.join("skyberth"))?;
    fs::set_permissions(bin.join("skyberth"), fs::Permissions::from_mode(0o755))?;
    engine.import(&out, BINARY)
}

/// Makes the base image of the build stage. Builds on it need no network.
pub fn import_toolchain(engine: &Engine, context: &Path) -> anyhow::Result<()> {
    let sysroot = engine.program("rustc")?.args(["--print", "sysroot"]).folder(context).run()?.text();
    let folder = engine.folder("toolchain")?;
    let manifest = std::path::absolute(context)?.join("Cargo.toml");
    let fetch = engine.program("cargo")?.args(["fetch", "--locked", "--manifest-path"]).arg(&manifest);
    fetch.folder(context).env("CARGO_HOME", folder.join("cargo")).run()?;
    let archive = folder.join("base.tar");
    let tar = engine.program("tar")?.args(["--owner=0", "--group=0", "-cf"]).arg(&archive);
    let tar = tar.arg("--exclude=share/doc").arg("-C").arg("/").args(TOOLCHAIN).arg(sysroot.trim_start_matches('/'));
    tar.arg("-C").arg(&folder).arg("cargo").limit(LONG).run()?;
    let path = format!("ENV PATH={sysroot}/bin:/usr/bin");
    let changes = [&path, "ENV CARGO_HOME=/cargo", "ENV CARGO_NET_OFFLINE=true"];
    let import = engine.docker()?.arg("import").args(changes.iter().flat_map(|change| ["--change", change]));
    import.arg(&archive).arg(BUILD).limit(LONG).run()?;
    Ok(fs::remove_dir_all(folder)?)
}

/// Paths of the loader and of all libraries that it would load.
fn libraries(engine: &Engine, binary: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let said = engine.program("ldd")?.arg(std::path::absolute(binary)?).run()?.text();
    let libraries = paths(&said);
    ensure!(!libraries.is_empty(), "ldd named no library: {said}");
    Ok(libraries)
}

/// Parses `libc.so.6 => /lib/.../libc.so.6 (0x...)` and `/lib64/ld-linux-x86-64.so.2 (0x...)`.
fn paths(said: &str) -> Vec<PathBuf> {
    let word = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    said.lines().filter_map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_ldd_are_read() {
        let said = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x2)\n\t/lib64/ld.so.2 (0x3)\n";
        assert_eq!(paths(said), [PathBuf::from("/lib/x/libc.so.6"), PathBuf::from("/lib64/ld.so.2")]);
    }
}
