//! Variables of the CNCF registry (`distribution`, versions 2 and 3) that have a meaning here.

/// Prefix of distribution's variables.
pub(super) const PREFIX: &str = "REGISTRY_";

/// The meaning of one variable.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It sets this key to this value.
    Key(&'static str, String),
    /// It is known, and this registry needs nothing for it.
    NoEffect(&'static str),
    /// It asks for a protection that is missing here. A start without it would leave the registry more open than its
    /// operator believes.
    Refused(&'static str),
    /// It is unknown.
    Unknown,
}

/// Variables that set a key of ours.
const KEYS: [(&str, &str); 14] = [
    ("REGISTRY_AUTH_HTPASSWD_PATH", "auth.htpasswd"),
    ("REGISTRY_HTTP_ADDR", "server.listen"),
    ("REGISTRY_HTTP_HOST", "server.url"),
    ("REGISTRY_HTTP_RELATIVEURLS", "server.locations"),
    ("REGISTRY_HTTP_TLS_CERTIFICATE", "server.tls.certificate"),
    ("REGISTRY_HTTP_TLS_KEY", "server.tls.key"),
    ("REGISTRY_HTTP_DRAINTIMEOUT", "server.shutdown_grace"),
    ("REGISTRY_STORAGE", "storage.backend"),
    ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "storage.data"),
    ("REGISTRY_STORAGE_DELETE_ENABLED", "registry.delete"),
    ("REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING_AGE", "gc.upload_expiry"),
    ("REGISTRY_LOG_LEVEL", "log.level"),
    ("REGISTRY_LOG_FORMATTER", "log.format"),
    ("REGISTRY_HTTP_DEBUG_PROMETHEUS_ENABLED", "metrics.enabled"),
];

/// Variables that this registry needs nothing for.
const NO_EFFECT: [(&str, &str); 5] = [
    ("REGISTRY_AUTH_FILE", "it is for podman and skopeo, as clients"),
    ("REGISTRY_AUTH_HTPASSWD_REALM", "the realm is always Skyberth"),
    ("REGISTRY_HTTP_SECRET", "upload sessions are kept on disk and carry no signed state"),
    ("REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR", "the index holds the descriptors"),
    ("REGISTRY_STORAGE_FILESYSTEM_MAXTHREADS", "see registry.max_transfers"),
];

/// Families of variables that ask for features missing in this build. A start without these would serve more, or
/// something else, than the operator believes.
const REFUSED: [(&str, &str); 4] = [
    ("REGISTRY_AUTH", "asks for logins of another kind; only htpasswd is in this build"),
    ("REGISTRY_HTTP_TLS", "asks for a kind of TLS that is not in this build; server.tls has what there is"),
    ("REGISTRY_STORAGE_MAINTENANCE_READONLY", "asks for a read-only registry, which is not in this build"),
    (
        "REGISTRY_PROXY",
        "asks for a cache of another registry, which is not in this build; unset it to serve only pushed content",
    ),
];

/// Names of all variables that set a key, for suggestions.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|(name, _)| *name)
}

/// The meaning of variable `name` with value `text`.
pub(super) fn meaning(name: &str, text: &str) -> Meaning {
    if (name, text) == ("REGISTRY_AUTH", "htpasswd") {
        // Without a file of users, it must not leave the registry open.
        return Meaning::Key("auth.anonymous", "none".to_owned());
    }
    let entry = |table: &[(&str, &'static str)]| table.iter().find(|(known, _)| *known == name).map(|(_, what)| *what);
    if let Some(key) = entry(&KEYS) {
        return Meaning::Key(key, translate(name, text));
    }
    if let Some(reason) = entry(&NO_EFFECT) {
        return Meaning::NoEffect(reason);
    }
    if name == "REGISTRY_HTTP_TLS_MINIMUMTLS" && ["tls1.0", "tls1.1", "tls1.2"].contains(&text) {
        return Meaning::NoEffect("the oldest version here is TLS 1.2");
    }
    let family = |prefix: &str| name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'));
    REFUSED.iter().find(|(prefix, _)| family(prefix)).map_or(Meaning::Unknown, |(_, why)| Meaning::Refused(why))
}

/// Variables with a boolean value.
const BOOLEANS: [&str; 3] =
    ["REGISTRY_HTTP_RELATIVEURLS", "REGISTRY_STORAGE_DELETE_ENABLED", "REGISTRY_HTTP_DEBUG_PROMETHEUS_ENABLED"];

/// A boolean of YAML or Go as `true` or `false`. Distribution parses its variables as YAML.
fn boolean(text: &str) -> &str {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" | "yes" | "y" | "on" => "true",
        "false" | "f" | "0" | "no" | "n" | "off" => "false",
        _ => text,
    }
}

/// Translates distribution's values into ours.
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
            "REGISTRY_AUTH_TOKEN_REALM",
            "REGISTRY_AUTH_SILLY_REALM",
            "REGISTRY_HTTP_TLS_CLIENTCAS",
            "REGISTRY_HTTP_TLS_CIPHERSUITES",
            "REGISTRY_HTTP_TLS_MINIMUMTLS",
            "REGISTRY_PROXY_REMOTEURL",
        ] {
            assert!(matches!(meaning(name, "x"), Meaning::Refused(_)), "{name}");
        }
        assert!(matches!(meaning("REGISTRY_HTTP_TLS_MINIMUMTLS", "tls1.3"), Meaning::Refused(_)));
        assert!(matches!(meaning("REGISTRY_HTTP_TLS_MINIMUMTLS", "tls1.2"), Meaning::NoEffect(_)));
        assert_eq!(meaning("REGISTRY_AUTHOR", "x"), Meaning::Unknown);
    }

    #[test]
    fn htpasswd_files_are_taken_and_never_leave_the_registry_open() {
        let htpasswd = meaning("REGISTRY_AUTH", "htpasswd");
        assert_eq!(htpasswd, Meaning::Key("auth.anonymous", "none".into()));
        let path = meaning("REGISTRY_AUTH_HTPASSWD_PATH", "/auth/htpasswd");
        assert_eq!(path, Meaning::Key("auth.htpasswd", "/auth/htpasswd".into()));
        assert!(matches!(meaning("REGISTRY_AUTH_HTPASSWD_REALM", "x"), Meaning::NoEffect(_)));
        // It stopped the start on machines where podman is used.
        assert!(matches!(meaning("REGISTRY_AUTH_FILE", "x"), Meaning::NoEffect(_)));
    }

    /// The suggested variable had no effect, just like the unknown one.
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
        // These values stopped the start, though distribution accepts them.
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
