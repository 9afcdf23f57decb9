//! Calls that a process ended in. Their recording has no result, so what they did is read from what is left on the disk.

use std::path::PathBuf;

use super::recording::Recording;
use super::remains::Remains;
use super::replay::{Replay, Syncs};
use super::trace::{Call, Step, Trace};

/// Gives each interrupted call that had an effect the result and the end which strace could not see.
pub fn settle(recording: &mut Recording) -> anyhow::Result<()> {
    for (life, remains) in recording.remains.iter().enumerate() {
        let end = end_of(&recording.trace, life);
        let mut replay = super::start(recording, Syncs::All);
        replay.advance(end)?;
        let results = results(&mut replay, &recording.trace, remains);
        give(&mut recording.trace, end, &results);
    }
    recording.remains.clear();
    Ok(())
}

/// The number of steps up to the end of a life.
fn end_of(trace: &Trace, life: usize) -> usize {
    let mut begins = trace.steps.iter().enumerate().filter(|(_, step)| **step == Step::NewLife).map(|(at, _)| at);
    begins.nth(life + 1).unwrap_or(trace.steps.len())
}

fn results(replay: &mut Replay<'_>, trace: &Trace, remains: &Remains) -> Vec<(usize, i64)> {
    let calls = std::mem::take(&mut replay.interrupted);
    let result = |(number, on)| Some((number, result(replay, &trace.calls[number], on, remains)?));
    calls.into_iter().filter_map(result).collect()
}

fn give(trace: &mut Trace, end: usize, results: &[(usize, i64)]) {
    let ended = |number| trace.steps[..end].contains(&Step::End(number));
    let ends: Vec<Step> =
        results.iter().filter(|(number, _)| !ended(*number)).map(|(number, _)| Step::End(*number)).collect();
    trace.steps.splice(end..end, ends);
    for (number, result) in results {
        trace.calls[*number].result = Some(*result);
    }
}

/// The result that a call must have had. `None` if it had no effect.
fn result(replay: &mut Replay<'_>, call: &Call, on: Option<usize>, remains: &Remains) -> Option<i64> {
    let done = |done: bool| done.then_some(0);
    match call.name.as_str() {
        "open" | "openat" | "creat" => {
            let at = call.name == "openat";
            let creates = call.name == "creat" || call.arg(if at { 2 } else { 1 }).ok()?.contains("O_CREAT");
            let (path, known) = named(replay, call, at.then_some(0), usize::from(at))?;
            done(creates && !known && remains.holds(&path))
        }
        "mkdir" | "mkdirat" => {
            let at = call.name == "mkdirat";
            let (path, known) = named(replay, call, at.then_some(0), usize::from(at))?;
            done(!known && remains.holds(&path))
        }
        "unlink" | "unlinkat" | "rmdir" => {
            let at = call.name == "unlinkat";
            let (path, known) = named(replay, call, at.then_some(0), usize::from(at))?;
            done(known && !remains.holds(&path))
        }
        "rename" | "renameat" | "renameat2" => {
            let at = call.name != "rename";
            let (from, known) = named(replay, call, at.then_some(0), usize::from(at))?;
            done(known && !remains.holds(&from))
        }
        "link" | "linkat" => {
            let at = call.name == "linkat";
            let (to, known) = named(replay, call, at.then_some(2), if at { 3 } else { 1 })?;
            done(!known && remains.holds(&to))
        }
        "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" => written(replay, call, on?, remains),
        "ftruncate" => {
            let (left, _) = left(replay, on?, remains)?;
            done(i64::try_from(left.len()).ok()? == call.number(1).ok()?)
        }
        "fallocate" => {
            let (left, _) = left(replay, on?, remains)?;
            let to = call.number(2).ok()? + call.number(3).ok()?;
            done(call.arg(1).ok()? == "0" && i64::try_from(left.len()).ok()? >= to)
        }
        _ => None,
    }
}

/// The path from the root that a call names, and whether the model has it.
fn named(replay: &Replay<'_>, call: &Call, folder: Option<usize>, path: usize) -> Option<(PathBuf, bool)> {
    let (folder, name) = replay.place(call, folder, path).ok()??;
    let known = replay.disk.child(folder, &name).is_some();
    Some((replay.disk.path(folder)?.join(name), known))
}

/// What is left of the file of a description, and where `write` would write in it.
fn left<'a>(replay: &mut Replay<'_>, description: usize, remains: &'a Remains) -> Option<(&'a [u8], usize)> {
    let (inode, offset) = replay.position(description)?;
    Some((remains.bytes(&replay.disk.path(inode)?)?, offset))
}

/// The number of bytes that reached the file. A signal may end a write in the middle.
fn written(replay: &mut Replay<'_>, call: &Call, description: usize, remains: &Remains) -> Option<i64> {
    let (left, offset) = left(replay, description, remains)?;
    let offset = match call.name.as_str() {
        "write" | "writev" => offset,
        _ => usize::try_from(call.number(3).ok()?).ok()?,
    };
    let bytes = call.bytes(1).ok()?;
    let count = left.get(offset..)?.iter().zip(bytes).take_while(|(left, byte)| left == byte).count();
    i64::try_from(count).ok().filter(|count| *count > 0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn hex(text: &str) -> String {
        text.bytes().map(|byte| format!("\\x{byte:02x}")).collect::<Vec<_>>().concat()
    }

    fn remains(paths: &[(&str, Option<&str>)]) -> Remains {
        let path = |(path, bytes): &(&str, Option<&str>)| (PathBuf::from(path), bytes.map(|it| it.as_bytes().to_vec()));
        Remains(paths.iter().map(path).collect())
    }

    /// The disk after a life with these lines, of which `left` remained.
    fn after(lines: &[String], left: &Remains) -> Vec<String> {
        let mut trace = Trace::default();
        trace.add_life(format!("{}\n10 +++ killed by SIGKILL +++\n", lines.join("\n")).as_bytes()).unwrap();
        trace.add_life(&b""[..]).unwrap();
        let end = end_of(&trace, 0);
        let results = {
            let mut replay = Replay::new(&trace, Path::new("/disk"), Syncs::All);
            replay.advance(end).unwrap();
            results(&mut replay, &trace, left)
        };
        give(&mut trace, end, &results);
        let mut replay = Replay::new(&trace, Path::new("/disk"), Syncs::All);
        replay.advance(trace.steps.len()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        replay.disk.survive(&crate::fate::Fate::new(1, crate::fate::Style::Everything), folder.path()).unwrap();
        let left = Remains::of(folder.path()).unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        left.0
            .into_iter()
            .map(|(path, bytes)| format!("{}={}", path.display(), bytes.map_or("/".into(), text)))
            .collect()
    }

    #[test]
    fn an_interrupted_call_counts_if_the_disk_shows_it() {
        let (a, b, c) = (hex("/disk/a"), hex("/disk/b"), hex("/disk/c"));
        let lines = [
            format!("10 openat(AT_FDCWD, \"{a}\", O_WRONLY|O_CREAT, 0600) = 3"),
            format!("10 write(3, \"{}\", 2) = 2", hex("on")),
            format!("10 write(3, \"{}\", 4 <unfinished ...>", hex("ward")),
            format!("11 mkdir(\"{b}\", 0700 <unfinished ...>"),
            format!("12 rename(\"{a}\", \"{c}\" <unfinished ...>"),
        ];
        assert_eq!(after(&lines, &remains(&[("a", Some("on"))])), ["a=on"]);
        assert_eq!(after(&lines, &remains(&[("a", Some("onwa")), ("b", None)])), ["a=onwa", "b=/"]);
        assert_eq!(after(&lines, &remains(&[("c", Some("on"))])), ["c=on"]);
    }

    #[test]
    fn interrupted_removals_and_creations_count_if_the_disk_shows_them() {
        let (a, b) = (hex("/disk/a"), hex("/disk/b"));
        let lines = [
            format!("10 openat(AT_FDCWD, \"{a}\", O_WRONLY|O_CREAT, 0600) = 3"),
            format!("10 unlink(\"{a}\" <unfinished ...>"),
            format!("11 openat(AT_FDCWD, \"{b}\", O_WRONLY|O_CREAT, 0600 <unfinished ...>"),
        ];
        assert_eq!(after(&lines, &remains(&[("a", Some(""))])), ["a="]);
        assert_eq!(after(&lines, &remains(&[("b", Some(""))])), ["b="]);
    }
}
