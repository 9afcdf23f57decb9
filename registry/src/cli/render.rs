//! The output of commands: text for people, JSON for programs.

use std::borrow::Cow;

use serde_json::Value;

use crate::admin::Item;
use crate::admin::reply::{
    Copy, Endpoint, EndpointState, Finding, Manifest, Part, Removed, Repository, Role, Running, Safe, Safety, State,
    Status,
};
use crate::catalog::fact::Visibility;
use crate::catalog::{Backlog, Elsewhere};
use crate::gc::Collected;
use crate::placement::Durability;
use crate::service::left_by_uploads;
use crate::units::{bytes, count};

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Text, for people.
    Text,
    /// JSON, one object per line, for programs.
    Json,
}

impl Form {
    pub(super) fn of(json: bool) -> Self {
        if json { Form::Json } else { Form::Text }
    }

    /// Prints an item, in one line or several.
    pub(super) fn print(self, item: &Item) {
        match self {
            Form::Text => super::print(&text(item)),
            Form::Json => super::print(&json(item)),
        }
    }
}

/// One line of JSON. Characters that act on a terminal are escaped there, too.
fn json(item: &Item) -> String {
    // Items are text, numbers and lists, so JSON can always express them.
    let line = serde_json::to_string(item).unwrap_or_default();
    escaped(&line, |character| format!("\\u{:04x}", u32::from(character))).into_owned()
}

/// The text for people. Strings of others appear in it with their control characters escaped.
fn text(item: &Item) -> String {
    let shown = serde_json::to_value(item).map(with_escaped_strings).and_then(serde_json::from_value);
    lines(shown.as_ref().unwrap_or(item))
}

fn with_escaped_strings(value: Value) -> Value {
    match value {
        Value::String(text) => escaped(&text, |character| character.escape_unicode().to_string()).into(),
        Value::Array(items) => items.into_iter().map(with_escaped_strings).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(name, value)| (name, with_escaped_strings(value))).collect()
        }
        other => other,
    }
}

/// The text with an escape in place of each character that acts on a terminal: controls, and those that change the
/// direction of text or are invisible.
pub(super) fn escaped(text: &str, escape: impl Fn(char) -> String) -> Cow<'_, str> {
    let acts = |character: char| {
        let is_format = matches!(character, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}');
        character.is_control() || is_format
    };
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let piece = |character| if acts(character) { escape(character) } else { String::from(character) };
    text.chars().map(piece).collect()
}

fn lines(item: &Item) -> String {
    match item {
        Item::Status(status) => self::status(status),
        Item::Repository(Repository { name, tags, more_tags, private }) => {
            let more = if *more_tags { " or more" } else { "" };
            let private = if *private { ", private" } else { "" };
            format!("{name}\t{}{more}{private}", count(*tags, "tag"))
        }
        Item::Visibility { repository, visibility: Visibility::Public } => format!("{repository} is public"),
        Item::Visibility { repository, visibility: Visibility::Private } => format!("{repository} is private"),
        Item::Manifest(manifest) => self::manifest(manifest),
        Item::Tag { tag } => format!("tag\t{tag}"),
        Item::Part(part) => self::part(part),
        Item::Removed(removed) => self::removed(removed),
        Item::Collection { dry_run, collected } => collection(*dry_run, *collected),
        Item::Finding(finding) => self::finding(finding),
        Item::Checked { records, files, elsewhere, bad, put_aside } => format!(
            "journal: {} read, all sound\ncontent: {} checked, {bad} of them damaged or missing, {put_aside} quarantined{}",
            count(*records, "record"),
            count(*files, "file"),
            if *elsewhere == 0 {
                String::new()
            } else {
                format!("\ncopies: {} only at portals, which were not read", count(*elsewhere, "blob"))
            }
        ),
        Item::Held => "all files of content are kept".to_owned(),
    }
}

fn status(status: &Status) -> String {
    let mut lines = Vec::new();
    let mut line = |name: &str, text: String| lines.push(format!("{name:<16} {text}"));
    line("node", running(status.node).to_owned());
    if let Some(state) = status.state {
        let is_full = status.free_bytes.zip(status.reserve_bytes).is_some_and(|(free, reserve)| {
            // A push begins only while a byte of it would leave this much.
            free <= left_by_uploads(reserve)
        });
        let refuses =
            if is_full { "; pushes are refused: no more than nine eighths of storage.reserve are free" } else { "" };
        line("state", format!("{}{refuses}", self::state(state)));
    }
    if let Some(program) = &status.program {
        line("program", format!("Skyberth {program}"));
    }
    if let Some(catalog) = &status.catalog {
        line("sequence", format!("{} (snapshot at {})", catalog.sequence, catalog.snapshot_sequence));
        line("journal", bytes(catalog.journal_bytes));
        let entries = if catalog.index_entries == 1 { "entry" } else { "entries" };
        let rebuilds = match status.node {
            Running::Running => format!(", {} since the start", count(catalog.rebuilds, "rebuild")),
            _ => String::new(),
        };
        line("index", format!("{} {entries}{rebuilds}", catalog.index_entries));
    }
    if let Some(open) = status.open_uploads {
        line("open uploads", open.to_string());
    }
    if let Some(stored) = status.stored {
        let at_least = if stored.complete { "" } else { "more than " };
        line("stored", format!("{at_least}{} in {at_least}{}", bytes(stored.bytes), count(stored.files, "file")));
    }
    if let Some(copies) = &status.copies {
        let endpoints: Vec<_> = copies.endpoints.iter().map(endpoint).collect();
        line("copies", format!("{} of each blob, on {}", copies.wanted, endpoints.join(", ")));
    }
    for text in safety(status.node, &status.safety) {
        line("durability", text);
    }
    for text in elsewhere(status.elsewhere) {
        line("elsewhere", text);
    }
    if let (Some(free), Some(reserve)) = (status.free_bytes, status.reserve_bytes) {
        line("free disk space", format!("{} ({} are kept free)", bytes(free), bytes(reserve)));
    }
    for note in &status.notes {
        line("note", note.clone());
    }
    if let Some(trouble) = &status.trouble {
        line("trouble", trouble.clone());
    }
    lines.join("\n")
}

fn running(node: Running) -> &'static str {
    match node {
        Running::Running => "running",
        Running::Starting => "starting or stopping: a process uses the directory and accepts no commands",
        Running::NotAnswering => "does not answer: a process accepts commands but sends no reply",
        Running::Stopped => "stopped",
    }
}

fn state(state: State) -> &'static str {
    match state {
        State::Ready => "ready",
        State::Degraded => "ready, degraded: the content store's disk fails",
        State::ReadOnly => "ready, read-only: the journal failed",
        State::Rebuilding => "not ready: rebuilding the index",
        State::Stopping => "not ready: stopping",
    }
}

/// `http://b:2 (resting)`
fn endpoint(Endpoint { name, state }: &Endpoint) -> String {
    match state {
        EndpointState::Available => name.clone(),
        EndpointState::Resting => format!("{name} (resting)"),
        EndpointState::Distrusted => format!("{name} (not trusted)"),
    }
}

fn safety(node: Running, safety: &Safety) -> Vec<String> {
    let said = match (safety.safe, node) {
        (_, Running::Starting | Running::NotAnswering) => return Vec::new(),
        (Safe::NoCopies, _) => "safe to close: no, this node keeps no copies elsewhere".to_owned(),
        (Safe::Yes, _) => match safety.audited_seconds_ago {
            Some(ago) => format!("safe to close: yes (all copies were asked for {ago} s ago)"),
            None => "safe to close: yes (a sample of copies was asked for since the start)".to_owned(),
        },
        (Safe::No, _) => durability(safety).to_string(),
        (Safe::NotKnown, Running::Running) if !safety.sampled => {
            "safe to close: unknown, nothing lacks a copy by the records, and portals were not asked for copies since \
            they came up"
                .to_owned()
        }
        (Safe::NotKnown, Running::Running) => {
            "safe to close: unknown, nothing lacks a copy by the records, and not all \
            portals say who they are"
                .to_owned()
        }
        (Safe::NotKnown, _) if safety.backlog.is_some() => {
            "safe to close: unknown, nothing lacks a copy by the records, and portals were not asked".to_owned()
        }
        (Safe::NotKnown, _) => return Vec::new(),
    };
    let running = if safety.running > 0 { format!(" ({} being placed)", safety.running) } else { String::new() };
    let trouble = safety.trouble.iter().map(|trouble| format!("last trouble: {trouble}"));
    std::iter::once(said + &running).chain(trouble).collect()
}

fn durability(safety: &Safety) -> Durability {
    Durability {
        backlog: Backlog { count: safety.backlog.unwrap_or(0), bytes: safety.backlog_bytes.unwrap_or(0) },
        not_read_back: safety.not_read_back.unwrap_or(0),
        only_here: safety.only_here.unwrap_or(0),
        missing: safety.missing.unwrap_or(0),
        in_doubt: safety.in_doubt.unwrap_or(0),
        ..Durability::default()
    }
}

/// Lines about records of endpoints that are no longer configured.
fn elsewhere(Elsewhere { content, unpins }: Elsewhere) -> Vec<String> {
    let places = "also recorded at portals that are not configured; copies there do not count";
    let wait = "waiting for portals that are not configured now; only they can remove their copies";
    let content = (content > 0).then(|| format!("{}, {places}", count(content, "blob")));
    content.into_iter().chain((unpins > 0).then(|| format!("{}, {wait}", count(unpins, "removal")))).collect()
}

fn manifest(manifest: &Manifest) -> String {
    let Manifest { repository, tag, digest, image_bytes, media_type, tagged } = manifest;
    let name = match tag {
        Some(tag) => format!("{repository}:{tag}"),
        None if *tagged => repository.to_string(),
        None => format!("{repository} (untagged)"),
    };
    format!("{name}\t{digest}\t{}\t{media_type}", bytes(*image_bytes))
}

/// The digest with its details, then each copy on an indented line.
fn part(part: &Part) -> String {
    let role = match (part.role, &part.platform) {
        (Role::Manifest, _) => "manifest".to_owned(),
        (Role::Config, _) => "config".to_owned(),
        (Role::Layer, _) => "layer".to_owned(),
        (Role::Platform, Some(platform)) => format!("platform {platform}"),
        (Role::Platform, None) => "platform".to_owned(),
        (Role::Needed, _) => "needed".to_owned(),
    };
    let size = part.bytes.map_or_else(|| "not in this repository".to_owned(), bytes);
    let here = if part.here { "here" } else { "not here" };
    let copies = part.copies.iter().map(|copy| format!("\n  {}", self::copy(copy)));
    format!("{}\t{size}\t{here}\t{role}{}", part.digest, copies.collect::<String>())
}

fn copy(Copy { placement, not_configured }: &Copy) -> String {
    let locator = &placement.locator;
    let state = match (placement.unpin_pending, placement.read_back) {
        (true, _) => "to be removed there",
        (false, true) => "read back",
        (false, false) => "acknowledged",
    };
    let profile = if locator.profile.is_empty() { String::new() } else { format!(" {}", locator.profile) };
    let named = |endpoint: &String| match not_configured.contains(endpoint) {
        true => format!("{endpoint} (not configured)"),
        false => endpoint.clone(),
    };
    let endpoints: Vec<String> = locator.endpoints.iter().map(named).collect();
    let at = if endpoints.is_empty() { String::new() } else { format!(" at {}", endpoints.join(" ")) };
    format!("{}{profile} {}{at}, {state}", locator.kind, locator.address)
}

fn removed(Removed { repository, tag, digest, manifests }: &Removed) -> String {
    match (tag, digest) {
        (Some(tag), _) => format!("removed the tag {repository}:{tag}; its manifest stays"),
        (None, Some(digest)) => format!("removed {repository}@{digest} with its tags"),
        (None, None) => format!("removed {} of {repository} with all tags", count(*manifests, "manifest")),
    }
}

fn collection(dry_run: bool, done: Collected) -> String {
    let verb = if dry_run { "would remove" } else { "removed" };
    [
        format!("{verb} {} ({})", count(done.blobs, "unreferenced blob"), bytes(done.bytes)),
        format!("{verb} {}", count(done.files, "unreferenced file")),
        format!("{verb} {}", count(done.uploads, "idle upload")),
        format!("kept {}, within the grace period or a running push", count(done.kept, "unreferenced blob")),
    ]
    .join("\n")
}

fn finding(finding: &Finding) -> String {
    match finding {
        Finding::Journal { file, offset, what } => format!("{file} at byte {offset}: {what}"),
        Finding::Lost { what } => format!("lost: {what}"),
        Finding::JournalRepaired { kept, moved_to } => {
            format!("kept {}; the damaged files are in {moved_to}", count(*kept, "record"))
        }
        Finding::Damaged { digest } => format!("{digest}: the file is damaged"),
        Finding::Missing { digest } => format!("{digest}: the file is missing"),
        Finding::Unreadable { digest } => format!("{digest}: the disk cannot read the file"),
        Finding::ListDamaged { digest } => {
            format!("{digest}: this list of unit roots is damaged; its contents are known elsewhere")
        }
        Finding::ListMissing { digest } => {
            format!("{digest}: this list of unit roots is missing; it is restored when it is needed")
        }
        Finding::PutAside { digest, list: false } => format!("{digest}: quarantined; push it again to bring it back"),
        Finding::PutAside { digest, list: true } => format!("{digest}: quarantined; it is restored when it is needed"),
        Finding::Stranger { path } => format!("{path}: a foreign file, left alone"),
        Finding::Unreferenced { files } => {
            format!("{}; `skyberth gc` removes them", count(*files, "unreferenced file"))
        }
    }
}

#[cfg(test)]
mod tests;
