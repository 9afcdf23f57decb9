//! Directories as archives, unpacked by the system's own programs.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use harness::expect::{Faults, header, status};

use super::expect::body;
use super::{SurfaceRow, row};
use crate::skynet::site::Site;

pub const ROWS: &[SurfaceRow] = &[
    row("zip, tar and targz hold the files", whole),
    row("an archive of a folder holds that folder", of_a_folder),
    row("concat is all files in a row", concat),
    row("formats in capitals, and of a single file", odd_formats),
    row("an archive of a large directory", large),
];

const FORMATS: [(&str, &str, &str); 3] =
    [("zip", "application/zip", "zip"), ("tar", "application/x-tar", "tar"), ("targz", "application/gzip", "tar.gz")];

fn whole(site: &Site) -> anyhow::Result<()> {
    let text = site.text("whole");
    let files: &[(&str, &[u8])] =
        &[("index.html", b"<p>"), ("a/b c.txt", &text), ("a/Grüße.txt", b"ue"), ("a/empty", b"")];
    let link = site.folder("", files)?.link;
    let mut faults = Faults::default();
    for (format, media_type, extension) in FORMATS {
        let check = || {
            let answer = site.get(link.path(&format!("?format={format}")))?;
            header(answer.expect(200)?, "Content-Type", media_type)?;
            header(&answer, "Content-Disposition", &format!("attachment; filename=\"folder.{extension}\""))?;
            header(&answer, "ETag", &link.etag("/", format))?;
            unpacked(format, &answer.body, files)
        };
        faults.check(format, check());
    }
    faults.finish()
}

/// Unpacks an archive and compares the files.
fn unpacked(format: &str, archive: &[u8], files: &[(&str, &[u8])]) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("archive");
    let into = folder.path().join("into");
    std::fs::write(&path, archive)?;
    std::fs::create_dir(&into)?;
    unpack(format, &path, &into)?;
    let mut found = Vec::new();
    list(&into, &into, &mut found)?;
    let mut wanted: Vec<String> = files.iter().map(|(name, _)| (*name).to_owned()).collect();
    found.sort();
    wanted.sort();
    ensure!(found == wanted, "it holds {found:?}, not {wanted:?}");
    for (name, bytes) in files {
        ensure!(std::fs::read(into.join(name))? == *bytes, "{name} came out as another");
    }
    Ok(())
}

fn unpack(format: &str, archive: &Path, into: &Path) -> anyhow::Result<()> {
    let mut command = if format == "zip" {
        let mut command = Command::new("python3");
        command.args(["-m", "zipfile", "-e"]).arg(archive).arg(into);
        command
    } else {
        let mut command = Command::new("tar");
        command.arg(if format == "tar" { "-xf" } else { "-xzf" }).arg(archive).arg("-C").arg(into);
        command
    };
    let ended = command.env("LC_ALL", "C.UTF-8").output().context("unpack")?;
    ensure!(ended.status.success(), "it does not unpack: {}", String::from_utf8_lossy(&ended.stderr));
    Ok(())
}

fn list(root: &Path, folder: &Path, found: &mut Vec<String>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(root, &path, found)?;
        } else {
            found.push(path.strip_prefix(root)?.to_string_lossy().into_owned());
        }
    }
    Ok(())
}

fn of_a_folder(site: &Site) -> anyhow::Result<()> {
    let text = site.text("folder");
    let link =
        site.folder("", &[("index.html", b"<p>"), ("a/b.txt", &text), ("a/c/d.txt", b"d"), ("ab.txt", b"ab")])?.link;
    let mut faults = Faults::default();
    for (format, _, extension) in FORMATS {
        let check = || {
            let answer = site.get(link.path(&format!("/a?format={format}")))?;
            header(answer.expect(200)?, "Content-Disposition", &format!("attachment; filename=\"a.{extension}\""))?;
            unpacked(format, &answer.body, &[("a/b.txt", &text), ("a/c/d.txt", b"d")])
        };
        faults.check(format, check());
    }
    faults.finish()
}

fn concat(site: &Site) -> anyhow::Result<()> {
    let link = site.folder("", &[("z.txt", b"first "), ("a.txt", b"second "), ("m/n.txt", &site.text("third"))])?.link;
    let answer = site.get(link.path("?format=concat"))?;
    let want = [b"first second ".as_slice(), &site.text("third")].concat();
    body(answer.expect(200)?, &want)?;
    header(&answer, "Content-Disposition", "inline; filename=\"folder\"")
}

fn odd_formats(site: &Site) -> anyhow::Result<()> {
    let link = site.folder("", &[("a.txt", &site.text("a")), ("b.txt", b"b")])?.link;
    header(site.get(link.path("?format=ZIP"))?.expect(200)?, "Content-Type", "application/zip")?;
    let text = site.text("single");
    let link = site.raw("single.txt", &text)?.link;
    body(site.get(link.path("?format=concat"))?.expect(200)?, &text)?;
    // A missing path is not found in any format.
    status(&site.get(link.path("/nope?format=zip"))?, &[404])
}

fn large(site: &Site) -> anyhow::Result<()> {
    let sector = site.profile.sector as usize;
    let one = site.noise("archived", 2 * sector + 100);
    let files: &[(&str, &[u8])] = &[("one.bin", &one), ("two.txt", b"two")];
    let link = site.folder("", files)?.link;
    for (format, ..) in FORMATS {
        unpacked(format, &site.get(link.path(&format!("?format={format}")))?.expect(200)?.body, files)
            .context(format)?;
    }
    Ok(())
}
