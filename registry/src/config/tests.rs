//! How the four sources combine into a configuration.

use std::path::PathBuf;

mod reference;

use super::keys::leaves;
use super::*;

fn environment(pairs: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect::<Vec<_>>().into_iter()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn load(text: &str, variables: &[(&str, &str)], flags: Flags) -> Result<Loaded, ConfigError> {
    let file = file(text);
    Config::load(Some(file.path()), environment(variables), flags)
}

fn faults(result: Result<Loaded, ConfigError>) -> Vec<Fault> {
    match result {
        Err(ConfigError::Faults(faults)) => faults,
        other => panic!("expected faults, got {other:?}"),
    }
}

#[test]
fn without_anything_the_documented_defaults_hold() {
    let loaded = Config::load(None, environment(&[]), Flags::default()).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.config.server.listen.to_string(), "127.0.0.1:5000");
    assert_eq!(loaded.config.storage.data, PathBuf::from("./skyberth-data"));
    assert_eq!(loaded.config.registry.max_manifest_size.bytes(), 4 << 20);
    assert_eq!(loaded.config.gc.grace.to_string(), "24h");
    assert!(loaded.warnings.is_empty());
    assert!(loaded.sources.values().all(|source| *source == Source::Default));
}

#[test]
fn each_source_wins_over_the_weaker_ones() {
    let text = "[server]\nlisten = '127.0.0.1:1'\n";
    let registry = ("REGISTRY_HTTP_ADDR", ":2");
    let own = ("SKYBERTH_SERVER_LISTEN", "127.0.0.1:3");
    let flags = || Flags { listen: Some("127.0.0.1:4".into()), ..Flags::default() };
    for (variables, flags, expected, source) in [
        (vec![], Flags::default(), "127.0.0.1:1", None),
        (vec![registry], Flags::default(), "0.0.0.0:2", Some(Source::Environment("REGISTRY_HTTP_ADDR".into()))),
        (vec![own, registry], Flags::default(), "127.0.0.1:3", Some(Source::Environment(own.0.into()))),
        (vec![own, registry], flags(), "127.0.0.1:4", Some(Source::Flag("--listen"))),
    ] {
        let loaded = load(text, &variables, flags).unwrap();
        assert_eq!(loaded.config.server.listen.to_string(), expected);
        match source {
            Some(source) => assert_eq!(loaded.sources["server.listen"], source),
            None => assert!(matches!(loaded.sources["server.listen"], Source::File { line: 2, .. })),
        }
    }
}

/// A valid value for the key, as text, that differs from the default.
fn another_value(key: &str, default: &toml::Value) -> String {
    match (key, default) {
        ("storage.backend", _) => "fs".into(),
        ("storage.acknowledge", _) => "local".into(),
        ("storage.skynet.portals", _) => "http://127.0.0.1:9980".into(),
        ("storage.skynet.domains", _) => "here".into(),
        ("server.listen" | "server.plain_listen" | "portal.listen" | "gateway.listen", _) => "10.9.8.7:65".into(),
        ("log.access", _) => "all".into(),
        ("server.locations", _) => "absolute".into(),
        ("server.trusted_proxies", _) => "10.0.0.0/8".into(),
        ("server.hosts", _) => "registry.example".into(),
        ("server.origins", _) => "https://ui.example".into(),
        ("registry.descriptor_sizes", _) => "ignore".into(),
        ("server.url" | "portal.url" | "gateway.url", _) => "https://portal.example".into(),
        ("portal.profile" | "storage.skynet.profile", _) => "4MiB/10+20".into(),
        ("portal.max_metadata", _) => "2MiB".into(),
        ("portal.peers", _) => "http://portal.example:9980".into(),
        (
            "portal.api_keys"
            | "portal.peer_key"
            | "storage.skynet.api_key"
            | "storage.skynet.cookie"
            | "storage.skynet.skyd_password",
            _,
        ) => "a-key".into(),
        ("auth.anonymous", _) => "pull".into(),
        ("auth.challenge", _) => "basic".into(),
        ("auth.htpasswd" | "auth.policy", _) => "/a/file".into(),
        ("auth.users", _) => "bob:$2y$05$QmRRXfF6vJVoBcF8rD8dSedj/Dkffmcm5uh11bG5/ogJ4ksMZMPD6".into(),
        ("auth.token_key", _) => "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".into(),
        ("server.run_as", _) => "65532:65532".into(),
        ("log.level", _) => "trace".into(),
        ("log.format", _) => "json".into(),
        ("server.max_header_bytes", _) => "16KiB".into(),
        ("registry.max_blob_size", _) => "16GiB".into(),
        (_, toml::Value::Boolean(value)) => (!value).to_string(),
        (_, toml::Value::Integer(value)) => (value + 1).to_string(),
        (_, toml::Value::String(text)) if text.parse::<ByteSize>().is_ok() => "7MiB".into(),
        (_, toml::Value::String(text)) if text.parse::<TimeSpan>().is_ok() => "7m".into(),
        (_, toml::Value::String(text)) => format!("{text}-other"),
        (key, value) => panic!("no other value known for {key} = {value}"),
    }
}

#[test]
fn every_key_is_reachable_by_its_own_variable() {
    let defaults = Config::default().to_table();
    let keys = leaves(&defaults);
    let names: std::collections::BTreeSet<String> = keys.iter().map(|key| variable_name(key)).collect();
    assert_eq!(names.len(), keys.len(), "two keys share a variable");
    for key in &keys {
        let default = keys::get(&defaults, key).unwrap();
        let (name, text) = (variable_name(key), another_value(key, default));
        // These alone are faults.
        let beside = match key.as_str() {
            "server.tls.key" => Some(("SKYBERTH_SERVER_TLS_CERTIFICATE", "cert.pem")),
            "server.proxy_protocol" => Some(("SKYBERTH_SERVER_TRUSTED_PROXIES", "10.0.0.0/8")),
            _ => None,
        };
        let variables: Vec<(&str, &str)> = beside.into_iter().chain([(&*name, &*text)]).collect();
        let loaded = Config::load(None, environment(&variables), Flags::default()).unwrap();
        assert_eq!(loaded.sources[key], Source::Environment(name.clone()));
        let table = loaded.config.to_table();
        let now = keys::get(&table, key).unwrap();
        // A secret is shown as the placeholder.
        let shown = match key.as_str() {
            "portal.api_keys" => r#"["(secret)"]"#,
            "auth.htpasswd" => r#"["/a/file"]"#,
            "auth.token_key"
            | "auth.users"
            | "portal.peer_key"
            | "storage.skynet.api_key"
            | "storage.skynet.cookie"
            | "storage.skynet.skyd_password" => "(secret)",
            "storage.skynet.portals" => r#"["http://127.0.0.1:9980"]"#,
            "storage.skynet.domains" => r#"["here"]"#,
            "portal.peers" => r#"["http://portal.example:9980"]"#,
            "server.trusted_proxies" => r#"["10.0.0.0/8"]"#,
            "server.hosts" => r#"["registry.example"]"#,
            "server.origins" => r#"["https://ui.example"]"#,
            _ => &text,
        };
        assert_eq!(now.as_str().map_or_else(|| now.to_string(), str::to_owned), shown, "{name}");
        assert_eq!(loaded.sources.values().filter(|source| **source != Source::Default).count(), variables.len());
    }
}

#[test]
fn the_subset_of_distribution_reaches_its_keys() {
    let loaded = Config::load(
        None,
        environment(&[
            ("REGISTRY_HTTP_ADDR", ":5000"),
            ("REGISTRY_HTTP_HOST", "https://registry.example/"),
            ("REGISTRY_HTTP_RELATIVEURLS", "false"),
            ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/var/lib/registry"),
            ("REGISTRY_STORAGE_DELETE_ENABLED", "false"),
            ("REGISTRY_LOG_LEVEL", "debug"),
            ("REGISTRY_LOG_FORMATTER", "json"),
            ("REGISTRY_HTTP_DRAINTIMEOUT", "60s"),
            ("REGISTRY_STORAGE", "filesystem"),
        ]),
        Flags::default(),
    )
    .unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let config = loaded.config;
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:5000");
    assert_eq!(config.storage.data, PathBuf::from("/var/lib/registry"));
    assert_eq!(config.server.url, "https://registry.example");
    assert_eq!(config.server.locations, Locations::Absolute);
    assert!(!config.registry.delete);
    assert_eq!((config.log.level.as_str(), config.log.format), ("debug", LogFormat::Json));
    assert_eq!(config.server.shutdown_grace, TimeSpan::from_secs(60));
}

#[test]
fn unknown_variables_are_warnings_that_name_the_nearest() {
    let variables = [
        ("SKYBERTH_SERVER_LISTN", "x"),
        ("REGISTRY_HTTP_ADR", "x"),
        ("REGISTRY_HTTP_SECRET", "s3cret"),
        ("SKYBERTH_SERVICE_PORT", "5000"),
        ("SKYBERTH_PORT", "tcp://10.0.0.1:5000"),
        ("SKYBERTH_GC_GRACE", ""),
        ("SKYBERTH_CONFIG", "x"),
        ("REGISTRY_STORAGE_S3_BUCKET", "x"),
        ("PATH", "/bin"),
    ];
    let loaded = Config::load(None, environment(&variables), Flags::default()).unwrap();
    let warnings = loaded.warnings;
    assert_eq!(warnings.len(), 5, "{warnings:?}");
    assert_eq!(warnings[3], "unknown variable SKYBERTH_CONFIG is ignored");
    assert_eq!(warnings[4], "unknown variable REGISTRY_STORAGE_S3_BUCKET is ignored");
    assert!(warnings[0].contains("did you mean SKYBERTH_SERVER_LISTEN?"));
    assert!(warnings[1].contains("did you mean REGISTRY_HTTP_ADDR?"));
    assert!(warnings[2].contains("no effect") && !warnings[2].contains("s3cret"));
}

#[test]
fn an_unknown_key_in_the_file_names_its_line_and_the_nearest() {
    let found = faults(load("# x\n[server]\n\nlistne = ':1'\n[storrage]\ndata = 'x'\n", &[], Flags::default()));
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0].key, "server.listne");
    assert!(matches!(found[0].source, Some(Source::File { line: 4, .. })), "{:?}", found[0].source);
    assert!(found[0].message.contains("did you mean server.listen?"), "{}", found[0].message);
    assert_eq!(found[1].key, "storrage");
    assert!(matches!(found[1].source, Some(Source::File { line: 5, .. })), "{:?}", found[1].source);
    assert!(found[1].message.contains("did you mean storage?"), "{}", found[1].message);
}

#[test]
fn all_faults_are_listed_with_their_sources() {
    let text = "[server]\nlisten = 5\nmax_connections = 0\n[storage]\nbackend = 's3'\n[gc]\ngrace = 30\n";
    let variables =
        [("SKYBERTH_REGISTRY_PAGE_SIZE", "many"), ("SKYBERTH_LOG_LEVEL", "==="), ("REGISTRY_AUTH", "silly")];
    let flags = Flags { listen: Some("nowhere".into()), ..Flags::default() };
    let error = load(text, &variables, flags).unwrap_err();
    let shown = error.to_string();
    let found = faults(Err(error));
    let of = |key: &str| found.iter().filter(|fault| fault.key == key).collect::<Vec<_>>();
    assert_eq!(found.len(), 8, "{shown}");
    assert_eq!(of("server.listen").len(), 2);
    assert!(of("server.listen")[1].message.contains("`nowhere`"));
    assert_eq!(of("server.listen")[1].source, Some(Source::Flag("--listen")));
    assert!(of("server.max_connections")[0].message.contains("at least 1"));
    assert!(matches!(of("server.max_connections")[0].source, Some(Source::File { line: 3, .. })));
    assert!(of("storage.backend")[0].message.contains("`s3` is not in this build"));
    assert!(of("gc.grace")[0].message.contains("30s"), "{}", of("gc.grace")[0].message);
    assert!(of("registry.page_size")[0].message.contains("`many`"));
    assert_eq!(of("log.level").len(), 1);
    assert!(of("REGISTRY_AUTH")[0].message.contains("logins of another kind"));
    assert!(shown.starts_with("8 faults in the configuration:\n"), "{shown}");
}

#[test]
fn urls_proxies_and_levels_are_checked() {
    for (variable, bad, good) in [
        ("SKYBERTH_SERVER_URL", "registry.example", "https://registry.example:5000"),
        ("SKYBERTH_SERVER_URL", "https://registry.example/", "https://registry.example/skyberth"),
        ("SKYBERTH_SERVER_URL", "https://user@registry.example", "http://localhost"),
        ("SKYBERTH_SERVER_TRUSTED_PROXIES", "10.0.0.0/8, nginx", "10.0.0.0/8, ::1, 192.0.2.1"),
        ("SKYBERTH_SERVER_LOCATIONS", "fixed", "absolute"),
        ("SKYBERTH_REGISTRY_DESCRIPTOR_SIZES", "false", "ignore"),
        ("SKYBERTH_LOG_LEVEL", "warning", "warn,hyper=debug"),
        ("SKYBERTH_LOG_LEVEL", "verbose", "skyberth::server=debug"),
        ("SKYBERTH_LOG_ACCESS", "yes", "off"),
    ] {
        let load = |text| Config::load(None, environment(&[(variable, text)]), Flags::default());
        assert_eq!(faults(load(bad)).len(), 1, "{variable}={bad}");
        assert!(load(good).is_ok(), "{variable}={good}");
    }
}

/// The node ran and served nothing: a semaphore panics above its own limit.
#[test]
fn no_count_is_larger_than_a_semaphore_takes() {
    let defaults = Config::default().to_table();
    let counts: Vec<String> = leaves(&defaults)
        .into_iter()
        .filter(|key| keys::get(&defaults, key).is_some_and(toml::Value::is_integer))
        .filter(|key| !UNBOUNDED.contains(&key.as_str()))
        .collect();
    assert!(counts.len() >= 8, "{counts:?}");
    for key in counts {
        for bad in ["0", "1000001", "9223372036854775807"] {
            let load = Config::load(None, environment(&[(&variable_name(&key), bad)]), Flags::default());
            let found = faults(load);
            assert!(found.len() == 1 && found[0].key == key, "{key}={bad}: {found:?}");
        }
    }
}

/// Integers that become no permits.
const UNBOUNDED: [&str; 4] =
    ["portal.max_entries", "portal.registry_rate", "portal.lookup_rate", "storage.skynet.copies"];

#[test]
fn no_fault_repeats_a_secret() {
    for key in ["api_keys", "peer_key"]
        .map(|key| ("portal", key))
        .into_iter()
        .chain(["api_key", "cookie", "skyd_password"].map(|key| ("storage.skynet", key)))
        .chain(["users", "token_key"].map(|key| ("auth", key)))
    {
        let (section, name) = key;
        for value in
            ["'SECRET', x", "SECRET", "['SECRET', 7]", "[['SECRET']]", "{ x = 'SECRET' }", "[{ x = 'SECRET' }]"]
        {
            let shown = match load(&format!("[{section}]\n{name} = {value}\n"), &[], Flags::default()) {
                Ok(loaded) => loaded.effective(),
                Err(error) => error.to_string(),
            };
            assert!(!shown.contains("SECRET"), "{name} = {value}: {shown}");
        }
        let number = load(&format!("[{section}]\n{name} = 71318\n"), &[], Flags::default()).unwrap_err();
        assert!(!number.to_string().contains("71318"), "{number}");
    }
    let quoted = load("[portal]\napi_keys = 'SECRET'\n", &[], Flags::default()).unwrap_err().to_string();
    assert!(quoted.contains("portal.api_keys") && quoted.contains("must be a list") && !quoted.contains("SECRET"));
    for (variable, url) in [
        ("SKYBERTH_STORAGE_SKYNET_PORTALS", "http://u:SECRET@h"),
        ("SKYBERTH_STORAGE_SKYNET_PORTALS", "http://h/?key=SECRET"),
        ("SKYBERTH_PORTAL_PEERS", "http://u:SECRET@h"),
        ("SKYBERTH_SERVER_URL", "http://u:SECRET@h"),
        ("SKYBERTH_SERVER_ORIGINS", "http://u:SECRET@h"),
        ("REGISTRY_HTTP_HOST", "http://u:SECRET@h"),
    ] {
        let error = Config::load(None, environment(&[(variable, url)]), Flags::default()).unwrap_err().to_string();
        assert!(!error.contains("SECRET"), "{error}");
    }
}

#[test]
fn faults_say_in_plain_words_what_is_wanted() {
    for (text, wanted) in [
        ("[server]\nmax_connections = 'many'", "must be a whole number from 0"),
        ("[server]\nmax_connections = -1", "must be a whole number from 0"),
        ("[server]\nhosts = 'a'", r#"must be a list, such as ["a", "b"]"#),
        ("[server]\nhosts = [1]", "must be text in quotes"),
        ("[server]\nurl = 1", "must be text in quotes"),
        ("[server]\nlocations = 'fixed'", "`fixed` is unknown; write `relative` or `absolute`"),
        ("[registry]\ndelete = 'yes'", "must be true or false"),
        ("[storage]\nreserve = true", "must be a number of bytes, such as 65536"),
        ("[gc]\ngrace = true", "must be a span of time in quotes, such as"),
        ("[server]\nurl = 'reg.example'", "must begin with http:// or https://"),
        ("[server]\nurl = 'https://u:p@h'", "must not contain a user or password"),
        ("[server]\nurl = 'https://h:99999'", "is not a URL: invalid port number"),
        ("[server]\nurl = 'https://h/'", "must not end with a slash"),
        ("[server]\nurl = 'https://h?x'", "must be a host, perhaps with a port and a path"),
    ] {
        let found = faults(load(text, &[], Flags::default()));
        assert!(found.len() == 1 && found[0].message.contains(wanted), "{text}: {found:?}");
    }
}

#[test]
fn every_limit_is_checked_at_once() {
    let mut config = Config::default();
    config.server.header_timeout = TimeSpan::ZERO;
    config.server.max_header_bytes = ByteSize::from_bytes(100);
    config.storage.data = PathBuf::new();
    config.registry.max_manifest_size = ByteSize::from_bytes(0);
    config.registry.max_uploads = 0;
    config.gc.upload_expiry = TimeSpan::ZERO;
    let keys: Vec<String> = config.validate().unwrap_err().into_iter().map(|fault| fault.key).collect();
    assert_eq!(
        keys,
        [
            "server.header_timeout",
            "server.max_header_bytes",
            "storage.data",
            "registry.max_manifest_size",
            "registry.max_uploads",
            "gc.upload_expiry",
        ]
    );
}

#[test]
fn bad_files_are_told_with_path_and_line() {
    let missing = Config::load(Some("no/such/file.toml".as_ref()), environment(&[]), Flags::default());
    assert!(missing.unwrap_err().to_string().contains("no/such/file.toml"));
    let broken = load("[server]\nlisten = \n", &[], Flags::default());
    assert!(matches!(broken, Err(ConfigError::Syntax { line: 2, .. })), "{broken:?}");
    let section = faults(load("server = 5\n", &[], Flags::default()));
    assert!(section[0].message.contains("section"));
}

#[test]
fn sizes_and_spans_are_read_in_every_form() {
    let text = "[storage]\nreserve = 1048576\nindex_cache = '100MB'\n[gc]\ngrace = '1h30m'\n";
    let config = load(text, &[("SKYBERTH_REGISTRY_MAX_BLOB_SIZE", "10737418240")], Flags::default()).unwrap().config;
    assert_eq!(config.storage.reserve, ByteSize::from_mib(1));
    assert_eq!(config.storage.index_cache.bytes(), 100_000_000);
    assert_eq!(config.registry.max_blob_size, ByteSize::from_mib(10 * 1024));
    assert_eq!(config.gc.grace, TimeSpan::from_secs(5400));
}

#[test]
fn the_effective_configuration_reads_back_the_same() {
    let flags = Flags { data: Some("/srv/skyberth".into()), ..Flags::default() };
    let loaded = load("[gc]\ngrace = '36h'\n", &[("SKYBERTH_LOG_FORMAT", "json")], flags).unwrap();
    let text = loaded.effective();
    assert!(text.contains("grace = \"36h\"  # ") && text.contains(".tmp"), "{text}");
    assert!(text.contains("format = \"json\"  # environment SKYBERTH_LOG_FORMAT\n"), "{text}");
    assert!(text.contains("data = \"/srv/skyberth\"  # flag --data\n"), "{text}");
    assert!(text.contains("page_size = 1000  # default\n"), "{text}");
    let again = load(&text, &[], Flags::default()).unwrap();
    assert_eq!(again.config, loaded.config);
}
