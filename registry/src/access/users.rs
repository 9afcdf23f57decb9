//! The users of a node, by name, each with the source that names it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use super::identity::UserName;
use super::password::PasswordHash;

/// Most users of a node.
const MOST: usize = 10_000;

/// The source of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `auth.users`.
    Settings,
    /// A file of `auth.htpasswd`.
    Htpasswd,
    /// The data directory, by `skyberth user`.
    Local,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Origin::Settings => "auth.users",
            Origin::Htpasswd => "auth.htpasswd",
            Origin::Local => "skyberth user",
        })
    }
}

/// A name with the hash of its password.
pub type Entries = Vec<(UserName, PasswordHash)>;

/// An entry that cannot be read. Its secret parts are not repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{unit} {number}: {why}")]
pub struct InvalidEntry {
    /// What is counted: lines or entries.
    unit: &'static str,
    number: usize,
    why: String,
}

/// Reads users as `NAME:HASH`, with white space between them. Commas do not part them, since argon2 hashes have commas.
pub fn parse_words(text: &str) -> Result<Entries, InvalidEntry> {
    parse("entry", text.split_whitespace().enumerate())
}

/// Reads a file with one user a line, as `htpasswd` writes it. Empty lines and those that begin with `#` are skipped, and
/// so is the mark of UTF-8 that some editors write first.
pub(super) fn parse_lines(text: &str) -> Result<Entries, InvalidEntry> {
    let lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines().map(str::trim).enumerate();
    parse("line", lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')))
}

fn parse<'a>(unit: &'static str, parts: impl Iterator<Item = (usize, &'a str)>) -> Result<Entries, InvalidEntry> {
    let mut found = BTreeMap::new();
    for (index, part) in parts {
        let fault = |why: String| InvalidEntry { unit, number: index + 1, why };
        let (name, hash) = part.split_once(':').ok_or_else(|| fault("is not NAME:HASH".to_owned()))?;
        let name: UserName = name.parse().map_err(|error| fault(format!("{error}")))?;
        let hash: PasswordHash = hash.parse().map_err(|error| fault(format!("{error}")))?;
        if found.insert(name.clone(), hash).is_some() {
            return Err(fault(format!("{name} has another one already")));
        }
        if found.len() > MOST {
            return Err(fault(format!("more than {MOST} users")));
        }
    }
    Ok(found.into_iter().collect())
}

#[derive(Debug)]
struct User {
    hash: PasswordHash,
    origin: Origin,
}

/// All users. A name that several sources have belongs to the first of them.
#[derive(Debug, Default)]
pub struct Users(BTreeMap<UserName, User>);

impl Users {
    /// Adds the users of a source. Returns the names that an earlier source has already.
    pub(super) fn add(&mut self, origin: Origin, entries: Entries) -> Vec<UserName> {
        let mut ignored = Vec::new();
        for (name, hash) in entries {
            match self.0.entry(name) {
                Entry::Vacant(place) => {
                    place.insert(User { hash, origin });
                }
                Entry::Occupied(place) => ignored.push(place.key().clone()),
            }
        }
        ignored
    }

    /// True without any user.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All names with their sources, in order.
    pub fn names(&self) -> impl Iterator<Item = (&UserName, Origin)> {
        self.0.iter().map(|(name, user)| (name, user.origin))
    }

    /// The source of a name; `None` if there is no such user.
    pub fn origin(&self, name: &UserName) -> Option<Origin> {
        Some(self.0.get(name)?.origin)
    }

    /// The hash of a user's password.
    pub(super) fn hash(&self, name: &UserName) -> Option<&PasswordHash> {
        Some(&self.0.get(name)?.hash)
    }

    /// A hash to check an unknown user's password against, so that it costs as much as a wrong password. Equal
    /// choices get equal hashes.
    pub(super) fn stand_in(&self, choice: u64) -> Option<&PasswordHash> {
        let index = (choice % (self.0.len() as u64).max(1)) as usize;
        self.0.values().nth(index).map(|user| &user.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BCRYPT: &str = "$2y$05$QmRRXfF6vJVoBcF8rD8dSedj/Dkffmcm5uh11bG5/ogJ4ksMZMPD6";
    const ARGON2: &str = "$argon2id$v=19$m=4096,t=3,p=1$c29tZXNhbHQ$MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMg";

    fn names(entries: &Entries) -> Vec<&str> {
        entries.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// Commas within argon2 hashes would have made several users of one.
    #[test]
    fn white_space_parts_users() {
        let text = format!(" bob:{BCRYPT}  ann:{ARGON2}\n\teve:{ARGON2} ");
        assert_eq!(names(&parse_words(&text).unwrap()), ["ann", "bob", "eve"]);
        assert_eq!(parse_words("").unwrap(), Vec::new());
    }

    #[test]
    fn a_file_has_one_user_a_line() {
        let text = format!("# users\n\nbob:{BCRYPT}\r\n  ann:{ARGON2}\n#eve:x\n");
        assert_eq!(names(&parse_lines(&text).unwrap()), ["ann", "bob"]);
    }

    /// It became part of the first name.
    #[test]
    fn the_mark_of_an_editor_is_no_part_of_a_name() {
        assert_eq!(names(&parse_lines(&format!("\u{feff}bob:{BCRYPT}")).unwrap()), ["bob"]);
    }

    #[test]
    fn a_fault_names_its_place_and_no_secret() {
        for (text, said) in [
            (format!("bob:{BCRYPT}\nann:s3cret"), "line 2: the hash is neither"),
            ("s3cret".to_owned(), "line 1: is not NAME:HASH"),
            (format!("s3\tcret:{BCRYPT}"), "line 1: a user's name"),
            (format!("bob:{BCRYPT}\n\nbob:{ARGON2}"), "line 3: bob has another"),
        ] {
            let error = parse_lines(&text).unwrap_err().to_string();
            assert!(error.starts_with(said) && !error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn the_first_source_of_a_name_counts() {
        let mut users = Users::default();
        assert!(users.stand_in(7).is_none());
        assert!(users.add(Origin::Settings, parse_words(&format!("bob:{BCRYPT}")).unwrap()).is_empty());
        let later = parse_words(&format!("bob:{ARGON2} ann:{ARGON2}")).unwrap();
        assert_eq!(users.add(Origin::Local, later), ["bob".parse().unwrap()]);
        assert_eq!(users.origin(&"bob".parse().unwrap()), Some(Origin::Settings));
        assert!(users.hash(&"bob".parse().unwrap()).unwrap().is_of("secret"));
        assert!((0..9).all(|choice| users.stand_in(choice).is_some()));
        assert_ne!(users.stand_in(0), users.stand_in(1));
    }
}
