//! Real clients, each with its own folder of logins: login, push, pull, delete, copy.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use harness::layout::Image;
use harness::program::{Ended, Program, find};

/// Longest time of one command.
const LIMIT: Duration = Duration::from_mins(3);

/// The kind of client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Crane,
    Skopeo,
    Oras,
    Regctl,
    Podman,
}

pub const ALL: [Kind; 5] = [Kind::Crane, Kind::Skopeo, Kind::Oras, Kind::Regctl, Kind::Podman];

/// A client with a folder of its own, so that it has only the login that it is given.
#[derive(Debug)]
pub struct Client<'a> {
    kind: Kind,
    tools: &'a Path,
    folder: PathBuf,
    registry: String,
}

impl<'a> Client<'a> {
    pub fn new(kind: Kind, tools: &'a Path, folder: &Path, registry: &str) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder.join(".docker"))?;
        std::fs::write(folder.join(".docker/config.json"), "{}")?;
        let client = Client { kind, tools, folder: folder.to_owned(), registry: registry.to_owned() };
        if kind == Kind::Regctl {
            client.program()?.args(["registry", "set", "--tls", "disabled", registry]).run()?;
        }
        Ok(client)
    }

    /// A client of this kind for a registry at another address. It has its own folder.
    pub fn at(&self, folder: &Path, registry: &str) -> anyhow::Result<Self> {
        Client::new(self.kind, self.tools, folder, registry)
    }

    /// The folder of the programs.
    pub fn tools(&self) -> &'a Path {
        self.tools
    }

    fn program(&self) -> anyhow::Result<Program> {
        let name = match self.kind {
            Kind::Crane => "crane",
            Kind::Skopeo => "skopeo",
            Kind::Oras => "oras",
            Kind::Regctl => "regctl",
            Kind::Podman => "podman",
        };
        let logins = self.folder.join(".docker");
        let program = Program::new(find(name, self.tools)?, &self.folder.join("client.log")).limit(LIMIT);
        let program = program.env("HOME", &self.folder).env("DOCKER_CONFIG", &logins);
        let program = program.env("REGISTRY_AUTH_FILE", logins.join("config.json"));
        Ok(match self.kind {
            Kind::Podman => program
                .args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"])
                .arg("--root")
                .arg(self.folder.join("root"))
                .arg("--runroot")
                .arg(self.folder.join("run")),
            _ => program,
        })
    }

    pub fn log_in(&self, name: &str, password: &str) -> anyhow::Result<Ended> {
        let words: &[&str] = match self.kind {
            Kind::Crane => &["auth", "login"],
            Kind::Skopeo | Kind::Podman => &["login", "--tls-verify=false"],
            Kind::Oras => &["login", "--plain-http"],
            Kind::Regctl => &["registry", "login"],
        };
        let (user, word) = if self.kind == Kind::Regctl { ("--user", "--pass") } else { ("--username", "--password") };
        self.program()?.args(words).args([user, name, word, password, &self.registry]).run_any()
    }

    fn reference(&self, name: &str) -> String {
        format!("{}/{name}:v1", self.registry)
    }

    /// Pushes an image as NAME:v1.
    pub fn push(&self, image: &Image, name: &str) -> anyhow::Result<Ended> {
        let (layout, to) = (image.layout.display(), self.reference(name));
        match self.kind {
            Kind::Crane => self.program()?.arg("push").arg(&image.layout).arg(to).run_any(),
            Kind::Skopeo => self.skopeo("copy", &[&format!("oci:{layout}:image"), &format!("docker://{to}")]),
            Kind::Oras => {
                let from = format!("{layout}:image");
                self.program()?.args(["cp", "--to-plain-http", "--from-oci-layout", &from, &to]).run_any()
            }
            Kind::Regctl => self.program()?.args(["image", "copy", &format!("ocidir://{layout}:image"), &to]).run_any(),
            Kind::Podman => {
                let archive = self.folder.join("load.tar");
                image.docker_archive(&archive, &to)?;
                self.program()?.args(["load", "--quiet", "--input"]).arg(&archive).run()?;
                self.program()?.args(["push", "--tls-verify=false", &to]).run_any()
            }
        }
    }

    /// Pulls NAME:v1 into an empty folder.
    pub fn pull(&self, name: &str) -> anyhow::Result<Ended> {
        let from = self.reference(name);
        let into = tempfile::tempdir_in(&self.folder)?;
        let into = into.path().join("pulled");
        match self.kind {
            Kind::Crane => self.program()?.args(["pull", "--format=oci", &from]).arg(&into).run_any(),
            Kind::Skopeo => {
                self.skopeo("copy", &[&format!("docker://{from}"), &format!("oci:{}:image", into.display())])
            }
            Kind::Oras => {
                let to = format!("{}:image", into.display());
                self.program()?.args(["cp", "--from-plain-http", "--to-oci-layout", &from, &to]).run_any()
            }
            Kind::Regctl => {
                let to = format!("ocidir://{}:image", into.display());
                self.program()?.args(["image", "copy", &from, &to]).run_any()
            }
            Kind::Podman => self.program()?.args(["pull", "--quiet", "--tls-verify=false", &from]).run_any(),
        }
    }

    /// Deletes NAME:v1 and its manifest, if this client can.
    pub fn delete(&self, name: &str, digest: &str) -> anyhow::Result<Option<Ended>> {
        let pinned = format!("{}/{name}@{digest}", self.registry);
        Ok(Some(match self.kind {
            Kind::Crane => self.program()?.args(["delete", &pinned]).run_any()?,
            Kind::Skopeo => self.skopeo("delete", &[&format!("docker://{}", self.reference(name))])?,
            Kind::Oras => self.program()?.args(["manifest", "delete", "--force", "--plain-http", &pinned]).run_any()?,
            Kind::Regctl => self.program()?.args(["manifest", "delete", &pinned]).run_any()?,
            Kind::Podman => return Ok(None),
        }))
    }

    /// Copies within the registry, if this client can. Clients mount blobs where they may.
    pub fn copy(&self, from: &str, to: &str) -> anyhow::Result<Option<Ended>> {
        let (from, to) = (self.reference(from), self.reference(to));
        Ok(Some(match self.kind {
            Kind::Crane => self.program()?.args(["copy", &from, &to]).run_any()?,
            Kind::Skopeo => self.skopeo("copy", &[&format!("docker://{from}"), &format!("docker://{to}")])?,
            Kind::Oras => self.program()?.args(["cp", "--from-plain-http", "--to-plain-http", &from, &to]).run_any()?,
            Kind::Regctl => self.program()?.args(["image", "copy", &from, &to]).run_any()?,
            Kind::Podman => return Ok(None),
        }))
    }

    fn skopeo(&self, what: &str, places: &[&str]) -> anyhow::Result<Ended> {
        let options: &[&str] = match what {
            "copy" => &["--src-tls-verify=false", "--dest-tls-verify=false", "--preserve-digests"],
            _ => &["--tls-verify=false"],
        };
        let program = self.program()?.args(["--insecure-policy", what]).args(options).args(places);
        program.run_any().with_context(|| format!("skopeo {what}"))
    }
}
