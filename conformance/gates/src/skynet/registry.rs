//! Registries that store to the real skyd network: pushed content is placed there, and pulled when nothing is local.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use harness::expect::not_here;
use harness::layout::{self, Image};
use harness::program::Program;
use harness::server::{Server, ServerOptions};
use harness::surroundings::storing_to;
use harness::verify;
use harness::{local, status};

use super::Suite;
use super::link::Link;
use super::network::Network;
use super::site::Profile;

/// Less and more than a base sector of the network, and a dozen of its chunks. It has no memory for much more.
const LAYERS: [u64; 3] = [1000, 20_000, 50_000];

/// Longest time for its hosts to store all content of an image on a busy machine.
const PATIENCE: Duration = Duration::from_mins(5);

/// How a registry reaches skyd.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Through its own API, with the password.
    Bare,
    /// Through the usual front of portals, which adds agent, password, names and limits.
    Front,
}

#[derive(Clone, Copy, Debug)]
enum Client {
    Skopeo,
    Crane,
}

/// The registry under judgement, and the client that pushes to it.
struct Setting<'a> {
    suite: &'a Suite,
    client: Client,
    name: String,
    folder: PathBuf,
    options: ServerOptions,
}

/// Does nothing without a real network, since its rows are not about portals.
pub fn run(suite: &mut Suite) -> anyhow::Result<()> {
    if suite.network().is_none() {
        return Ok(());
    }
    for (way, through) in [(Way::Bare, "bare"), (Way::Front, "behind the front")] {
        for client in [Client::Skopeo, Client::Crane] {
            let row = format!("registry: on skyd {through}: {client:?} pushes, and pulls cold");
            suite.row(&row.to_lowercase(), |suite| Setting::new(suite, way, client)?.there_and_back());
        }
    }
    Ok(())
}

fn settings(network: &Network, way: Way) -> Vec<(String, String)> {
    let setting = |key: &str, value: String| (format!("SKYBERTH_STORAGE_SKYNET_{key}"), value);
    let url = match way {
        Way::Bare => network.api(),
        Way::Front => format!("http://{}", network.target().authority()),
    };
    let mut settings = storing_to(&[url], 1);
    // It forgets uploads after ten seconds, on a busy machine even while it works on them. So they go one by one.
    settings.push(("SKYBERTH_STORAGE_TRANSFERS".to_owned(), "1".to_owned()));
    settings.push(setting("PROFILE", Profile::TESTING.to_string()));
    if let Way::Bare = way {
        settings.push(setting("SKYD_PASSWORD", network.password().to_owned()));
    }
    settings
}

impl<'a> Setting<'a> {
    fn new(suite: &'a Suite, way: Way, client: Client) -> anyhow::Result<Self> {
        let binary = suite.registry.as_deref().ok_or_else(|| not_here("needs a registry: --registry"))?;
        let network = suite.network().context("no network")?;
        let name = format!("registry-{way:?}-{client:?}").to_lowercase();
        let folder = suite.scratch.join(&name);
        let mut options = ServerOptions::new(binary, &folder)?.envs(&settings(network, way));
        options.log = suite.reports.join(format!("{name}.log"));
        Ok(Setting { suite, client, name, folder, options })
    }

    fn there_and_back(&self) -> anyhow::Result<()> {
        let image = layout::image(&self.folder.join("fixture"), &self.name, &LAYERS)?;
        let server = self.options.start().context("start the registry")?;
        let (target, tag) = (server.target(), format!("{}/skyd/image:v1", server.target().authority()));
        self.push(&image, &tag)?;
        status::wait_placed(&target, PATIENCE)?;
        self.is_at_skylinks(&image).context("what `ls` says")?;
        let server = self.make_cold(server)?;
        let pulled = self.pull(&tag).context("cold")?;
        verify::layout_holds(&pulled, &image)?;
        verify::registry_holds(&target, "skyd/image", "v1", &image)?;
        drop(server);
        Ok(())
    }

    /// `kill -9`, deletes all content files, and starts again.
    fn make_cold(&self, server: Server) -> anyhow::Result<Server> {
        server.kill()?;
        local::delete_all(&self.options.data)?;
        let here = local::content_bytes(&self.options.data)?;
        ensure!(here == 0, "{here} bytes of content are local, so nothing is cold");
        self.options.start().context("without local content")
    }

    /// Expects each content of the image at the skylink that the registry names, when requested from skyd itself.
    fn is_at_skylinks(&self, image: &Image) -> anyhow::Result<()> {
        let list = Program::new(&self.options.binary, &self.suite.reports.join("registry-ls.log"));
        let list = list.args(["ls", &format!("skyd/image@{}", image.digest), "--data"]).arg(&self.options.data);
        let list = self.options.env.iter().fold(list, |list, (key, value)| list.env(key, value));
        let said = list.run()?.text();
        let mut lines = said.lines().peekable();
        let mut found = 0;
        while let Some(line) = lines.next() {
            let Some(digest) = line.split('\t').next().filter(|word| word.starts_with("sha256:")) else { continue };
            let place = lines.peek().with_context(|| format!("no place of {digest} in {said}"))?;
            let word = place.split_whitespace().find(|word| Link::parse(word).is_ok());
            let skylink = word.with_context(|| format!("no skylink in {place:?}"))?;
            let answer = self.suite.site.get(format!("/{skylink}"))?;
            ensure!(harness::site::sha256(&answer.expect(200)?.body) == digest, "{skylink} is not {digest} at skyd");
            found += 1;
        }
        ensure!(found == image.digests().len(), "{found} of {} contents: {said}", image.digests().len());
        Ok(())
    }

    fn skopeo_copy(&self, plain: &str, from: &str, to: &str) -> anyhow::Result<Program> {
        Ok(self.program("skopeo")?.args(["--insecure-policy", "copy", "--preserve-digests", plain, from, to]))
    }

    fn push(&self, image: &Image, reference: &str) -> anyhow::Result<()> {
        let program = match self.client {
            Client::Skopeo => self.skopeo_copy(
                "--dest-tls-verify=false",
                &format!("oci:{}:image", image.layout.display()),
                &format!("docker://{reference}"),
            )?,
            Client::Crane => self.program("crane")?.arg("push").arg(&image.layout).arg(reference),
        };
        program.run().map(drop)
    }

    /// Pulls into a new layout.
    fn pull(&self, reference: &str) -> anyhow::Result<PathBuf> {
        let into = self.folder.join("pulled");
        let program = match self.client {
            Client::Skopeo => self.skopeo_copy(
                "--src-tls-verify=false",
                &format!("docker://{reference}"),
                &format!("oci:{}:image", into.display()),
            )?,
            Client::Crane => self.program("crane")?.args(["pull", "--format=oci", reference]).arg(&into),
        };
        program.run()?;
        Ok(into)
    }

    /// A program with its own home directory, without the user's credentials and configuration.
    fn program(&self, name: &str) -> anyhow::Result<Program> {
        let path = self.suite.tools.program(name)?;
        Ok(Program::new(path, &self.suite.reports.join("registry-clients.log"))
            .folder(&self.folder)
            .env("HOME", &self.folder)
            .env("XDG_RUNTIME_DIR", &self.folder)
            .env("DOCKER_CONFIG", &self.folder)
            .limit(PATIENCE))
    }
}
