//! `skyberth audit`: shows who changed what, who logged in, and what was denied.

use std::path::Path;

use super::render::{Form, escaped};
use super::{Json, Settings, print, warn};
use crate::audit_journal::{AuditJournal, Entry, Outcome, now};
use crate::config::TimeSpan;
use crate::data_dir;
use crate::units;

/// Which entries are wanted.
#[derive(clap::Args)]
pub(super) struct Wanted {
    /// Only the last part, such as 24h.
    #[arg(long, value_name = "TIME")]
    since: Option<TimeSpan>,
    /// Only of this user or robot. `operator` is a command on the machine.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only about this repository.
    #[arg(long, value_name = "NAME")]
    repo: Option<String>,
}

/// Runs the command.
pub(super) fn run(wanted: &Wanted, json: Json, settings: &Settings) -> anyhow::Result<()> {
    let config = settings.load_to_read()?.config;
    let since = wanted.since.map_or(0, |span| now().saturating_sub(span.duration().as_secs()));
    let mut found = Vec::new();
    AuditJournal::in_directory(data_dir::audit(&config.storage.data)).read(|entry| {
        if wanted.has(&entry, since) {
            found.push(entry);
        }
    })?;
    found.sort_by_key(|entry| entry.time);
    for entry in &found {
        print(&match json.form() {
            Form::Json => serde_json::to_string(entry)?,
            Form::Text => line(entry),
        });
    }
    Ok(())
}

/// Adds what a command on the machine has done. The command has succeeded, so a failure is only reported.
pub(super) fn keep(data: &Path, action: &str, repository: Option<String>, target: Option<String>) {
    let journal = AuditJournal::in_directory(data_dir::audit(data));
    if let Err(error) = journal.append(&Entry::of_operator(action, repository, target)) {
        warn(&format!("the audit journal could not be written: {error}"));
    }
}

impl Wanted {
    fn has(&self, entry: &Entry, since: u64) -> bool {
        let is_user = |name: &String| entry.by == *name || entry.by.strip_prefix("local:") == Some(name);
        entry.time >= since
            && self.user.as_ref().is_none_or(is_user)
            && self.repo.as_ref().is_none_or(|name| entry.repository.as_ref() == Some(name))
    }
}

fn line(entry: &Entry) -> String {
    let outcome = match entry.outcome {
        Outcome::Done => "done",
        Outcome::LoggedIn => "logged in",
        Outcome::Denied => "denied",
    };
    let about = [entry.repository.as_deref(), entry.target.as_deref()];
    let about = about.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let more = [("from", &entry.client), ("token", &entry.token), ("request", &entry.request)];
    let more = more.into_iter().filter_map(|(word, value)| Some(format!(" {word} {}", value.as_ref()?)));
    let left_out =
        if entry.left_out > 0 { format!(" ({} before it are left out)", entry.left_out) } else { String::new() };
    let text = format!(
        "{} {} {}: {} {about}{}{left_out}",
        units::time(entry.time),
        outcome,
        entry.by,
        entry.action,
        more.collect::<String>()
    );
    escaped(&text, |character| character.escape_unicode().to_string()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_by_user_repository_and_time() {
        let by = |by: &str, repository: &str, time| Entry {
            by: by.to_owned(),
            time,
            ..Entry::of_operator("push", Some(repository.to_owned()), Some("v1".to_owned()))
        };
        let wanted = |user: Option<&str>, repo: Option<&str>| Wanted {
            since: None,
            user: user.map(str::to_owned),
            repo: repo.map(str::to_owned),
        };
        let entry = by("local:bob", "a/b", 100);
        assert!(wanted(None, None).has(&entry, 100) && !wanted(None, None).has(&entry, 101));
        assert!(wanted(Some("bob"), Some("a/b")).has(&entry, 0) && wanted(Some("local:bob"), None).has(&entry, 0));
        assert!(!wanted(Some("bo"), None).has(&entry, 0) && !wanted(None, Some("a")).has(&entry, 0));
        assert_eq!(line(&entry), "1970-01-01T00:01:40Z done local:bob: push a/b v1");
        let hostile = line(&by("local:\u{1b}[2J", "a", 0));
        assert!(!hostile.contains('\u{1b}'), "{hostile}");
    }
}
