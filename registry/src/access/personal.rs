//! Personal tokens: made by `skyberth token`, and used in the place of a password, by users and robots.
//!
//! A token is `skyberth_pat_ID_SECRET`. The data directory keeps only a hash of it, in `access/tokens`. A robot is a name that
//! begins with `robot+`. It has no password, and exists as long as it has a token.
//!
//! Times of last use are written to `access/token-uses` every minute. A crash loses the last minute of them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use content_store::replace_file;
use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};

use super::file::{SourceError, read_file};
use super::identity::UserName;
use super::local_users::LocalUsers;
use super::reach::{Reach, ScopePattern};

/// The beginning of every personal token, so that scanners for leaked secrets recognize them.
pub(super) const PREFIX: &str = "skyberth_pat_";
/// The beginning of the name of every robot.
const ROBOT: &str = "robot+";
/// Most personal tokens.
const MOST: usize = 10_000;
/// Most bytes of a note.
const LONGEST_NOTE: usize = 200;

/// A personal token without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonalToken {
    /// Its id, which is no secret.
    pub id: String,
    /// The user or robot that it stands for.
    pub owner: UserName,
    /// What it may be used for; `None`: for all that its owner may do.
    pub reach: Option<Reach>,
    /// When it was made, in seconds since the Unix epoch.
    pub made: u64,
    /// When it ends, in seconds since the Unix epoch; `None`: never.
    pub expires: Option<u64>,
    /// What it is for, in the words of its maker.
    pub note: String,
    hash: blake3::Hash,
}

/// All personal tokens, by id.
#[derive(Clone, Debug, Default)]
pub struct PersonalTokens(BTreeMap<String, Arc<PersonalToken>>);

/// What is wanted of a new token.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// The user or robot that it stands for.
    pub owner: UserName,
    /// What it may be used for; none: all that its owner may do.
    pub scopes: Vec<ScopePattern>,
    /// When it ends, in seconds since the Unix epoch; `None`: never.
    pub expires: Option<u64>,
    /// What it is for.
    pub note: String,
}

#[derive(Serialize, Deserialize)]
struct TokenFile {
    tokens: Vec<TokenEntry>,
}

#[derive(Serialize, Deserialize)]
struct TokenEntry {
    id: String,
    owner: String,
    hash: String,
    made: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    scopes: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    note: String,
}

/// True for the name of a robot.
pub fn is_robot(name: &UserName) -> bool {
    name.as_str().starts_with(ROBOT)
}

/// The hash of a token. A token has 160 random bits, so a hash that is quick to compute gives nothing away.
fn hash_of(token: &str) -> blake3::Hash {
    blake3::Hash::from(blake3::derive_key("skyberth 2026 personal tokens", token.as_bytes()))
}

fn random_text<const N: usize>() -> String {
    BASE32_NOPAD.encode(&crate::ids::random::<N>()).to_lowercase()
}

impl PersonalToken {
    /// True if it has not ended.
    pub fn is_valid_at(&self, now: u64) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    /// The hash that stands for the secret, for fingerprints.
    pub(super) fn fingerprint(&self) -> &[u8; 32] {
        self.hash.as_bytes()
    }

    fn entry(&self) -> TokenEntry {
        TokenEntry {
            id: self.id.clone(),
            owner: self.owner.to_string(),
            hash: self.hash.to_hex().to_string(),
            made: self.made,
            expires: self.expires,
            scopes: self.reach.as_ref().map_or_else(Vec::new, Reach::words),
            note: self.note.clone(),
        }
    }

    fn of_entry(entry: TokenEntry) -> Option<Self> {
        let scopes = entry.scopes.iter().map(|text| text.parse().ok()).collect::<Option<_>>()?;
        Some(PersonalToken {
            id: entry.id,
            owner: entry.owner.parse().ok()?,
            reach: Reach::of(scopes),
            made: entry.made,
            expires: entry.expires,
            note: entry.note,
            hash: blake3::Hash::from_hex(entry.hash).ok()?,
        })
    }
}

impl PersonalTokens {
    /// The token with this id.
    pub(super) fn find(&self, id: &str) -> Option<&Arc<PersonalToken>> {
        self.0.get(id)
    }

    /// The token of this owner with this secret, if it has not ended.
    pub(super) fn check(&self, owner: &str, secret: &str, now: u64) -> Option<&Arc<PersonalToken>> {
        let (id, _) = secret.strip_prefix(PREFIX)?.split_once('_')?;
        let token = self.0.get(id)?;
        // Hashes are compared in constant time.
        (token.hash == hash_of(secret) && token.owner.as_str() == owner && token.is_valid_at(now)).then_some(token)
    }

    /// All of them, by id.
    pub fn all(&self) -> impl Iterator<Item = &Arc<PersonalToken>> {
        self.0.values()
    }

    fn decode(text: &str) -> Option<Self> {
        let file: TokenFile = serde_json::from_str(text).ok()?;
        let tokens = file.tokens.into_iter().map(PersonalToken::of_entry);
        let tokens = tokens.map(|token| token.map(|token| (token.id.clone(), Arc::new(token))));
        let tokens: BTreeMap<_, _> = tokens.collect::<Option<_>>()?;
        (tokens.len() <= MOST).then_some(PersonalTokens(tokens))
    }
}

/// The files of personal tokens, beside those of users.
impl LocalUsers {
    /// Path of the file with the tokens.
    pub(super) fn tokens_path(&self) -> PathBuf {
        self.directory().join("tokens")
    }

    /// Reads all personal tokens; none if there is no file.
    pub fn read_tokens(&self) -> Result<PersonalTokens, SourceError> {
        let path = self.tokens_path();
        match read_if_there(&path)? {
            None => Ok(PersonalTokens::default()),
            Some(text) => PersonalTokens::decode(&text).ok_or_else(|| damaged(&path)),
        }
    }

    /// Makes a token, and keeps its hash once `show` has shown it. Returns its id.
    pub fn make_token(
        &self,
        new: NewToken,
        now: u64,
        show: impl FnOnce(&str) -> io::Result<()>,
    ) -> Result<String, SourceError> {
        let path = self.tokens_path();
        let refused = |why: &str| at(&path)(io::Error::new(io::ErrorKind::InvalidInput, why.to_owned()));
        let is_odd = new.note.len() > LONGEST_NOTE || new.note.contains(char::is_control);
        if is_odd {
            return Err(refused("a note is one line of at most 200 bytes"));
        }
        let id = random_text::<5>();
        let text = format!("{PREFIX}{id}_{}", random_text::<20>());
        let NewToken { owner, scopes, expires, note } = new;
        let reach = Reach::of(scopes);
        let token = PersonalToken { id: id.clone(), owner, reach, made: now, expires, note, hash: hash_of(&text) };
        self.change_tokens(|tokens| {
            // Those that ended make room.
            tokens.0.retain(|_, token| token.is_valid_at(now));
            if tokens.0.len() >= MOST || tokens.0.contains_key(&token.id) {
                return Err(refused("there are too many tokens: revoke some"));
            }
            // Before it is stored, so that it is not lost.
            show(&text).map_err(at(&path))?;
            tokens.0.insert(token.id.clone(), Arc::new(token));
            Ok(())
        })?;
        Ok(id)
    }

    /// Revokes a token. False if there is no such token.
    pub fn revoke_token(&self, id: &str) -> Result<bool, SourceError> {
        self.change_tokens(|tokens| Ok(tokens.0.remove(id).is_some()))
    }

    /// Revokes all tokens of a user or robot. Returns their number.
    pub fn revoke_tokens_of(&self, owner: &UserName) -> Result<usize, SourceError> {
        self.change_tokens(|tokens| {
            let before = tokens.0.len();
            tokens.0.retain(|_, token| token.owner != *owner);
            Ok(before - tokens.0.len())
        })
    }

    fn change_tokens<T>(
        &self,
        edit: impl FnOnce(&mut PersonalTokens) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        fs::create_dir_all(self.directory()).map_err(at(self.directory()))?;
        let _lock = self.lock()?;
        let mut tokens = self.read_tokens()?;
        let result = edit(&mut tokens)?;
        let file = TokenFile { tokens: tokens.all().map(|token| token.entry()).collect() };
        write_json(&file, &self.tokens_path())?;
        Ok(result)
    }

    fn uses_path(&self) -> PathBuf {
        self.directory().join("token-uses")
    }

    /// When each token was last used, in seconds since the Unix epoch, as of the last minute.
    pub fn read_uses(&self) -> Result<BTreeMap<String, u64>, SourceError> {
        let path = self.uses_path();
        match read_if_there(&path)? {
            None => Ok(BTreeMap::new()),
            Some(text) => serde_json::from_str(&text).map_err(|_| damaged(&path)),
        }
    }

    /// Adds times of last use to those of tokens that exist.
    pub(super) fn write_uses(&self, newer: &BTreeMap<String, u64>) -> Result<(), SourceError> {
        let tokens = self.read_tokens()?;
        // What cannot be read is only about the past.
        let mut uses = self.read_uses().unwrap_or_default();
        uses.extend(newer.iter().map(|(id, time)| (id.clone(), *time)));
        uses.retain(|id, _| tokens.find(id).is_some());
        write_json(&uses, &self.uses_path())
    }
}

fn write_json(what: &impl Serialize, path: &Path) -> Result<(), SourceError> {
    let text = serde_json::to_vec(what).map_err(|error| at(path)(error.into()))?;
    replace_file(&[&text], &path.with_extension("tmp"), path).map_err(at(path))
}

fn read_if_there(path: &Path) -> Result<Option<String>, SourceError> {
    match read_file(path) {
        Ok(text) => Ok(Some(text)),
        Err(SourceError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> SourceError + '_ {
    |error| SourceError::Io { path: path.to_owned(), error }
}

fn damaged(path: &Path) -> SourceError {
    at(path)(io::Error::new(io::ErrorKind::InvalidData, "the file is damaged"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(owner: &str, scopes: &[&str], expires: Option<u64>) -> NewToken {
        let scopes = scopes.iter().map(|text| text.parse().unwrap()).collect();
        NewToken { owner: owner.parse().unwrap(), scopes, expires, note: "for tests".to_owned() }
    }

    fn make(local: &LocalUsers, new: NewToken) -> String {
        let mut shown = String::new();
        local
            .make_token(new, 1000, |text| {
                shown = text.to_owned();
                Ok(())
            })
            .unwrap();
        shown
    }

    #[test]
    fn a_token_is_its_owners_until_it_ends_or_is_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let local = LocalUsers::in_directory(folder.path().join("access"));
        assert_eq!(local.read_tokens().unwrap().all().count(), 0);
        let (bobs, robots) =
            (make(&local, new("bob", &[], None)), make(&local, new("robot+ci", &["a:pull"], Some(2000))));
        let tokens = local.read_tokens().unwrap();
        let check = |owner: &str, secret: &str, now| tokens.check(owner, secret, now).is_some();
        assert!(check("bob", &bobs, 1_000_000) && check("robot+ci", &robots, 1999));
        assert!(!check("robot+ci", &robots, 2000), "it has ended");
        for (owner, secret) in [
            ("ann", bobs.as_str()),
            ("bob", &robots),
            ("bob", &bobs[..bobs.len() - 1]),
            ("bob", "skyberth_pat_"),
            ("bob", ""),
        ] {
            assert!(!check(owner, secret, 1000), "{owner} {secret}");
        }
        let id = tokens.check("bob", &bobs, 1000).unwrap().id.clone();
        assert!(local.revoke_token(&id).unwrap() && !local.revoke_token(&id).unwrap());
        let left = local.read_tokens().unwrap();
        assert!(left.check("bob", &bobs, 1000).is_none());
        assert_eq!(left.check("robot+ci", &robots, 1000).unwrap().reach.as_ref().unwrap().words(), ["a:pull"]);
        assert_eq!(local.revoke_tokens_of(&"robot+ci".parse().unwrap()).unwrap(), 1);
    }

    #[test]
    fn no_file_has_the_secret_and_a_token_that_nobody_saw_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let local = LocalUsers::in_directory(folder.path().to_owned());
        let secret = make(&local, new("bob", &[], None));
        let text = fs::read_to_string(local.tokens_path()).unwrap();
        assert!(!text.contains(secret.rsplit('_').next().unwrap()) && text.contains("for tests"), "{text}");
        local.make_token(new("bob", &[], None), 1000, |_| Err(io::ErrorKind::BrokenPipe.into())).unwrap_err();
        assert_eq!(local.read_tokens().unwrap().all().count(), 1);
        assert!(
            local.make_token(NewToken { note: "a\nb".to_owned(), ..new("bob", &[], None) }, 0, |_| Ok(())).is_err()
        );
        fs::write(local.tokens_path(), "{}").unwrap();
        assert!(local.revoke_token("x").is_err(), "a damaged file is not replaced");
    }

    #[test]
    fn uses_are_kept_for_tokens_that_exist() {
        let folder = tempfile::tempdir().unwrap();
        let local = LocalUsers::in_directory(folder.path().to_owned());
        let secret = make(&local, new("bob", &[], None));
        let id = local.read_tokens().unwrap().check("bob", &secret, 0).unwrap().id.clone();
        local.write_uses(&BTreeMap::from([(id.clone(), 5), ("gone".to_owned(), 6)])).unwrap();
        assert_eq!(local.read_uses().unwrap(), BTreeMap::from([(id.clone(), 5)]));
        local.write_uses(&BTreeMap::from([(id.clone(), 7)])).unwrap();
        assert_eq!(local.read_uses().unwrap()[&id], 7);
    }
}
