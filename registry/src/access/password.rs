//! Hashes of passwords: bcrypt, as `htpasswd -B` writes, and argon2.

use std::fmt;
use std::str::FromStr;

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _};
use data_encoding::BASE32_NOPAD;

/// Most memory that one argon2 hash may take, KiB. Two are computed at once.
const MAX_MEMORY: u32 = 64 * 1024;
/// Most KiB of memory that one argon2 hash may go through in all its passes, some half a second.
const MAX_WORK: u64 = 512 * 1024;
/// Most lanes of an argon2 hash.
const MAX_LANES: u32 = 16;
/// Bytes of salt and hash that an argon2 hash must have.
const LEAST_SALT: usize = 8;
const LEAST_HASH: usize = 16;
/// The cost of a bcrypt hash; 14 is about a second.
const BCRYPT_COSTS: std::ops::RangeInclusive<u32> = 4..=14;

/// The hash of a password. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    kind: Kind,
    text: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bcrypt,
    Argon2,
}

/// Why a hash is not taken. The text of the hash is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHash {
    /// It is neither bcrypt nor argon2.
    #[error(
        "the hash is neither bcrypt nor argon2; `htpasswd -nbB NAME PASSWORD` makes one (in a compose file, write $$ for $)"
    )]
    Unknown,
    /// It begins like a known hash.
    #[error("the hash is damaged, or was cut off")]
    Malformed,
    /// Checking a password against it takes too long, or too much memory.
    #[error(
        "the hash is too costly to check: bcrypt may have a cost of {}, argon2 {} MiB of memory and {} MiB times passes",
        BCRYPT_COSTS.end(), MAX_MEMORY / 1024, MAX_WORK / 1024
    )]
    TooCostly,
}

impl PasswordHash {
    /// Hashes a password with argon2id and a new salt. Takes some 20 ms and 19 MiB.
    pub fn of(password: &str) -> Self {
        let hash = Argon2::default().hash_password(password.as_bytes());
        let hash = hash.expect("the default parameters are valid, and the system has randomness");
        PasswordHash { kind: Kind::Argon2, text: hash.to_string() }
    }

    /// True if it is the hash of this password. Blocks for as long as the hash takes.
    pub fn is_of(&self, password: &str) -> bool {
        match self.kind {
            Kind::Bcrypt => bcrypt::verify(password, &self.text).unwrap_or(false),
            Kind::Argon2 => Argon2::default().verify_password(password.as_bytes(), self.text.as_str()).is_ok(),
        }
    }

    /// The text for a file of users.
    pub(super) fn expose(&self) -> &str {
        &self.text
    }
}

impl FromStr for PasswordHash {
    type Err = InvalidHash;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let kind = if text.starts_with("$2") {
            let parts: bcrypt::HashParts = text.parse().map_err(|_| InvalidHash::Malformed)?;
            if !BCRYPT_COSTS.contains(&parts.get_cost()) {
                return Err(InvalidHash::TooCostly);
            }
            Kind::Bcrypt
        } else if text.starts_with("$argon2") {
            check_argon2(text)?;
            Kind::Argon2
        } else {
            return Err(InvalidHash::Unknown);
        };
        Ok(PasswordHash { kind, text: text.to_owned() })
    }
}

fn check_argon2(text: &str) -> Result<(), InvalidHash> {
    let malformed = InvalidHash::Malformed;
    let hash = phc::PasswordHash::new(text).map_err(|_| malformed)?;
    Algorithm::try_from(hash.algorithm.as_str()).map_err(|_| malformed)?;
    let params = Params::try_from(&hash).map_err(|_| malformed)?;
    let salt = hash.salt.as_deref().map_or(0, <[u8]>::len);
    let output = hash.hash.as_ref().map_or(0, phc::Output::len);
    if salt < LEAST_SALT || output < LEAST_HASH {
        return Err(malformed);
    }
    let work = u64::from(params.m_cost()) * u64::from(params.t_cost());
    match params.m_cost() > MAX_MEMORY || work > MAX_WORK || params.p_cost() > MAX_LANES {
        true => Err(InvalidHash::TooCostly),
        false => Ok(()),
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

/// A new password of 120 random bits.
pub fn generate_password() -> String {
    BASE32_NOPAD.encode(&crate::ids::random::<15>()).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `htpasswd -nbBC 5 bob secret` wrote it.
    const BCRYPT: &str = "$2y$05$QmRRXfF6vJVoBcF8rD8dSedj/Dkffmcm5uh11bG5/ogJ4ksMZMPD6";

    #[test]
    fn a_hash_is_of_one_password() {
        let ours = PasswordHash::of("secret");
        for hash in [ours.clone(), ours.expose().parse().unwrap(), BCRYPT.parse().unwrap()] {
            assert!(hash.is_of("secret"));
            for other in ["", "Secret", "secret ", "secre"] {
                assert!(!hash.is_of(other), "{other}");
            }
        }
        assert_ne!(PasswordHash::of("secret"), ours, "each has its own salt");
        assert_eq!(format!("{ours:?}"), "PasswordHash");
    }

    #[test]
    fn hashes_that_cost_too_much_are_not_taken() {
        let argon2 = |params: &str| format!("$argon2id$v=19${params}$c29tZXNhbHQ$MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMg");
        for good in ["m=19456,t=2,p=1", "m=65536,t=3,p=4", "m=65536,t=8,p=1", "m=4096,t=3,p=1"] {
            assert!(argon2(good).parse::<PasswordHash>().is_ok(), "{good}");
        }
        for costly in
            ["m=65537,t=1,p=1", "m=65536,t=9,p=1", "m=8,t=4294967295,p=1", "m=4194304,t=1,p=1", "m=4096,t=1,p=17"]
        {
            assert_eq!(argon2(costly).parse::<PasswordHash>(), Err(InvalidHash::TooCostly), "{costly}");
        }
        let costly = BCRYPT.replace("$05$", "$15$");
        assert_eq!(costly.parse::<PasswordHash>(), Err(InvalidHash::TooCostly));
    }

    #[test]
    fn weak_and_damaged_hashes_are_not_taken() {
        for text in ["", "secret", "$apr1$x$y", "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "$5$a$b", "rl7OLoW8JHlUM"] {
            assert_eq!(text.parse::<PasswordHash>(), Err(InvalidHash::Unknown), "{text}");
        }
        for text in [
            &BCRYPT[..59],
            "$2y$",
            "$argon2id$",
            "$argon2id$v=19$m=4096,t=3,p=1$c29tZXNhbHQ",
            "$argon2x$v=19$m=8,t=1,p=1$c29tZXNhbHQ$MTIz",
        ] {
            assert_eq!(text.parse::<PasswordHash>(), Err(InvalidHash::Malformed), "{text}");
        }
    }

    #[test]
    fn generated_passwords_differ() {
        let (one, other) = (generate_password(), generate_password());
        assert_eq!(one.len(), 24);
        assert_ne!(one, other);
        assert!(one.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()));
    }
}
