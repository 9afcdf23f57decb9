//! From the requested path to the served path: single subfiles, default paths, tryfiles.

use super::Metadata;

/// Served at the root of a directory without a default path, if it has a file of this name.
const INDEX: &str = "index.html";

/// The path that is served for the requested `path`; it may not exist. Paths begin with a slash, subfiles' names do
/// not.
pub(crate) fn serve_path(metadata: &Metadata, path: &str) -> String {
    if path == "/" && !metadata.disable_default_path {
        // A single subfile is served at the root, also with tryfiles.
        if let Some(name) = only_subfile(metadata) {
            return absolute(name);
        }
    }
    if !metadata.try_files.is_empty() {
        return by_try_files(metadata, path).unwrap_or_else(|| path.to_owned());
    }
    if path == "/" {
        let default = default_path(metadata).unwrap_or_default();
        if !default.is_empty() && has(metadata, default.strip_prefix('/').unwrap_or(default)) {
            return absolute(default);
        }
    }
    path.to_owned()
}

/// The name with a slash before it.
fn absolute(name: &str) -> String {
    if name.starts_with('/') { name.to_owned() } else { format!("/{name}") }
}

fn only_subfile(metadata: &Metadata) -> Option<&str> {
    let mut names = metadata.subfiles.keys();
    names.next().filter(|_| names.next().is_none()).map(String::as_str)
}

fn has(metadata: &Metadata, name: &str) -> bool {
    metadata.subfiles.contains_key(name)
}

fn default_path(metadata: &Metadata) -> Option<&str> {
    if metadata.disable_default_path {
        return None;
    }
    if metadata.default_path.is_empty() && has(metadata, INDEX) {
        return Some(INDEX);
    }
    Some(&metadata.default_path)
}

/// The first applicable tryfile, if no subfile has the requested name. An absolute tryfile applies anywhere, a relative
/// one in the requested directory.
fn by_try_files(metadata: &Metadata, path: &str) -> Option<String> {
    let asked = path.trim_matches('/');
    if has(metadata, asked) {
        return None;
    }
    metadata.try_files.iter().find_map(|file| {
        if file.starts_with('/') && has(metadata, file.trim_matches('/')) {
            return Some(file.clone());
        }
        let candidate = format!("{asked}{}", absolute(file));
        let candidate = candidate.trim_matches('/');
        has(metadata, candidate).then(|| absolute(candidate))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::directory;
    use super::*;
    use proptest::prelude::*;

    const APP: [&str; 4] =
        ["index.html", "dir_with_idx/index.html", "dir_with_idx/about.html", "dir_without/about.html"];

    #[test]
    fn a_lone_subfile_is_served_at_the_root() {
        let mut metadata = directory(&["docs/only.txt"]);
        assert_eq!(serve_path(&metadata, "/"), "/docs/only.txt");
        assert_eq!(serve_path(&metadata, "/else"), "/else");
        metadata.try_files = vec!["index.html".to_owned()];
        assert_eq!(serve_path(&metadata, "/"), "/docs/only.txt");
        metadata.try_files = Vec::new();
        metadata.disable_default_path = true;
        assert_eq!(serve_path(&metadata, "/"), "/");
    }

    #[test]
    fn the_default_path_is_for_the_root_alone() {
        let mut metadata = directory(&APP);
        assert_eq!(serve_path(&metadata, "/"), "/index.html");
        assert_eq!(serve_path(&metadata, "/dir_with_idx/"), "/dir_with_idx/");
        metadata.default_path = "/dir_with_idx/about.html".to_owned();
        assert_eq!(serve_path(&metadata, "/"), "/dir_with_idx/about.html");
        // Old uploads wrote it without its slash.
        metadata.default_path = "index.html".to_owned();
        assert_eq!(serve_path(&metadata, "/"), "/index.html");
        metadata.default_path = "/missing.html".to_owned();
        assert_eq!(serve_path(&metadata, "/"), "/");
        metadata.default_path = String::new();
        metadata.disable_default_path = true;
        assert_eq!(serve_path(&metadata, "/"), "/");
        assert_eq!(serve_path(&directory(&["a", "b"]), "/"), "/");
    }

    #[test]
    fn tryfiles_serve_directories_and_what_is_missing() {
        let mut metadata = directory(&APP);
        metadata.try_files = vec!["index.html".to_owned(), "/index.html".to_owned()];
        for (asked, served) in [
            ("/", "/index.html"),
            ("/dir_with_idx/about.html", "/dir_with_idx/about.html"),
            ("/dir_with_idx/noexist.html", "/index.html"),
            ("/dir_with_idx/", "/dir_with_idx/index.html"),
            ("/dir_with_idx", "/dir_with_idx/index.html"),
            ("/dir_without/", "/index.html"),
            ("/noexist.html", "/index.html"),
        ] {
            assert_eq!(serve_path(&metadata, asked), served, "{asked}");
        }
        metadata.try_files.pop();
        for (asked, served) in
            [("/", "/index.html"), ("/dir_without/", "/dir_without/"), ("/dir_with_idx/no", "/dir_with_idx/no")]
        {
            assert_eq!(serve_path(&metadata, asked), served, "{asked}");
        }
    }

    #[test]
    fn a_tryfile_may_lie_deeper() {
        let mut metadata = directory(&["index.html", "news/good-news/index.html", "img/image.png"]);
        metadata.try_files = vec!["good-news/index.html".to_owned()];
        assert_eq!(serve_path(&metadata, "/news"), "/news/good-news/index.html");
        assert_eq!(serve_path(&metadata, "/"), "/");
        assert_eq!(serve_path(&metadata, "/img"), "/img");
    }

    proptest! {
        #[test]
        fn what_is_served_begins_with_a_slash(
            names in prop::collection::btree_set("[ab/.é]{0,6}", 0..4),
            tries in prop::collection::vec("[ab/]{0,5}", 0..3),
            default in "[ab/]{0,5}", path in "/[ab/é]{0,8}", disabled: bool,
        ) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let mut metadata = directory(&names);
            metadata.try_files = tries;
            metadata.default_path = default;
            metadata.disable_default_path = disabled;
            let served = serve_path(&metadata, &path);
            prop_assert!(served.starts_with('/'));
            prop_assert!(served == path || metadata.subfiles.keys().any(|name| absolute(name) == served
                || name.trim_matches('/') == served.trim_matches('/')));
        }
    }
}
