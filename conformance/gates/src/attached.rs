//! A node with an attached portal: names of its settings, and a parser of its list of placements.

/// The setting that attaches a portal.
pub const ATTACHED: &str = "SKYBERTH_PORTAL_ATTACHED";
pub const LISTEN: &str = "SKYBERTH_PORTAL_LISTEN";

/// Digests and skylinks printed by `skyberth ls NAME@DIGEST`, each on its own line, the skylink indented.
pub fn places(listed: &str) -> Vec<(String, String)> {
    let (mut found, mut digest) = (Vec::new(), "");
    for line in listed.lines() {
        let mut words = line.split_whitespace();
        if !line.starts_with(' ') {
            digest = words.next().unwrap_or_default();
        } else if words.next() == Some("skynet")
            && let Some(skylink) = words.nth(1).filter(|word| word.len() == 46)
        {
            found.push((digest.to_owned(), skylink.to_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_places_is_read() {
        let skylink = "AABVgSG2Kiq2eCw9J5J79RI3Y6mxjbfZAavEK-6_gMHONA";
        let listed = format!(
            "a (untagged)\tsha256:1\t3 B\tx\nsha256:1\t3 B\there\n  skynet 4MiB/1+4 {skylink} at http://a, read back\nsha256:2\t3 B\tnot here\n"
        );
        assert_eq!(places(&listed), [("sha256:1".to_owned(), skylink.to_owned())]);
    }
}
