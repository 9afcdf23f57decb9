//! Variables of the CNCF registry (`distribution`, versions 2 and 3) that mean something here.

/// Prefix of distribution's variables.
pub(super) const PREFIX: &str = "REGISTRY_";

/// What one variable means to us.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It sets this key to this text.
    Key(&'static str, String),
    /// It is understood, and nothing needs doing.
    NoEffect(&'static str),
    /// Starting without what it asks for would leave the registry more open than its operator believes.
    Refused(&'static str),
    /// Nothing of that name is known.
    Unknown,
}

/// Variables that set one of our keys.
const KEYS: [(&str, &str); 11] = [
    ("REGISTRY_HTTP_ADDR", "server.listen"),
    ("REGISTRY_HTTP_HOST", "server.url"),
    ("REGISTRY_HTTP_RELATIVEURLS", "server.locations"),
    ("REGISTRY_HTTP_DRAINTIMEOUT", "server.shutdown_grace"),
    ("REGISTRY_STORAGE", "storage.backend"),
    ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "storage.data"),
    ("REGISTRY_STORAGE_DELETE_ENABLED", "registry.delete"),
    ("REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING_AGE", "gc.upload_expiry"),
    ("REGISTRY_LOG_LEVEL", "log.level"),
    ("REGISTRY_LOG_FORMATTER", "log.format"),
    ("REGISTRY_HTTP_DEBUG_PROMETHEUS_ENABLED", "metrics.enabled"),
];

/// Variables that need nothing done.
const NO_EFFECT: [(&str, &str); 3] = [
    ("REGISTRY_HTTP_SECRET", "upload sessions are kept on disk and carry no signed state"),
    ("REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR", "the index holds the descriptors"),
    ("REGISTRY_STORAGE_FILESYSTEM_MAXTHREADS", "see registry.max_transfers"),
];

/// Families of variables that ask for what this build does not have, and without which it would serve more, or something
/// else, than its operator believes.
const REFUSED: [(&str, &str); 4] = [
    ("REGISTRY_AUTH", "asks for authentication, which is not in this build; unset it to serve everyone"),
    ("REGISTRY_HTTP_TLS", "asks for TLS, which is not in this build; unset it to serve plain HTTP"),
    ("REGISTRY_STORAGE_MAINTENANCE_READONLY", "asks for a read-only registry, which is not in this build"),
    (
        "REGISTRY_PROXY",
        "asks for a cache of another registry, which is not in this build; unset it to serve what is pushed",
    ),
];

/// Every name that sets something, to suggest from.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|(name, _)| *name)
}

/// What `name`, set to `text`, means.
pub(super) fn meaning(name: &str, text: &str) -> Meaning {
    let entry = |table: &[(&str, &'static str)]| table.iter().find(|(known, _)| *known == name).map(|(_, what)| *what);
    if let Some(key) = entry(&KEYS) {
        return Meaning::Key(key, translate(name, text));
    }
    if let Some(reason) = entry(&NO_EFFECT) {
        return Meaning::NoEffect(reason);
    }
    let family = |prefix: &str| name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'));
    REFUSED.iter().find(|(prefix, _)| family(prefix)).map_or(Meaning::Unknown, |(_, why)| Meaning::Refused(why))
}

/// Variables that say yes or no.
const BOOLEANS: [&str; 3] =
    ["REGISTRY_HTTP_RELATIVEURLS", "REGISTRY_STORAGE_DELETE_ENABLED", "REGISTRY_HTTP_DEBUG_PROMETHEUS_ENABLED"];

/// A boolean as YAML and Go write it, in our words; distribution reads its variables as YAML.
fn boolean(text: &str) -> &str {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" | "yes" | "y" | "on" => "true",
        "false" | "f" | "0" | "no" | "n" | "off" => "false",
        _ => text,
    }
}

/// Distribution's words for values in ours.
fn translate(name: &str, text: &str) -> String {
    let text = if BOOLEANS.contains(&name) { boolean(text) } else { text };
    match (name, text) {
        ("REGISTRY_STORAGE", "filesystem") => "fs",
        ("REGISTRY_HTTP_HOST", url) => url.trim_end_matches('/'),
        ("REGISTRY_HTTP_RELATIVEURLS", "true") => "relative",
        ("REGISTRY_HTTP_RELATIVEURLS", "false") => "absolute",
        ("REGISTRY_LOG_FORMATTER", "logstash") => "json",
        ("REGISTRY_LOG_LEVEL", "panic" | "fatal") => "error",
        ("REGISTRY_LOG_LEVEL", "warning") => "warn",
        (_, text) => text,
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protection_that_cannot_be_given_is_refused() {
        for name in [
            "REGISTRY_AUTH",
            "REGISTRY_AUTH_HTPASSWD_PATH",
            "REGISTRY_HTTP_TLS_CERTIFICATE",
            "REGISTRY_PROXY_REMOTEURL",
        ] {
            assert!(matches!(meaning(name, "x"), Meaning::Refused(_)), "{name}");
        }
        assert_eq!(meaning("REGISTRY_AUTHOR", "x"), Meaning::Unknown);
    }

    /// A variable that does nothing was proposed in place of another one that does nothing.
    #[test]
    fn only_names_with_an_effect_are_suggested() {
        assert!(names().all(|name| matches!(meaning(name, "x"), Meaning::Key(..))));
    }

    #[test]
    fn values_are_translated() {
        assert_eq!(meaning("REGISTRY_STORAGE", "filesystem"), Meaning::Key("storage.backend", "fs".into()));
        assert_eq!(meaning("REGISTRY_LOG_LEVEL", "warning"), Meaning::Key("log.level", "warn".into()));
        let host = meaning("REGISTRY_HTTP_HOST", "https://registry.example/");
        assert_eq!(host, Meaning::Key("server.url", "https://registry.example".into()));
        let relative = meaning("REGISTRY_HTTP_RELATIVEURLS", "false");
        assert_eq!(relative, Meaning::Key("server.locations", "absolute".into()));
        // These stopped the start, though distribution takes them.
        for text in ["True", "TRUE", "1", "yes", "on"] {
            let relative = meaning("REGISTRY_HTTP_RELATIVEURLS", text);
            assert_eq!(relative, Meaning::Key("server.locations", "relative".into()), "{text}");
            let delete = meaning("REGISTRY_STORAGE_DELETE_ENABLED", text);
            assert_eq!(delete, Meaning::Key("registry.delete", "true".into()), "{text}");
        }
        let delete = meaning("REGISTRY_STORAGE_DELETE_ENABLED", "Off");
        assert_eq!(delete, Meaning::Key("registry.delete", "false".into()));
        assert!(matches!(meaning("REGISTRY_HTTP_SECRET", "x"), Meaning::NoEffect(_)));
    }
}
