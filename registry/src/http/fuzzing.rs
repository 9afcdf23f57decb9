//! Targets for fuzzing: paths, and the headers of a chunk.

use super::content_range::parse_content_range;
use super::route::Route;

/// A path, and the value of `Content-Range`.
pub(crate) fn routes(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (path, range) = text.split_once('\n').unwrap_or((text, text));
    if let Ok(route) = Route::parse(path) {
        // An invalid id of an upload has no form of its own.
        let again = if matches!(route, Route::Upload(_, None)) { path.to_owned() } else { route.to_string() };
        assert_eq!(Route::parse(&again).as_ref(), Ok(&route));
        assert!(!route.label().is_empty());
    }
    if let Some(range) = parse_content_range(range) {
        assert!(range.first <= range.last);
        assert_eq!(parse_content_range(&format!("{}-{}", range.first, range.last)), Some(range));
        assert_eq!(range.offsets().end - range.offsets().start, range.length());
    }
}
