//! One round: every server starts with empty directories, then each operation is measured on one server after another.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, anyhow, ensure};
use harness::client::Connection;
use harness::site::sha256;

use super::contender::{Contender, Entry};
use super::content::{LargeBlob, SMALL, SmallImage};
use super::distance::{Link, pull_over_http2, push_over_http2};
use super::figures::{Figures, Meaning};
use super::load::{CONNECTIONS, Load};
use super::push::{Way, push_image, push_large};
use super::wire::{Encoded, Wire};
use super::{Group, Plan};

const GIB: f64 = (1024 * 1024 * 1024) as f64;
const LARGE: &str = "bench/large";
const SMALL_REPOSITORY: &str = "bench/small";
const TAG: &str = "latest";

/// Blocks of the blob that is pushed from afar, at most.
const AFAR: usize = 8;

/// Makes all pushed content unique.
static SEED: AtomicU64 = AtomicU64::new(1);

/// The content of every server before the pulls.
struct Seeded {
    large: LargeBlob,
    small: SmallImage,
}

/// The state of a round, and the destination of its results.
pub(super) struct Round<'a> {
    pub(super) plan: &'a Plan,
    pub(super) figures: &'a mut Figures,
    /// Rotates the order of servers, so that none always follows the same one.
    pub(super) number: usize,
    pub(super) folder: &'a Path,
}

impl Round<'_> {
    pub(super) fn run(&mut self, entries: &[Entry]) -> anyhow::Result<()> {
        let mut contenders = Vec::new();
        for index in 0..entries.len() {
            let entry = &entries[(index + self.number) % entries.len()];
            contenders.push(entry.start(&self.folder.join(entry.name))?);
        }
        for contender in &contenders {
            self.figures.record(
                Meaning::less("start to first 200", "ms"),
                contender.name,
                contender.start.as_secs_f64() * 1e3,
            );
            self.figures.record(Meaning::less("memory idle (RSS)", "MiB"), contender.name, contender.memory()?.now);
        }
        if self.plan.has(Group::Push) {
            self.synced_write()?;
            for (name, way) in [("PUT", Way::Put), ("PATCH stream", Way::Stream), ("16 MiB chunks", Way::Chunks)] {
                self.pushes(&contenders, name, way)?;
            }
            self.push_from_afar(&contenders)?;
        }
        if self.plan.has(Group::Pull) || self.plan.has(Group::Requests) {
            let seeded = self.seed(&contenders)?;
            self.after_seeding(&contenders, &seeded)?;
        }
        if self.plan.has(Group::Images) {
            self.images(&contenders, "one after the other", 1)?;
            self.images(&contenders, "8 at a time", CONNECTIONS)?;
        }
        for contender in &contenders {
            self.figures.record(Meaning::less("memory peak (RSS)", "MiB"), contender.name, contender.memory()?.peak);
        }
        Ok(())
    }

    fn after_seeding(&mut self, contenders: &[Contender], seeded: &Seeded) -> anyhow::Result<()> {
        if self.plan.has(Group::Pull) {
            for contender in contenders {
                self.pull(contender, &seeded.large, 1)?;
            }
            for contender in contenders {
                self.pull(contender, &seeded.large, 4)?;
            }
            for contender in contenders.iter().filter(|contender| contender.speaks_http2) {
                self.pull_over_http2(contender, &seeded.large)?;
            }
        }
        if self.plan.has(Group::Requests) {
            self.requests(contenders, &seeded.small)?;
        }
        Ok(())
    }

    /// Measures the disk by writing and syncing the same bytes directly.
    fn synced_write(&mut self) -> anyhow::Result<()> {
        let blob = self.new_blob();
        settle(self.folder)?;
        let path = self.folder.join("reference");
        let started = Instant::now();
        let mut file = std::fs::File::create(&path)?;
        for _ in 0..blob.blocks {
            std::io::Write::write_all(&mut file, &blob.block)?;
        }
        file.sync_data()?;
        let seconds = started.elapsed().as_secs_f64();
        std::fs::remove_file(&path)?;
        let meaning = Meaning::less("push of a blob, PUT, wall", "s/GiB");
        self.figures.record(meaning, super::REFERENCE, seconds / (blob.length() as f64 / GIB));
        Ok(())
    }

    /// HTTP/2 limits the bytes in flight by its windows, so a push over a long way shows these.
    fn push_from_afar(&mut self, contenders: &[Contender]) -> anyhow::Result<()> {
        let blob = LargeBlob::new(SEED.fetch_add(1, Ordering::Relaxed), self.plan.blocks.min(AFAR));
        let file = self.folder.join("afar");
        std::fs::write(&file, blob.block.repeat(blob.blocks))?;
        for contender in contenders.iter().filter(|contender| contender.speaks_http2) {
            let link = Link::to(&contender.target)?;
            settle(self.folder)?;
            let (wall, _, ()) = measure(contender, || push_over_http2(&contender.target, &link, &blob, &file))
                .with_context(|| format!("push to {} over HTTP/2 from afar", contender.name))?;
            let gibibytes = blob.length() as f64 / GIB;
            self.record(contender, "push of a blob, HTTP/2 at 60 ms, wall".into(), "s/GiB", wall / gibibytes);
        }
        std::fs::remove_file(&file)?;
        Ok(())
    }

    fn pushes(&mut self, contenders: &[Contender], name: &str, way: Way) -> anyhow::Result<()> {
        let blob = self.new_blob();
        let gibibytes = blob.length() as f64 / GIB;
        for contender in contenders.iter().filter(|contender| contender.can_push) {
            settle(self.folder)?;
            let (wall, cpu, ()) = measure(contender, || push_large(&contender.target, LARGE, &blob, way))
                .with_context(|| format!("push to {} by {name}", contender.name))?;
            self.record(contender, format!("push of a blob, {name}, CPU"), "s/GiB", cpu / gibibytes);
            self.record(contender, format!("push of a blob, {name}, wall"), "s/GiB", wall / gibibytes);
        }
        Ok(())
    }

    /// Pushes the same large blob and small image to all servers, and checks that they return byte for byte.
    fn seed(&self, contenders: &[Contender]) -> anyhow::Result<Seeded> {
        let seeded = Seeded { large: self.new_blob(), small: new_image() };
        for contender in contenders {
            if contender.can_push {
                push_large(&contender.target, LARGE, &seeded.large, Way::Put)?;
                let mut connection = Connection::open(&contender.target)?;
                push_image(&mut connection, SMALL_REPOSITORY, TAG, &seeded.small)?;
            } else {
                seed_files(contender, &seeded)?;
            }
            let (mut offset, mut same) = (0, true);
            let request = Encoded::new(&contender.target, "GET", &blob_path(LARGE, &seeded.large.digest));
            Wire::open(&contender.target)?.exchange(&request, |piece| {
                same = same && seeded.large.matches(offset, piece);
                offset += piece.len() as u64;
            })?;
            ensure!(same && offset == seeded.large.length(), "{} gave back other bytes", contender.name);
        }
        settle(self.folder)?;
        Ok(seeded)
    }

    fn pull(&mut self, contender: &Contender, blob: &LargeBlob, streams: usize) -> anyhow::Result<()> {
        let request = Encoded::new(&contender.target, "GET", &blob_path(LARGE, &blob.digest));
        let each = (self.plan.pulls / streams).max(1);
        let (wall, cpu, ()) = measure(contender, || {
            in_parallel(streams, |_| {
                let mut wire = Wire::open(&contender.target)?;
                for _ in 0..each {
                    let answer = wire.exchange(&request, |_| ())?;
                    ensure!(answer.status == 200 && answer.body == blob.length(), "pull: {answer:?}");
                }
                Ok(())
            })
        })
        .with_context(|| format!("pull from {}", contender.name))?;
        let gibibytes = (blob.length() * (each * streams) as u64) as f64 / GIB;
        let name = if streams == 1 { "1 stream".to_owned() } else { format!("{streams} streams") };
        self.record(contender, format!("pull of a blob, {name}, CPU"), "s/GiB", cpu / gibibytes);
        self.record(contender, format!("pull of a blob, {name}, wall"), "s/GiB", wall / gibibytes);
        Ok(())
    }

    fn pull_over_http2(&mut self, contender: &Contender, blob: &LargeBlob) -> anyhow::Result<()> {
        let (path, pulls) = (blob_path(LARGE, &blob.digest), self.plan.pulls);
        let (wall, cpu, ()) = measure(contender, || {
            (0..pulls).try_for_each(|_| pull_over_http2(&contender.target, &path, blob.length()))
        })
        .with_context(|| format!("pull from {} over HTTP/2", contender.name))?;
        let gibibytes = (blob.length() * pulls as u64) as f64 / GIB;
        self.record(contender, "HTTP/2 pull of a blob, CPU".into(), "s/GiB", cpu / gibibytes);
        self.record(contender, "HTTP/2 pull of a blob, wall".into(), "s/GiB", wall / gibibytes);
        Ok(())
    }

    fn requests(&mut self, contenders: &[Contender], image: &SmallImage) -> anyhow::Result<()> {
        let manifest = format!("/v2/{SMALL_REPOSITORY}/manifests/");
        let layer = blob_path(SMALL_REPOSITORY, &sha256(&image.layer));
        let length = image.manifest.len() as u64;
        let loads = [
            ("manifest GET by tag", "GET", format!("{manifest}{TAG}"), length),
            ("manifest GET by digest", "GET", format!("{manifest}{}", sha256(&image.manifest)), length),
            ("blob HEAD", "HEAD", layer.clone(), 0),
            ("blob GET, 4 KiB", "GET", layer, SMALL as u64),
        ];
        for (name, method, path, body) in loads {
            for contender in contenders {
                self.load(contender, name, &Encoded::new(&contender.target, method, &path), body)?;
            }
        }
        Ok(())
    }

    fn load(&mut self, contender: &Contender, name: &str, request: &Encoded, body: u64) -> anyhow::Result<()> {
        // A HEAD answer has no body, whatever length it states.
        let run = |requests| Load::run(&contender.target, request, requests, body);
        run(self.plan.requests / 20).with_context(|| format!("{name} from {}", contender.name))?;
        let (_, cpu, load) = measure(contender, || run(self.plan.requests))?;
        self.figures.record(Meaning::more(name, "req/s"), contender.name, load.rate());
        self.record(contender, format!("{name}, CPU"), "µs/req", cpu / load.requests as f64 * 1e6);
        self.record(contender, format!("{name}, p50"), "ms", load.latency(500));
        self.record(contender, format!("{name}, p99"), "ms", load.latency(990));
        Ok(())
    }

    fn images(&mut self, contenders: &[Contender], name: &str, ways: usize) -> anyhow::Result<()> {
        let each = self.plan.images.div_ceil(ways);
        for contender in contenders.iter().filter(|contender| contender.can_push) {
            let images: Vec<SmallImage> = (0..each * ways).map(|_| new_image()).collect();
            settle(self.folder)?;
            let (wall, cpu, ()) = measure(contender, || {
                in_parallel(ways, |way| {
                    let mut connection = Connection::open(&contender.target)?;
                    let repository = format!("bench/images-{ways}-{way}");
                    for (index, image) in images[way * each..(way + 1) * each].iter().enumerate() {
                        push_image(&mut connection, &repository, &format!("v{index}"), image)?;
                    }
                    Ok(())
                })
            })
            .with_context(|| format!("push of small images to {}", contender.name))?;
            let count = images.len() as f64;
            self.figures.record(
                Meaning::more(format!("small images, {name}"), "images/s"),
                contender.name,
                count / wall,
            );
            self.record(contender, format!("small images, {name}, CPU"), "ms/image", cpu / count * 1e3);
        }
        Ok(())
    }

    fn record(&mut self, contender: &Contender, name: String, unit: &'static str, value: f64) {
        self.figures.record(Meaning::less(name, unit), contender.name, value);
    }

    fn new_blob(&self) -> LargeBlob {
        LargeBlob::new(SEED.fetch_add(1, Ordering::Relaxed), self.plan.blocks)
    }
}

fn new_image() -> SmallImage {
    SmallImage::new(SEED.fetch_add(1, Ordering::Relaxed))
}

fn blob_path(repository: &str, digest: &str) -> String {
    format!("/v2/{repository}/blobs/{digest}")
}

/// Writes the same content as files.
fn seed_files(contender: &Contender, seeded: &Seeded) -> anyhow::Result<()> {
    let write = |path: String, pieces: &mut dyn Iterator<Item = &[u8]>| -> anyhow::Result<()> {
        let file = contender.served_file(&path);
        std::fs::create_dir_all(file.parent().context("a path has a folder")?)?;
        let mut file = std::fs::File::create(file)?;
        for piece in pieces {
            std::io::Write::write_all(&mut file, piece)?;
        }
        Ok(())
    };
    let (large, small) = (&seeded.large, &seeded.small);
    write(blob_path(LARGE, &large.digest), &mut (0..large.blocks).map(|_| &large.block[..]))?;
    write(blob_path(SMALL_REPOSITORY, &sha256(&small.layer)), &mut std::iter::once(&small.layer[..]))?;
    for reference in [TAG.to_owned(), sha256(&small.manifest)] {
        let path = format!("/v2/{SMALL_REPOSITORY}/manifests/{reference}");
        write(path, &mut std::iter::once(&small.manifest[..]))?;
    }
    Ok(())
}

/// Wall seconds, the server's CPU seconds, and the result of `work`.
fn measure<T>(contender: &Contender, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(f64, f64, T)> {
    let before = contender.cpu_seconds()?;
    let started = Instant::now();
    let result = work()?;
    let wall = started.elapsed().as_secs_f64();
    Ok((wall, contender.cpu_seconds()? - before, result))
}

fn in_parallel(count: usize, work: impl Fn(usize) -> anyhow::Result<()> + Sync) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..count).map(|index| scope.spawn(move || work(index))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?)
    })
}

/// Writes out dirty pages, so that no server pays for those of another.
fn settle(folder: &Path) -> anyhow::Result<()> {
    let status = std::process::Command::new("sync").arg("-f").arg(folder).status().context("run sync")?;
    ensure!(status.success(), "sync: {status}");
    Ok(())
}
