//! Allowed answers, and the check whether an answer is among them.

use std::collections::BTreeSet;

use harness::client::Response;
use serde_json::Value;

use crate::model::state::{Bytes, Effect};

/// One allowed answer, with its effect on the state.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, Want)>,
    pub body: Body,
    pub effect: Effect,
}

/// The expected value of a header.
#[derive(Clone, Debug, PartialEq)]
pub enum Want {
    Is(String),
    Starts(String),
    /// All values of that name, split at commas, are exactly these.
    List(BTreeSet<String>),
    /// A `Link` with `rel="next"`.
    Next,
    Absent,
}

/// The expected body.
#[derive(Clone, Debug)]
pub enum Body {
    Any,
    Empty,
    Bytes(Bytes),
    /// The OCI error format with one of these codes. For the second field see [`Answer::errors`].
    Error(Vec<&'static str>, Option<usize>),
    Tags(String, Vec<String>),
    /// The repositories of one group. Those in the first list must be in the catalog.
    Catalog(Vec<String>, Vec<String>),
    /// The descriptors, in any order.
    Referrers(Vec<Value>),
}

impl Answer {
    pub fn new(status: u16) -> Self {
        Answer { status, headers: Vec::new(), body: Body::Any, effect: Effect::Nothing }
    }

    /// An error. Without codes, any body is allowed.
    pub fn error(status: u16, codes: &[&'static str]) -> Self {
        Answer { body: Body::Error(codes.to_vec(), None), ..Answer::new(status) }
    }

    /// Exactly this many errors with this code.
    pub fn errors(status: u16, code: &'static str, count: usize) -> Self {
        Answer { body: Body::Error(vec![code], Some(count)), ..Answer::new(status) }
    }

    pub fn header(mut self, name: &'static str, want: Want) -> Self {
        self.headers.push((name, want));
        self
    }

    pub fn is(self, name: &'static str, value: impl Into<String>) -> Self {
        self.header(name, Want::Is(value.into()))
    }

    pub fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    pub fn effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    /// Reports how the response differs from this answer.
    pub fn compare(&self, response: &Response, head: bool) -> Result<(), String> {
        if !response.own {
            return self.compare_others(response, head);
        }
        if response.status != self.status {
            return Err(format!("status {} instead of {}", response.status, self.status));
        }
        for (name, want) in &self.headers {
            want.compare(name, response)?;
        }
        if head {
            return if response.body.is_empty() { Ok(()) } else { Err("a body after HEAD".to_owned()) };
        }
        self.body.compare(response)
    }
}

impl Answer {
    /// Compares only what the specification requires: of errors the status, otherwise the body and few headers.
    fn compare_others(&self, response: &Response, head: bool) -> Result<(), String> {
        let is_refusal = |status: u16| (400..500).contains(&status);
        let alike = is_refusal(self.status) && is_refusal(response.status) && !matches!(self.status, 404 | 416);
        if response.status != self.status && !alike {
            return Err(format!("status {} instead of {}", response.status, self.status));
        }
        if self.status >= 400 {
            return Ok(());
        }
        for (name, want) in &self.headers {
            let found = response.header(name);
            match (*name, want) {
                ("Location", _) if found.is_none() => return Err("no Location".to_owned()),
                // No range describes zero bytes.
                ("Range", Want::Is(range)) if range == "0-0" => {}
                ("Range" | "Content-Type", want) => want.compare(name, response)?,
                ("Docker-Content-Digest" | "Content-Length" | "OCI-Subject", want) if found.is_some() => {
                    want.compare(name, response)?;
                }
                _ => {}
            }
        }
        match &self.body {
            _ if head => Ok(()),
            Body::Tags(name, tags) => {
                let body = response.json().map_err(|error| format!("{error:#}"))?;
                let found: Option<BTreeSet<String>> = strings(&body, "tags").map(|tags| tags.into_iter().collect());
                // The tags may be in either of two orders, which row 117 checks.
                let wanted: BTreeSet<String> = tags.iter().cloned().collect();
                if body["name"] == name.as_str() && found.as_ref() == Some(&wanted) {
                    return Ok(());
                }
                Err(format!("tags {body} instead of {wanted:?} of {name}"))
            }
            body => body.compare(response),
        }
    }
}

impl Want {
    fn compare(&self, name: &str, response: &Response) -> Result<(), String> {
        let found = response.header(name);
        let good = match self {
            Want::Is(value) => found == Some(value),
            Want::Starts(value) => found.is_some_and(|found| found.starts_with(value.as_str())),
            Want::Absent => found.is_none(),
            Want::Next => found.is_some_and(|found| found.starts_with('<') && found.contains("rel=\"next\"")),
            Want::List(values) => {
                let all = response.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
                let found: BTreeSet<_> = all.flat_map(|(_, v)| v.split(',')).map(|v| v.trim().to_owned()).collect();
                found == *values
            }
        };
        if good { Ok(()) } else { Err(format!("{name}: {found:?} instead of {self:?}")) }
    }
}

impl Body {
    fn compare(&self, response: &Response) -> Result<(), String> {
        let good = match self {
            Body::Any => true,
            Body::Empty => response.body.is_empty(),
            Body::Bytes(bytes) => response.body[..] == bytes[..],
            Body::Error(codes, count) => return compare_error(response, codes, *count),
            Body::Tags(name, tags) => response.json().is_ok_and(|body| {
                body.get("name").and_then(Value::as_str) == Some(name)
                    && strings(&body, "tags").is_some_and(|found| found == *tags)
            }),
            Body::Catalog(own, wanted) => response.json().is_ok_and(|body| {
                strings(&body, "repositories").is_some_and(|found| {
                    found.is_sorted() && found.iter().filter(|name| own.contains(name)).eq(wanted.iter())
                })
            }),
            Body::Referrers(wanted) => response.json().is_ok_and(|body| {
                let found = body.get("manifests").and_then(Value::as_array);
                body.get("schemaVersion").and_then(Value::as_u64) == Some(2)
                    && body.get("mediaType").and_then(Value::as_str) == Some(crate::model::reading::INDEX)
                    && found.is_some_and(|found| same_set(found, wanted))
            }),
        };
        if good {
            return Ok(());
        }
        let text: String = response.text().chars().take(600).collect();
        let mut wanted = format!("{self:?}");
        wanted.truncate(wanted.floor_char_boundary(900));
        Err(format!("body {text:?} instead of {wanted}"))
    }
}

fn strings(body: &Value, key: &str) -> Option<Vec<String>> {
    body.get(key)?.as_array()?.iter().map(|tag| tag.as_str().map(str::to_owned)).collect()
}

fn same_set(found: &[Value], wanted: &[Value]) -> bool {
    found.len() == wanted.len() && wanted.iter().all(|value| found.contains(value))
}

fn compare_error(response: &Response, codes: &[&str], count: Option<usize>) -> Result<(), String> {
    if codes.is_empty() {
        return Ok(());
    }
    let body = response.json().map_err(|error| format!("{}: {error:#}", response.status))?;
    let errors = body.get("errors").and_then(Value::as_array).ok_or("no errors in the body")?;
    let found: Vec<&str> = errors.iter().filter_map(|error| error.get("code")?.as_str()).collect();
    let type_is_json = response.header("Content-Type").is_some_and(|kind| kind.starts_with("application/json"));
    let good = match count {
        Some(count) => found.len() == count && found.iter().all(|code| codes.contains(code)),
        None => found.first().is_some_and(|code| codes.contains(code)),
    };
    if good && type_is_json { Ok(()) } else { Err(format!("errors {found:?} instead of {codes:?} ({count:?} times)")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, headers: &[(&str, &str)], body: &str) -> Response {
        let headers = headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Response { status, headers, body: body.as_bytes().to_vec(), own: true }
    }

    #[test]
    fn one_error_for_each_missing_digest() {
        let two = r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"},{"code":"MANIFEST_BLOB_UNKNOWN"}]}"#;
        let answer = response(400, &[("content-type", "application/json")], two);
        assert!(Answer::errors(400, "MANIFEST_BLOB_UNKNOWN", 2).compare(&answer, false).is_ok());
        assert!(Answer::errors(400, "MANIFEST_BLOB_UNKNOWN", 1).compare(&answer, false).is_err());
        assert!(Answer::error(400, &["MANIFEST_INVALID"]).compare(&answer, false).is_err());
    }

    #[test]
    fn of_others_a_refusal_may_be_any_other_and_what_is_absent_is_404() {
        let answer = |status| Response { own: false, ..response(status, &[], "") };
        let refusal = Answer::error(400, &["DIGEST_INVALID"]);
        assert!(refusal.compare(&answer(422), false).is_ok() && refusal.compare(&answer(201), false).is_err());
        assert!(Answer::error(404, &["BLOB_UNKNOWN"]).compare(&answer(400), false).is_err());
        let found = Answer::new(200).is("Docker-Content-Digest", "a").is("ETag", "\"a\"");
        assert!(found.compare(&answer(200), false).is_ok(), "both are optional");
        let wrong = Response { own: false, ..response(200, &[("docker-content-digest", "b")], "") };
        assert!(found.compare(&wrong, false).is_err());
    }

    #[test]
    fn lists_may_come_in_one_header_or_several() {
        let want = || Want::List(["a", "b"].map(str::to_owned).into());
        for headers in [&[("OCI-Tag", "b, a")][..], &[("oci-tag", "a"), ("OCI-Tag", "b")]] {
            assert!(Answer::new(201).header("OCI-Tag", want()).compare(&response(201, headers, ""), false).is_ok());
        }
        assert!(
            Answer::new(201).header("OCI-Tag", want()).compare(&response(201, &[("OCI-Tag", "a")], ""), false).is_err()
        );
    }

    #[test]
    fn a_catalog_is_judged_by_the_groups_own_names() {
        let own = vec!["a".to_owned(), "b".to_owned()];
        let answer = response(200, &[], r#"{"repositories":["b","z"]}"#);
        assert!(Body::Catalog(own.clone(), vec!["b".to_owned()]).compare(&answer).is_ok());
        assert!(Body::Catalog(own.clone(), own).compare(&answer).is_err());
    }
}
