//! Expectations of answers: statuses, headers and error bodies, each with a message that names the fault.

use anyhow::{anyhow, bail, ensure};
use serde_json::Value;

use crate::client::Response;
use crate::site::{Repo, clip, digest, local_path};

/// The error codes of the distribution specification, all of them.
const CODES: [&str; 14] = [
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
];

/// The outcome of a row that does not apply to this registry, with the reason.
#[derive(Debug)]
pub struct NotHere(pub String);

impl std::fmt::Display for NotHere {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for NotHere {}

/// Skips the row, with a reason for the report.
pub fn not_here(why: &str) -> anyhow::Error {
    anyhow::Error::new(NotHere(why.to_owned()))
}

/// Collects the faults of a row with several parts, so that one does not hide the next.
#[derive(Debug, Default)]
pub struct Faults(Vec<String>);

impl Faults {
    pub fn check(&mut self, what: &str, result: anyhow::Result<()>) {
        if let Err(error) = result {
            self.0.push(format!("[{}] {error:#}", clip(what)));
        }
    }

    pub fn finish(self) -> anyhow::Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(anyhow!("{}", self.0.join("; "))) }
    }
}

/// Fails with `fault` unless the condition holds.
pub fn that(holds: bool, fault: impl FnOnce() -> String) -> anyhow::Result<()> {
    if holds { Ok(()) } else { Err(anyhow!(fault())) }
}

pub fn status(answer: &Response, allowed: &[u16]) -> anyhow::Result<()> {
    ensure!(allowed.contains(&answer.status), "expected {allowed:?}, got {} {}", answer.status, clip(&answer.text()));
    Ok(())
}

/// The codes of an error body in the specification's form. The body is optional.
pub fn codes(answer: &Response) -> anyhow::Result<Vec<String>> {
    if !answer.own {
        return Ok(Vec::new());
    }
    let kind = answer.header("Content-Type").unwrap_or("");
    ensure!(kind.starts_with("application/json"), "{} error body is {kind:?}, not JSON", answer.status);
    let body = answer.json()?;
    let errors = body.get("errors").and_then(Value::as_array).filter(|list| !list.is_empty());
    let errors = errors.ok_or_else(|| anyhow!("no errors in {}", clip(&answer.text())))?;
    let code = |error: &Value| {
        let code = error.get("code").and_then(Value::as_str).unwrap_or("");
        ensure!(CODES.contains(&code), "{code:?} is not a code of the specification");
        Ok(code.to_owned())
    };
    errors.iter().map(code).collect()
}

/// Expects an error with one of these statuses. By our own policy its codes must be among these.
pub fn error(answer: &Response, statuses: &[u16], allowed: &[&str]) -> anyhow::Result<()> {
    status(answer, statuses)?;
    if !answer.own {
        return Ok(());
    }
    let length = answer.need("Content-Length")?;
    ensure!(length == answer.body.len().to_string(), "Content-Length {length} of {} bytes", answer.body.len());
    for code in codes(answer)? {
        ensure!(allowed.contains(&code.as_str()), "expected code {allowed:?}, got {code}");
    }
    Ok(())
}

pub fn header(answer: &Response, name: &str, want: &str) -> anyhow::Result<()> {
    let got = answer.need(name)?;
    ensure!(got == want, "{name} should be {want:?}, but is {got:?}");
    Ok(())
}

/// A header that v1.1.1 only recommends. Skyberth must send it. Other registries may omit it, but must not send a wrong
/// one.
pub fn recommended(answer: &Response, name: &str, want: &str) -> anyhow::Result<()> {
    if !answer.own && answer.header(name).is_none() {
        return Ok(());
    }
    header(answer, name, want)
}

pub fn no_header(answer: &Response, name: &str) -> anyhow::Result<()> {
    match answer.header(name) {
        Some(value) => bail!("{name}: {value:?} should not be there"),
        None => Ok(()),
    }
}

/// The items of a comma-separated list, which may span several headers of that name.
pub fn list(answer: &Response, name: &str) -> Vec<String> {
    let same = answer.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
    same.flat_map(|(_, value)| value.split(',').map(|item| item.trim().to_owned())).collect()
}

/// A `Location`. By our own policy it has neither scheme nor host, since behind a proxy only the client knows these.
pub fn relative_location(answer: &Response) -> anyhow::Result<&str> {
    let location = answer.need("Location")?;
    ensure!(!answer.own || location.starts_with("/v2/"), "Location {location:?} is not relative");
    Ok(location)
}

/// Expects the 201 of a push: with the client's digest, and a relative `Location` that returns the same bytes.
pub fn pushed(repo: &Repo, answer: &Response, want: &str, bytes: &[u8]) -> anyhow::Result<()> {
    answer.expect(201)?;
    recommended(answer, "Docker-Content-Digest", want)?;
    let location = relative_location(answer)?;
    match local_path(&repo.target, location) {
        Ok(path) => pulled(repo, &path, want, bytes),
        // A Location on another server is allowed.
        Err(error) if answer.own => Err(error),
        Err(_) => Ok(()),
    }
}

/// Expects GET and HEAD to return exactly these bytes, length and digest.
pub fn pulled(repo: &Repo, path: &str, want: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let answer = repo.get(path)?;
    answer.expect(200)?;
    ensure!(
        answer.body == bytes,
        "{}: {} bytes were returned, not the {} bytes pushed",
        clip(path),
        answer.body.len(),
        bytes.len()
    );
    let algorithm = want.split(':').next().unwrap_or("");
    ensure!(digest(algorithm, &answer.body) == want, "{}: body does not match {want}", clip(path));
    for answer in [answer, repo.head(path)?] {
        answer.expect(200)?;
        recommended(&answer, "Docker-Content-Digest", want)?;
        recommended(&answer, "Content-Length", &bytes.len().to_string())?;
    }
    Ok(())
}

/// Expects GET and HEAD to answer 404.
pub fn absent(repo: &Repo, path: &str) -> anyhow::Result<()> {
    for answer in [repo.get(path)?, repo.head(path)?] {
        ensure!(answer.status == 404, "{} should be absent, but answers {}", clip(path), answer.status);
    }
    Ok(())
}

/// The tags of a `tags/list` answer.
pub fn tag_names(answer: &Response) -> anyhow::Result<Vec<String>> {
    answer.expect(200)?;
    strings(&answer.json()?, "tags")
}

/// A member that must be a list of strings, not null.
pub fn strings(body: &Value, member: &str) -> anyhow::Result<Vec<String>> {
    let list = body.get(member).and_then(Value::as_array);
    let list = list.ok_or_else(|| anyhow!("{member} is not a list in {}", clip(&body.to_string())))?;
    list.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(|| anyhow!("{item} in {member}"))).collect()
}

/// The target of `Link: <...>; rel="next"`, if there is one.
pub fn next_link(answer: &Response) -> anyhow::Result<Option<String>> {
    let Some(link) = answer.header("Link") else { return Ok(None) };
    let parsed = link.strip_prefix('<').and_then(|rest| rest.split_once('>'));
    let (target, parameters) = parsed.ok_or_else(|| anyhow!("Link {link:?} is not RFC 8288"))?;
    ensure!(parameters.replace(' ', "").contains(";rel=\"next\""), "Link {link:?} without rel=\"next\"");
    ensure!(target.starts_with("/v2/") || target.starts_with("http"), "Link {link:?} is neither relative nor absolute");
    Ok(Some(target.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Response {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Response { status, headers, body: body.as_bytes().to_vec(), own: true }
    }

    fn refusal(code: &str) -> Response {
        let body = format!("{{\"errors\":[{{\"code\":\"{code}\"}}]}}");
        let length = body.len().to_string();
        answer(404, &[("Content-Type", "application/json"), ("Content-Length", &length)], &body)
    }

    #[test]
    fn an_error_needs_the_status_the_form_and_the_code() {
        assert!(error(&refusal("NAME_UNKNOWN"), &[404], &["NAME_UNKNOWN"]).is_ok());
        assert!(error(&refusal("NAME_UNKNOWN"), &[400], &["NAME_UNKNOWN"]).is_err());
        assert!(error(&refusal("NAME_UNKNOWN"), &[404], &["NAME_INVALID"]).is_err());
        assert!(error(&refusal("TAG_INVALID"), &[404], &["TAG_INVALID"]).is_err(), "not one of the 14");
        let plain = answer(404, &[("Content-Type", "text/plain"), ("Content-Length", "2")], "{}");
        assert!(error(&plain, &[404], &["NAME_UNKNOWN"]).is_err());
        let none = answer(404, &[("Content-Type", "application/json"), ("Content-Length", "13")], "{\"errors\":[]}");
        assert!(error(&none, &[404], &["NAME_UNKNOWN"]).is_err());
    }

    #[test]
    fn of_others_only_what_the_specification_says_is_asked() {
        let mut plain = answer(404, &[("Content-Type", "text/plain"), ("Location", "https://a/v2/b")], "not found");
        assert!(error(&plain, &[404], &["NAME_UNKNOWN"]).is_err() && relative_location(&plain).is_err());
        plain.own = false;
        assert!(error(&plain, &[404], &["NAME_UNKNOWN"]).is_ok() && relative_location(&plain).is_ok());
        assert!(error(&plain, &[400], &["NAME_UNKNOWN"]).is_err(), "the status is the specification's");
        assert!(recommended(&plain, "Docker-Content-Digest", "a").is_ok(), "it may be absent");
        assert!(recommended(&plain, "Content-Type", "a").is_err(), "it may not be wrong");
    }

    #[test]
    fn a_link_must_be_rel_next() {
        let link = |value: &str| next_link(&answer(200, &[("Link", value)], ""));
        assert_eq!(
            link("</v2/a/tags/list?n=1&last=b>; rel=\"next\"").unwrap().as_deref(),
            Some("/v2/a/tags/list?n=1&last=b")
        );
        assert!(link("</v2/a/tags/list>; rel=\"prev\"").is_err());
        assert!(link("/v2/a/tags/list; rel=\"next\"").is_err());
        assert!(next_link(&answer(200, &[], "")).unwrap().is_none());
    }

    #[test]
    fn one_fault_does_not_hide_the_next() {
        let mut faults = Faults::default();
        faults.check("good", Ok(()));
        faults.check("first", Err(anyhow!("one")));
        faults.check("second", Err(anyhow!("two")));
        assert_eq!(faults.finish().unwrap_err().to_string(), "[first] one; [second] two");
        assert!(Faults::default().finish().is_ok());
    }

    #[test]
    fn null_is_no_list() {
        assert!(strings(&serde_json::json!({"tags": null}), "tags").is_err());
        assert!(strings(&serde_json::json!({"tags": []}), "tags").unwrap().is_empty());
        assert!(strings(&serde_json::json!({"tags": [1]}), "tags").is_err());
    }

    #[test]
    fn items_of_a_list_may_share_a_header_or_not() {
        let both = answer(201, &[("OCI-Tag", "a, b"), ("oci-tag", "c")], "");
        assert_eq!(list(&both, "OCI-Tag"), ["a", "b", "c"]);
    }
}
